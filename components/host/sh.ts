/** Shell text with every value quoted. Pure. */

/** A piece of script that goes in as it is. Made only by `sh`. */
export class Script {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

export type ShValue = string | number | Script | readonly (string | number | Script)[];

/** POSIX quoting (zx's quote() emits bash's $'...'). */
export function quote(value: string): string {
  if (value.includes("\0")) throw new Error("a shell word cannot hold a NUL byte");
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`;
}

function render(value: ShValue): string {
  if (value instanceof Script) return value.text;
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return quote(value);
  // Scripts stand on lines of their own; words follow one another.
  const separator = value.length > 0 && value.every((item) => item instanceof Script) ? "\n" : " ";
  return value.map(render).join(separator);
}

/** The lines' common indentation goes, so that scripts read well here and on the server. */
function dedent(strings: readonly string[]): string[] {
  const indents = strings
    .join("")
    .split("\n")
    .slice(1)
    .filter((line) => line.trim() !== "")
    .map((line) => /^ */.exec(line)?.[0].length ?? 0);
  const indent = indents.length === 0 ? 0 : Math.min(...indents);
  const pattern = new RegExp(`\\n {0,${indent}}`, "g");
  return strings.map((text) => text.replace(pattern, "\n"));
}

/** sh`ip link set ${device} up`: strings are quoted, numbers are not, arrays become words, Scripts go in as they are. */
export function sh(strings: TemplateStringsArray, ...values: readonly ShValue[]): Script {
  const parts = dedent(strings.raw.map((text) => text.replaceAll("\\`", "`").replaceAll("\\$", "$")));
  let text = parts[0] ?? "";
  for (const [i, value] of values.entries()) text += render(value) + (parts[i + 1] ?? "");
  return new Script(text.replace(/^\n+|\s+$/g, ""));
}

export const nothing = new Script(":");
