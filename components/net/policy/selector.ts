/** Which labels a selector matches. Pure. */
import type { Selector } from "./types.gen";

export type Labels = Readonly<Record<string, string>>;

/** Cilium's sources of labels, which a key may begin with; systems have labels of one source only. */
const keyOf = (key: string): string => key.replace(/^(any|container)[.:]/, "");

export const asksNothing = ({ matchLabels = {}, matchExpressions = [] }: Selector): boolean =>
  Object.keys(matchLabels).length === 0 && matchExpressions.length === 0;

export function matches({ matchLabels = {}, matchExpressions = [] }: Selector, labels: Labels): boolean {
  const has = (key: string): boolean => Object.hasOwn(labels, key);
  const byLabels = Object.entries(matchLabels).every(([key, value]) => has(keyOf(key)) && labels[keyOf(key)] === value);
  return (
    byLabels &&
    matchExpressions.every(({ key: written, operator, values = [] }) => {
      const key = keyOf(written);
      const isIn = has(key) && values.includes(labels[key] ?? "");
      return operator === "In" ? isIn : operator === "NotIn" ? !isIn : operator === "Exists" ? has(key) : !has(key);
    })
  );
}

/** "id=service1, env in (a, b)", for people; "all systems" where nothing is asked. */
export function selectorText({ matchLabels = {}, matchExpressions = [] }: Selector): string {
  const words = [
    ...Object.entries(matchLabels).map(([key, value]) => (value === "" ? key : `${key}=${value}`)),
    ...matchExpressions.map(({ key, operator, values = [] }) => {
      if (operator === "Exists") return key;
      if (operator === "DoesNotExist") return `no ${key}`;
      return `${key} ${operator === "In" ? "in" : "not in"} (${values.join(", ")})`;
    }),
  ];
  return words.length === 0 ? "all systems" : words.join(", ");
}
