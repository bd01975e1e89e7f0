/**
 * What a Pulumi that was killed leaves behind, taken away: its lock, its plugins, what it was making and had not noted
 * yet, and containers that no state knows of. Nothing that works is touched.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { ServerDeclaration } from "../components/config/declaration";
import { stackLabel } from "../components/host/objectType";
import { refuseOthers } from "../components/host/objects/claim";
import { removeExperimentRules } from "../components/host/objects/experimentRules";
import { lockedScript } from "../components/host/script";
import { sh } from "../components/host/sh";
import { run, sleep, tryRun } from "../support/process";
import { projectName, stacksFolder, stateFolder } from "../support/project";
import { say, StepError, step } from "../support/progress";
import { type Context, runScript, sshCommand } from "./context";
import { leaseServers } from "./turn";
import {
  deployedStack,
  exportStack,
  type ExportedStack,
  failureMark,
  forgetPending,
  type PendingOperation,
  pulumiEnvironment,
  urnName,
} from "./pulumi";

interface Lock {
  readonly file: string;
  readonly pid: number;
  readonly hostname: string;
  readonly timestamp: string;
}

/** Undefined where the text is cut off. */
function parsed<T>(text: string): T | undefined {
  try {
    return JSON.parse(text) as T;
  } catch {
    return undefined;
  }
}

/** Locks in the project's own folder. */
async function locksOf(root: string, stack: string): Promise<Lock[]> {
  const folder = join(stateFolder(root), "state", ".pulumi", "locks", "organization", "flipflap", stack);
  if (!existsSync(folder)) return [];
  const read = (file: string): Partial<Lock> | undefined => (existsSync(file) ? parsed(readFileSync(file, "utf8")) : undefined);
  const locks = readdirSync(folder).map(async (leaf): Promise<Lock[]> => {
    const file = join(folder, leaf);
    let content = read(file);
    if (content === undefined) {
      // It may be just being written.
      await sleep(500);
      content = read(file);
    }
    if (!existsSync(file)) return [];
    // Cut off, on a full disk or by a power cut: nobody holds it, and Pulumi cannot read it ("unexpected end of JSON input").
    if (content === undefined) say(`  !! stack ${stack}: the lock ${leaf} is cut off; it is removed`);
    const { pid = 0, hostname: host = hostname(), timestamp = "" } = content ?? {};
    return [{ file, pid, hostname: host, timestamp }];
  });
  return (await Promise.all(locks)).flat();
}

/** A backend that is not the project's folder is asked by Pulumi itself: to write the state back as it is takes the stack's lock. */
async function askBackend(root: string, stack: string, state: ExportedStack): Promise<Lock | undefined> {
  const words = ["pulumi", "stack", "import", "--stack", stack, "--non-interactive"];
  const asked = await tryRun(words, { cwd: root, env: pulumiEnvironment(root), stdin: JSON.stringify(state) });
  if (asked.code === 0) return undefined;
  const [, host = "?", pid = "0", timestamp = "?"] = /created by \S+@(\S+) \(pid (\d+)\) at (\S+)/.exec(asked.stderr) ?? [];
  if (host === "?" && !/locked|conflict|in progress/i.test(asked.stderr)) throw new Error(`stack ${stack}: ${asked.stderr.trim()}`);
  return { file: "", pid: Number(pid), hostname: host, timestamp };
}

/** A state that is cut off: Pulumi keeps the one before it, and what was made since is found on the servers. */
export function restoreState(root: string, stack: string): boolean {
  const file = join(stacksFolder(root), `${stack}.json`);
  if (!existsSync(file) || parsed(readFileSync(file, "utf8")) !== undefined) return false;
  const before = `${file}.bak`;
  const text = existsSync(before) ? readFileSync(before, "utf8") : "";
  if (parsed(text) === undefined)
    throw new StepError(
      `stack ${stack}`,
      `its state is cut off (${file}), and so is the one before it (${before})`,
      `Put back a copy of yours; without one, what is on ${stack} has to be taken away by hand: containers with the label ${stackLabel}=${stack}, and what carries the mark flipflap:${stack}:`,
    );
  renameSync(file, `${file}.cut`);
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
  say(`  !! stack ${stack}: its state was cut off (kept as ${file}.cut); the one before it is used`);
  return true;
}

