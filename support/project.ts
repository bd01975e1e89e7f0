/** Where a project's files are. The project is the folder with Pulumi.yaml, the stack files and testbeds/. */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { dirname, join, resolve } from "node:path";

/** The checkout: the code of flipflap itself. */
export const codeRoot = resolve(__dirname, "..");

/** The project that one is in; undefined outside of all. */
function projectHere(): string | undefined {
  for (let here = process.cwd(); ; here = dirname(here)) {
    if (existsSync(join(here, "Pulumi.yaml"))) return here;
    if (here === dirname(here)) return undefined;
  }
}

/**
 * Tests and users with several projects name another folder than the checkout by FLIPFLAP_ROOT. A root that env.sh has set is
 * the shell's, and not meant for another project that one goes into afterwards.
 */
export function projectRoot(): string {
  const named = process.env.FLIPFLAP_ROOT;
  const here = projectHere();
  if (named === undefined || named === "") return here ?? codeRoot;
  if (!existsSync(named))
    throw new Error(`FLIPFLAP_ROOT names ${named}, which is gone: source env.sh of another checkout, or unset FLIPFLAP_ROOT`);
  const isMeant = process.env.FLIPFLAP_SOURCED !== named || here === undefined || realpathSync(here) === realpathSync(named);
  if (!isMeant)
    throw new Error(`this shell works on ${named}, whose env.sh it read, and you are in ${here}: source env.sh here, or go there`);
  return resolve(named);
}

/** What the project makes as it runs; ignored by git. */
export function stateFolder(root: string): string {
  return join(root, ".flipflap");
}

/** The stacks of a project whose state is in its own folder. */
export function stacksFolder(root: string): string {
  return join(stateFolder(root), "state", ".pulumi", "stacks", "flipflap");
}

export const projectFiles = {
  lab: (root: string): string => join(stateFolder(root), "lab.json"),
  /** Pulumi's own stack configuration: the salt, secrets, and local overrides of what the stack files declare. */
  stackOverrides: (root: string, stack: string): string => join(stateFolder(root), "stacks", `Pulumi.${stack}.yaml`),
  sshConfig: (root: string): string => join(stateFolder(root), "ssh", "config"),
  passphrase: (root: string): string => join(stateFolder(root), "passphrase"),
} as const;

/** What tells this project from others that deploy to the same servers; made once, it stays with the state. */
export function projectName(root: string): string {
  const file = join(stateFolder(root), "project");
  if (!existsSync(file)) {
    mkdirSync(stateFolder(root), { recursive: true });
    writeFileSync(file, `${randomBytes(4).toString("hex")} of ${hostname()}`);
  }
  return readFileSync(file, "utf8");
}

/** Built once a machine, shared by checkouts: the toolchain and images. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "flipflap");
}
