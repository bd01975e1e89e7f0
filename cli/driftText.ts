/** What is not as declared, for people. Pure. */
import type { Difference } from "../components/host/objectType";
import type { Checked } from "../deploy/checks";

/** Of two lists only what differs is worth reading. */
function differenceText({ property, wanted, found }: Difference): string {
  if (Array.isArray(wanted) && Array.isArray(found)) {
    const lacks = wanted.filter((item) => !found.includes(item));
    const beyond = found.filter((item) => !wanted.includes(item));
    if (lacks.length + beyond.length > 0)
      return [
        ...lacks.map((item) => `    ${property}: lacks ${item}`),
        ...beyond.map((item) => `    ${property}: has, undeclared, ${item}`),
      ].join("\n");
    return `    ${property}: in another order`;
  }
  return `    ${property}: wanted ${JSON.stringify(wanted)}, found ${JSON.stringify(found)}`;
}

export function driftText(checked: Checked): string {
  const head = `${checked.server}  ${checked.name} (${checked.type})`;
  if (checked.result === "missing") return `${head}: missing`;
  if (checked.result === "unmade") return `${head}: the last up did not get to it; flipflap up makes it`;
  if (checked.result === "stray") return `${head}: it has this stack's mark, and its state does not know of it`;
  if (checked.result === "outdated") return `${head}: another version of flipflap deployed it; flipflap up makes it as this one does`;
  if (checked.result === "failed") return `${head}: ${checked.error ?? "failed"}`;
  return [`${head}: different`, ...checked.differences.map(differenceText)].join("\n");
}
