/** Reading the testbed and stack files of a project. */
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { isAbsolute, join, relative, resolve } from "node:path";
import { parseDocument } from "yaml";
import { projectFiles } from "../../support/project";
import type { Fault } from "./faults";

/** The path of a project's file; undefined where it is another's: a testbed may come from somebody else. */
export function insideProject(root: string, path: string): string | undefined {
  const full = resolve(root, path);
  if (relative(root, full).startsWith("..")) return undefined;
  // A link may lead out.
  return existsSync(full) && relative(realpathSync(root), realpathSync(full)).startsWith("..") ? undefined : full;
}

export const outside = (path: string, file: string): Fault => ({
  rule: "outside-project",
  path,
  what: `"${file}" is outside of the project`,
  fix: "copy the file into the project",
});

export interface StackSource {
  readonly stack: string;
  readonly file: string;
  /** The values under `flipflap:`, without the prefix. */
  readonly values: Readonly<Record<string, unknown>>;
}

export function readYaml(path: string, shown: string, faults: Fault[]): unknown {
  const document = parseDocument(readFileSync(path, "utf8"), { prettyErrors: true });
  for (const error of document.errors) {
    const what = (error.message.split("\n")[0] ?? "is no YAML").replace(/:$/, "");
    faults.push({ rule: "yaml", path: shown, what, fix: "mend the YAML there" });
  }
  if (document.errors.length > 0) return undefined;
  try {
    return document.toJS();
  } catch (error) {
    // Aliases of aliases, which would fill the memory.
    const what = (error as Error).message;
    faults.push({ rule: "yaml", path: shown, what, fix: "write out what the aliases (*name) stand for" });
    return undefined;
  }
}

function flipflapValues(data: unknown): Record<string, unknown> {
  const config = (data as { config?: Record<string, unknown> } | undefined)?.config ?? {};
  return Object.fromEntries(
    Object.entries(config).flatMap(([key, value]) => (key.startsWith("flipflap:") ? [[key.slice("flipflap:".length), value]] : [])),
  );
}

/** All stack files of the project; local overrides (`pulumi config set`) go over what is tracked. */
export function readStackFiles(root: string, faults: Fault[]): StackSource[] {
  const names = readdirSync(root).flatMap((entry) => /^Pulumi\.([a-z][a-z0-9-]*)\.yaml$/.exec(entry)?.[1] ?? []);
  return names.sort().map((stack) => {
    const file = `Pulumi.${stack}.yaml`;
    const declared = flipflapValues(readYaml(join(root, file), file, faults));
    const override = projectFiles.stackOverrides(root, stack);
    const local = existsSync(override) ? flipflapValues(readYaml(override, override, faults)) : {};
    return { stack, file, values: { ...declared, ...local } };
  });
}

export function testbedNames(root: string): string[] {
  const folder = join(root, "testbeds");
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((entry) => (entry.endsWith(".yaml") ? [entry.slice(0, -".yaml".length)] : []))
    .sort();
}

/** By the name of one of testbeds/, or by the path of a file, which has an ending. */
export function readTestbedFile(root: string, name: string, faults: Fault[]): unknown {
  const isPath = isAbsolute(name) || /\.ya?ml$/.test(name);
  const path = isPath ? name : join(root, "testbeds", `${name}.yaml`);
  const shown = isPath ? name : `testbeds/${name}.yaml`;
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) {
    const there = testbedNames(root);
    faults.push({
      rule: "testbed-file",
      path: shown,
      what: "there is no such file",
      fix: `make it, or choose one of ${there.join(", ") || "none"}`,
    });
    return undefined;
  }
  return readYaml(path, shown, faults);
}