/** Attributes of the state's files, of a Pulumi before `metadata=skip`: cut off while they were written they make the state unreadable ("EOF"). */
function dropCutAttributes(root: string): void {
  const folder = stacksFolder(root);
  if (!existsSync(folder)) return;
  for (const leaf of readdirSync(folder)) {
    const file = join(folder, leaf);
    if (leaf.endsWith(".attrs") && statSync(file).size === 0) rmSync(file, { force: true });
  }
}

/** Without asking Pulumi, which takes half a second; another backend than the project's folder is asked by `repair` only. */
function hasPending(root: string, stack: string): boolean {
  const file = join(stacksFolder(root), `${stack}.json`);
  return existsSync(file) && /"pending_operations":\s*\[\s*\{/.test(readFileSync(file, "utf8"));
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly words: readonly string[];
}

function processOf(pid: number): Process | undefined {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in brackets may hold anything.
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z" ? undefined : { pid, parent: Number(parent), words };
  } catch {
    return undefined; // it ended meanwhile
  }
}

const isPulumi = (pid: number): boolean => processOf(pid)?.words[0]?.split("/").at(-1) === "pulumi";

/** Plugins, language hosts and their commands of this project whose Pulumi is gone. */
function orphans(root: string): number[] {
  const all = readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((entry) => processOf(Number(entry)) ?? []);
  const byPid = new Map(all.map((one) => [one.pid, one]));
  const belongs = ({ pid }: Process): boolean => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(`FLIPFLAP_ROOT=${root}`);
    } catch {
      return false;
    }
  };
  const isPlugin = ({ words }: Process): boolean =>
    words.some((word) => /\/\.flipflap\/bin\/(pulumi-|plugins\.js)|@pulumi\/pulumi\/cmd\/run/.test(word));
  const heads = all.filter((one) => {
    if (!isPlugin(one) || !belongs(one)) return false;
    for (let up = byPid.get(one.parent); up !== undefined; up = byPid.get(up.parent)) if (isPulumi(up.pid)) return false;
    return true;
  });
  const found = new Set(heads.map(({ pid }) => pid));
  for (let size = -1; size !== found.size;) {
    size = found.size;
    for (const { pid, parent } of all) if (found.has(parent)) found.add(pid);
  }
  return [...found];
}

async function endOrphans(root: string): Promise<void> {
  const signal = (name: "SIGTERM" | "SIGKILL"): number => {
    const left = orphans(root);
    for (const pid of left) {
      try {
        process.kill(pid, name);
      } catch {
        // it ended meanwhile
      }
    }
    return left.length;
  };
  for (let tenths = 0; signal(tenths < 20 ? "SIGTERM" : "SIGKILL") > 0 && tenths < 50; tenths++) await sleep(100);
}

/** What was being made when Pulumi ended is made or half-made: its own command takes it away. */
async function takeAway(context: Context, server: ServerDeclaration, pending: PendingOperation): Promise<void> {
  const { type, inputs } = pending.resource;
  const command = inputs?.delete;
  if (typeof command !== "string") return;
  if (type === "command:remote:Command") {
    await run(sshCommand(server, command), { cwd: context.root, stdin: typeof inputs?.stdin === "string" ? inputs.stdin : "" });
  } else if (type === "command:local:Command") {
    // An image: dockerd goes on with one that it has whole, whoever asked for it is gone. So to its end, and then away.
    const words = [inputs?.create, command].flatMap((text) => (typeof text === "string" ? [text] : []));
    for (const text of words) await run(["sh", "-c", text], { cwd: context.root, env: pulumiEnvironment(context.root) });
  }
}

/** Scripts that go on on the server although their Pulumi is gone: what they make is not there yet. */
const settleScript = sh`
  left=300
  while pgrep -f '^(sudo -n )?sh -s (first|ensure|remove)$' >/dev/null && [ "$left" -gt 0 ]; do
    left=$((left - 1))
    sleep 0.1
  done
`;

/** Waits for scripts that go on on the server; fails where the server holds another project's stack of this name. */
async function settle(context: Context, server: ServerDeclaration, script = ""): Promise<string> {
  const owner = { stack: server.name };
  const text = `(\nset -e\n${refuseOthers(projectName(context.root), owner).text}\n)\n[ $? = 0 ] || exit 1\n${settleScript.text}\n${script}`;
  const finished = await runScript(context, server, text);
  if (finished.code !== 0) throw new StepError(server.name, finished.stderr.trim(), "Mend it and run this again.");
  return finished.stdout;
}

