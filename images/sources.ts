/** The Debian mirrors that this machine itself uses; the project names none. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite } from "./images";

export interface AptSource {
  readonly uri: string;
  readonly suite: string;
  readonly signedBy?: string;
}

function fromDeb822(text: string): AptSource[] {
  return text.split(/\n\s*\n/).flatMap((block) => {
    const fields = new Map<string, string>();
    for (const line of block.split("\n")) {
      const match = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
      if (match?.[1] !== undefined && !line.startsWith("#")) fields.set(match[1].toLowerCase(), match[2] ?? "");
    }
    const words = (field: string): string[] => (fields.get(field) ?? "").split(/\s+/).filter(Boolean);
    if (!words("types").includes("deb") || fields.get("enabled") === "no") return [];
    const signedBy = words("signed-by")[0];
    return words("uris").flatMap((uri) => words("suites").map((s) => ({ uri, suite: s, ...(signedBy === undefined ? {} : { signedBy }) })));
  });
}

function fromOneLine(text: string): AptSource[] {
  return text.split("\n").flatMap((line) => {
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/.exec(line.trim());
    if (match?.[2] === undefined || match[3] === undefined) return [];
    const signedBy = /signed-by=(\S+)/.exec(match[1] ?? "")?.[1];
    return [{ uri: match[2], suite: match[3], ...(signedBy === undefined ? {} : { signedBy }) }];
  });
}

export function parseAptSources(files: readonly { readonly name: string; readonly text: string }[]): AptSource[] {
  return files.flatMap(({ name, text }) => (name.endsWith(".sources") ? fromDeb822(text) : fromOneLine(text)));
}

/** Only this release's own suites: the machine may list others' repositories too. */
export function sourcesList(sources: readonly AptSource[], components: readonly string[]): string {
  const own = sources.filter((s) => [suite, `${suite}-updates`, `${suite}-security`].includes(s.suite));
  const lines = own.map((s) => {
    const options = s.signedBy === undefined ? "" : `[signed-by=${s.signedBy}] `;
    return `deb ${options}${s.uri} ${s.suite} ${components.join(" ")}`;
  });
  return `${[...new Set(lines)].join("\n")}\n`;
}

export function debianSources(components: readonly string[]): string {
  const folder = "/etc/apt/sources.list.d";
  const paths = ["/etc/apt/sources.list", ...readdirSync(folder).map((name) => join(folder, name))];
  const files = paths.filter((path) => existsSync(path)).map((path) => ({ name: path, text: readFileSync(path, "utf8") }));
  const list = sourcesList(parseAptSources(files), components);
  if (list.trim() === "") throw new Error(`apt's sources name no mirror of Debian ${suite}; add one to ${folder}`);
  return list;
}
