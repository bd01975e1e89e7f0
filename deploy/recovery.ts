/**
 * What a Pulumi that was killed leaves behind, taken away: its lock, its plugins, what it was making and had not noted
 * yet, and containers that no state knows of. Nothing that works is touched.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { ServerDeclaration } from "../components/config/declaration";
import { generationName } from "../components/host/objects/generation";
import { run, sleep, tryRun } from "../support/process";
import { say, StepError, step } from "../support/progress";
import { stacksFolder, stateFolder } from "../support/project";
import { type Context } from "./context";
import { sshCommand } from "./ssh";
import { keepUnknown, readThere, takeAwayUnknown } from "./generation";
import { failureMark, pulumiEnvironment } from "./pulumi";
import { markCommands } from "./remake";
import { exportStack, type ExportedStack, forgetPending, type PendingOperation, urnName } from "./state";
import { removeStrays, settle } from "./strays";
import { leaseServers } from "./turn";
import { wakeDocker } from "./wake";

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
      `Put back a copy of yours; without one: flipflap reclaim --server ${stack} gives the server back by what it notes itself`,
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

/** Whether the state knows of a note on the server; without asking Pulumi, which takes half a second. */
function hasNote(root: string, stack: string): boolean {
  const file = join(stacksFolder(root), `${stack}.json`);
  return existsSync(file) && readFileSync(file, "utf8").includes(`::${generationName(stack)}"`);
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

function refuseAlive(stack: string, lock: Lock | undefined): void {
  if (lock === undefined || (lock.hostname === hostname() && !isPulumi(lock.pid))) return;
  throw new StepError(
    `stack ${stack}`,
    `pulumi (PID ${lock.pid} on ${lock.hostname}, since ${lock.timestamp}) works on it`,
    `Wait for it, or end it and run this again; one on a machine that is gone: pulumi cancel -s ${stack}`,
  );
}

/** What comes after the recovery: it decides what becomes of what no state knows of. */
export type Purpose = "up" | "repair" | "down";

async function recoverStack(context: Context, server: ServerDeclaration, purpose: Purpose): Promise<void> {
  const { root } = context;
  const stack = server.name;
  const isElsewhere = process.env.FLIPFLAP_BACKEND_URL !== undefined;
  const locks = await locksOf(root, stack);
  for (const lock of locks) refuseAlive(stack, lock);
  const wasCut = !isElsewhere && restoreState(root, stack);
  const hasFailed = existsSync(failureMark(root, stack));
  const isQuiet = purpose === "up" && !hasFailed && !wasCut && locks.length === 0;
  if (isQuiet && isElsewhere) return;
  await wakeDocker(context, server);
  if (isQuiet && !hasPending(root, stack) && (hasNote(root, stack) || !(await readThere(context, server)).isOurs)) return;
  const state = await exportStack(root, stack);
  await endOrphans(root);
  if (state === undefined) {
    await settle(context, server);
    if (purpose !== "up") await takeAwayUnknown(context, server);
    return;
  }
  for (const { file } of locks) rmSync(file, { force: true });
  const lock = isElsewhere ? await askBackend(root, stack, state) : undefined;
  refuseAlive(stack, lock);
  if (lock !== undefined)
    await run(["pulumi", "cancel", "--stack", stack, "--yes", "--non-interactive"], { cwd: root, env: pulumiEnvironment(root) });
  const pending = (state.deployment?.pending_operations ?? []).filter(({ type }) => type === "creating");
  const wasKilled = locks.length > 0 || lock !== undefined || wasCut;
  const work = async (): Promise<string[]> => {
    await settle(context, server);
    for (const one of pending) await takeAway(context, server, one);
    const removed = await removeStrays(context, server, state);
    if ((state.deployment?.pending_operations ?? []).length > 0) await forgetPending(root, stack, state);
    if (purpose === "up") await keepUnknown(context, server);
    else await takeAwayUnknown(context, server);
    // Of what a Pulumi did that was killed, its state says nothing: all is made again by the next up, from wherever it stands.
    if (wasKilled && purpose !== "down") await markCommands(root, stack);
    return [...pending.map(({ resource }) => urnName(resource.urn)), ...removed];
  };
  if (!wasKilled && pending.length === 0) {
    for (const name of await work()) console.log(`${stack}  ${name}: removed; no state knows of it`);
    return;
  }
  await step(`${stack}: what a killed pulumi left`, work, (names) => names.join(", ") || "its lock");
}

/** Whether the stack has, or may have, anything on its server. */
export async function hasTraces(context: Context, server: ServerDeclaration): Promise<boolean> {
  const { root } = context;
  const stack = server.name;
  if ((await locksOf(root, stack)).length > 0) return true;
  if (process.env.FLIPFLAP_BACKEND_URL === undefined) restoreState(root, stack);
  const { resources = [], pending_operations: pending = [] } = (await exportStack(root, stack))?.deployment ?? {};
  // Of a stack that a claim refused there are only its components and passwords.
  if (pending.length > 0 || resources.some(({ type }) => /^(command|docker):/.test(type))) return true;
  try {
    return (await readThere(context, server)).isOurs;
  } catch (error) {
    say(`  !! whether ${server.name} holds anything of this project is not known: ${(error as Error).message}`);
    return false;
  }
}

/**
 * Before an `up` it costs nothing where the last Pulumi ended well; `repair` and `down` look at the servers whatever the locks
 * say. The servers are leased before.
 */
export async function recover(context: Context, servers: readonly ServerDeclaration[], purpose: Purpose): Promise<void> {
  dropCutAttributes(context.root);
  await leaseServers(context, servers);
  await Promise.all(servers.map((server) => recoverStack(context, server, purpose)));
}