/** Containers of the stack by their label, with the ids that its state knows. */
async function removeStrays(context: Context, server: ServerDeclaration, state: ExportedStack): Promise<string[]> {
  const known = deployedStack(server.name, state).resources.flatMap(({ id }) => id ?? []);
  const script = sh`
    for id in $(docker ps -a -q --no-trunc --filter label=${`${stackLabel}=${server.name}`}); do
      case " "${known.join(" ")}" " in *" $id "*) continue ;; esac
      docker inspect -f '{{.Name}}' "$id"
      docker rm -f -v "$id" >/dev/null
    done
  `;
  const rules = lockedScript({ stack: server.name }, removeExperimentRules);
  const printed = await settle(context, server, `${script.text}\n(\n${rules})\n`);
  return printed.split("\n").flatMap((line) => (line.trim() === "" ? [] : [line.trim().replace(/^\//, "")]));
}

function refuseAlive(stack: string, lock: Lock | undefined): void {
  if (lock === undefined || (lock.hostname === hostname() && !isPulumi(lock.pid))) return;
  throw new StepError(
    `stack ${stack}`,
    `pulumi (PID ${lock.pid} on ${lock.hostname}, since ${lock.timestamp}) works on it`,
    `Wait for it, or end it and run this again; one on a machine that is gone: pulumi cancel -s ${stack}`,
  );
}

async function recoverStack(context: Context, server: ServerDeclaration, thorough: boolean): Promise<void> {
  const { root } = context;
  const stack = server.name;
  const isElsewhere = process.env.FLIPFLAP_BACKEND_URL !== undefined;
  const locks = await locksOf(root, stack);
  for (const lock of locks) refuseAlive(stack, lock);
  const wasCut = !isElsewhere && restoreState(root, stack);
  const hasFailed = existsSync(failureMark(root, stack));
  if (!thorough && !hasFailed && !wasCut && locks.length === 0 && !hasPending(root, stack)) return;
  await endOrphans(root);
  for (const { file } of locks) rmSync(file, { force: true });
  const state = await exportStack(root, stack);
  if (state === undefined) return;
  const lock = isElsewhere ? await askBackend(root, stack, state) : undefined;
  refuseAlive(stack, lock);
  if (lock !== undefined)
    await run(["pulumi", "cancel", "--stack", stack, "--yes", "--non-interactive"], { cwd: root, env: pulumiEnvironment(root) });
  const pending = (state.deployment?.pending_operations ?? []).filter(({ type }) => type === "creating");
  const strays = async (): Promise<string[]> => {
    await settle(context, server);
    for (const one of pending) await takeAway(context, server, one);
    const removed = await removeStrays(context, server, state);
    if ((state.deployment?.pending_operations ?? []).length > 0) await forgetPending(root, stack, state);
    return removed;
  };
  if (locks.length === 0 && pending.length === 0) {
    for (const name of await removeStrays(context, server, state)) console.log(`${stack}  ${name}: removed; no state knows of it`);
    return;
  }
  await step(`${stack}: what a killed pulumi left`, strays, (removed) => {
    const names = pending.map(({ resource }) => urnName(resource.urn));
    return [...names, ...removed].join(", ") || "its lock";
  });
}

/** Whether the stack has, or may have, anything on its server. */
export async function hasTraces(root: string, stack: string): Promise<boolean> {
  if ((await locksOf(root, stack)).length > 0) return true;
  if (process.env.FLIPFLAP_BACKEND_URL === undefined) restoreState(root, stack);
  const { resources = [], pending_operations: pending = [] } = (await exportStack(root, stack))?.deployment ?? {};
  // Of a stack that a claim refused there are only its components and passwords.
  return pending.length > 0 || resources.some(({ type }) => /^(command|docker):/.test(type));
}

/**
 * For `up` and `down`: costs nothing where the last Pulumi ended well. Thorough (`repair`): looks at the servers whatever the
 * locks say. The servers are leased before.
 */
export async function recover(context: Context, servers: readonly ServerDeclaration[], thorough = false): Promise<void> {
  dropCutAttributes(context.root);
  await leaseServers(context, servers);
  await Promise.all(servers.map((server) => recoverStack(context, server, thorough)));
}
