/** Reading and writing the state that Pulumi keeps of a stack. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DeployedObject } from "../components/host/objectType";
import { run, tryRun } from "../support/process";
import { stacksFolder } from "../support/project";
import { pulumiEnvironment } from "./pulumi";

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
  /** The declaration itself, as JSON; undefined of a stack that was brought up before states had it. */
  readonly deployed: string | undefined;
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
    deployed: own?.deployed as string | undefined,
  };
}
