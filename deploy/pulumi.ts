/** Calling Pulumi for a project, and reading its state. */
import { createWriteStream, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import type { DeployedObject } from "../components/host/objectType";
import { run, tryRun } from "../support/process";
import { codeRoot, projectFiles, stacksFolder, stateFolder } from "../support/project";

/** Where the offline plugins are installed, for every project of this checkout. */
export const pulumiHome = join(codeRoot, ".flipflap", "pulumi");

/**
 * As env.sh says; a user's own backend and passphrase stay where they are set. Without `metadata=skip` Pulumi (3.190) keeps a
 * file of attributes beside each of its own, written in place: killed meanwhile it leaves an empty one, and reads no more.
 */
export function pulumiEnvironment(root: string): NodeJS.ProcessEnv {
  const own = join(codeRoot, ".flipflap", "bin");
  const path = process.env.PATH ?? "";
  return {
    ...process.env,
    PATH: path.split(":").includes(own) ? path : `${own}:${path}`,
    FLIPFLAP_ROOT: root,
    PULUMI_HOME: pulumiHome,
    PULUMI_BACKEND_URL: process.env.FLIPFLAP_BACKEND_URL ?? `file://${join(stateFolder(root), "state")}?metadata=skip`,
    PULUMI_CONFIG_PASSPHRASE_FILE: projectFiles.passphrase(root),
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS: "true",
    NO_COLOR: "1",
  };
}

export interface Changes {
  readonly created: number;
  readonly updated: number;
  readonly replaced: number;
  readonly deleted: number;
  readonly same: number;
}

/** From the summary that Pulumi ends with: "+ 36 created", "36 unchanged". */
export function parseChanges(output: string): Changes {
  const summary = output.slice(output.lastIndexOf("\nResources:"));
  const count = (words: string): number => Number(new RegExp(`(\\d+) (?:${words})`).exec(summary)?.[1] ?? 0);
  return {
    created: count("created|to create"),
    updated: count("updated|to update"),
    replaced: count("replaced|to replace"),
    deleted: count("deleted|to delete"),
    same: count("unchanged"),
  };
}

export const unchanged = "no changes";

export function changesText(changes: Changes): string {
  const parts = (["created", "updated", "replaced", "deleted"] as const).flatMap((key) =>
    changes[key] > 0 ? [`${changes[key]} ${key}`] : [],
  );
  return parts.length === 0 ? unchanged : parts.join(", ");
}

export interface Operation {
  readonly code: number;
  readonly output: string;
  readonly log: string;
}

/**
 * Says that a stack's last operation ended with an error. Cut off from the server meanwhile, Pulumi notes nothing of what
 * dockerd was making for it: the container is there, no state knows of it, and its name is taken.
 */
export const failureMark = (root: string, stack: string): string => join(stateFolder(root), "failed", stack);

/** Runs `pulumi up` or `destroy` to its end; its whole output goes to a log, `onLine` shows how far it is. */
export function operate(
  root: string,
  verb: "up" | "destroy" | "refresh",
  stack: string,
  onLine: (line: string) => void,
): Promise<Operation> {
  const logs = join(stateFolder(root), "logs");
  mkdirSync(logs, { recursive: true });
  const log = join(logs, `${verb}-${stack}.log`);
  const args = [
    verb,
    "--stack",
    stack,
    "--yes",
    "--skip-preview",
    "--non-interactive",
    "--color",
    "never",
    ...(verb === "up" ? ["--suppress-outputs"] : []),
  ];
  return new Promise((resolve, reject) => {
    // Written at the end alone: it takes half the time. What is cut off meanwhile is known by what stands on the server.
    const env = { ...pulumiEnvironment(root), PULUMI_SKIP_CHECKPOINTS: "true" };
    const child = spawn("pulumi", args, { cwd: root, env, stdio: ["ignore", "pipe", "pipe"] });
    const file = createWriteStream(log);
    let output = "";
    const take = (data: Buffer): void => {
      const text = data.toString("utf8");
      output += text;
      file.write(text);
      for (const line of text.split("\n")) onLine(line);
    };
    child.stdout.on("data", take);
    child.stderr.on("data", take);
    child.on("error", reject);
    child.on("close", (code) => {
      file.end();
      const mark = failureMark(root, stack);
      if (code === 0) rmSync(mark, { force: true });
      else {
        mkdirSync(dirname(mark), { recursive: true });
        writeFileSync(mark, "");
      }
      resolve({ code: code ?? 255, output, log });
    });
  });
}

/** What went wrong, of all that Pulumi printed. */
export function diagnostics(output: string): string {
  const begin = output.indexOf("\nDiagnostics:");
  const text = begin < 0 ? output : (output.slice(begin + 1).split(/\n(?:Outputs|Resources):/)[0] ?? "");
  return text
    .split("\n")
    .filter((line) => line.trim() !== "" && !/warning: using pulumi-resource-/.test(line))
    .slice(-40)
    .join("\n");
}

/** A resource's name, which may hold an IPv6 prefix: urn:pulumi:STACK::PROJECT::TYPES::NAME. */
export const urnName = (urn: string): string => urn.split("::").slice(3).join("::");

export interface StackResource {
  readonly urn: string;
  readonly id?: string;
  readonly type: string;
  readonly inputs?: Readonly<Record<string, unknown>>;
  readonly outputs?: Readonly<Record<string, unknown>>;
}

/** What Pulumi had begun and had not noted as done. */
export interface PendingOperation {
  readonly type: "creating" | "updating" | "deleting" | "reading" | "importing";
  readonly resource: StackResource;
}

export interface ExportedStack {
  readonly version?: number;
  readonly deployment?: { readonly resources?: readonly StackResource[]; readonly pending_operations?: readonly PendingOperation[] };
}

export interface DeployedStack {
  readonly stack: string;
  /** Those that the state knows of. */
  readonly objects: readonly DeployedObject[];
  /** Names of those that the last `up` declared and did not get to. */
  readonly unmade: readonly string[];
  readonly resources: readonly StackResource[];
  readonly testbed: string | undefined;
  /** Of a server of the lab. */
  readonly isLab: boolean;
  /** What `declarationHash` said of the declaration. */
  readonly declaration: string | undefined;
}

/** What Pulumi keeps in a file of the project's own backend; `pulumi stack export` gives the same, and takes half a second. */
interface Checkpoint {
  readonly version: number;
  /** `pulumi stack import` (3.190) writes `Latest`, all else `latest`: Go reads both. */
  readonly checkpoint: { readonly latest?: ExportedStack["deployment"]; readonly Latest?: ExportedStack["deployment"] };
}

function parseState(stack: string, file: string): Checkpoint {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Checkpoint;
  } catch {
    throw new Error(`stack ${stack}: its state is cut off (${file}); flipflap repair goes back to the one before it`);
  }
}

