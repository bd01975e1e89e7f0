/** A project's own state: passphrase, state backend, stacks. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseDocument } from "yaml";
import { pulumiEnvironment } from "../deploy/pulumi";
import { run } from "../support/process";
import { projectFiles, stacksFolder, stateFolder } from "../support/project";

function stackExists(root: string, stack: string): boolean {
  return existsSync(join(stacksFolder(root), `${stack}.json`));
}

export async function ensureProject(root: string, stacks: readonly string[]): Promise<void> {
  const passphrase = projectFiles.passphrase(root);
  for (const folder of ["state", "stacks", "logs"]) mkdirSync(join(stateFolder(root), folder), { recursive: true });
  if (!existsSync(passphrase)) writeFileSync(passphrase, `${randomBytes(32).toString("base64")}\n`, { mode: 0o600 });
  for (const stack of stacks) {
    if (!stackExists(root, stack))
      await run(["pulumi", "stack", "init", stack, "--non-interactive"], { cwd: root, env: pulumiEnvironment(root) });
  }
}

/** `--testbed NAME` is an override on this machine; the stack files stay as they are. */
export function overrideTestbed(root: string, stacks: readonly string[], testbed: string): void {
  for (const stack of stacks) {
    const file = projectFiles.stackOverrides(root, stack);
    mkdirSync(dirname(file), { recursive: true });
    const document = parseDocument(existsSync(file) ? readFileSync(file, "utf8") : "");
    document.setIn(["config", "flipflap:testbed"], testbed);
    writeFileSync(file, document.toString());
  }
}

/** The stack files alone decide again. */
export function forgetTestbedOverride(root: string, stacks: readonly string[]): void {
  for (const stack of stacks) {
    const file = projectFiles.stackOverrides(root, stack);
    if (!existsSync(file)) continue;
    const document = parseDocument(readFileSync(file, "utf8"));
    if (!document.hasIn(["config", "flipflap:testbed"])) continue;
    document.deleteIn(["config", "flipflap:testbed"]);
    writeFileSync(file, document.toString());
  }
}

/** For a lab that is gone with all that a stack's state knows of. */
export function forgetStack(root: string, stack: string): void {
  for (const ending of ["json", "json.bak", "json.attrs", "json.bak.attrs"])
    rmSync(join(stacksFolder(root), `${stack}.${ending}`), { force: true });
  rmSync(projectFiles.stackOverrides(root, stack), { force: true });
}