/** A stack's state; undefined where there is no such stack. */
export async function exportStack(root: string, stack: string): Promise<ExportedStack | undefined> {
  if (process.env.FLIPFLAP_BACKEND_URL === undefined) {
    const file = join(stacksFolder(root), `${stack}.json`);
    if (!existsSync(file)) return undefined;
    const { version, checkpoint } = parseState(stack, file);
    return { version, deployment: checkpoint.latest ?? checkpoint.Latest ?? {} };
  }
  const finished = await tryRun(["pulumi", "stack", "export", "--stack", stack, "--non-interactive"], {
    cwd: root,
    env: pulumiEnvironment(root),
  });
  if (finished.code !== 0) {
    if (/no stack named|not found/.test(finished.stderr)) return undefined;
    throw new Error(`stack ${stack}: ${finished.stderr.trim()}`);
  }
  return JSON.parse(finished.stdout) as ExportedStack;
}

export async function importStack(root: string, stack: string, state: ExportedStack): Promise<void> {
  const stdin = JSON.stringify(state);
  await run(["pulumi", "stack", "import", "--stack", stack, "--non-interactive"], { cwd: root, env: pulumiEnvironment(root), stdin });
}

/** Writes the state back without what was pending. */
export function forgetPending(root: string, stack: string, state: ExportedStack): Promise<void> {
  return importStack(root, stack, { ...state, deployment: { ...state.deployment, pending_operations: [] } });
}

/** What a stack has made; undefined where there is no such stack. */
export async function readStack(root: string, stack: string): Promise<DeployedStack | undefined> {
  const state = await exportStack(root, stack);
  return state === undefined ? undefined : deployedStack(stack, state);
}

export function deployedStack(stack: string, state: ExportedStack): DeployedStack {
  const resources = state.deployment?.resources ?? [];
  const own = resources.find((resource) => resource.type === "flipflap:testbed:Testbed")?.outputs;
  const declared = (own?.objects as DeployedObject[] | undefined) ?? [];
  const made = new Set(resources.map(({ urn }) => urnName(urn)));
  return {
    stack,
    objects: declared.filter(({ name }) => made.has(name)),
    unmade: declared.flatMap(({ name }) => (made.has(name) ? [] : [name])),
    resources,
    testbed: own?.testbed as string | undefined,
    isLab: own?.isLab === true,
    declaration: own?.declaration as string | undefined,
  };
}
