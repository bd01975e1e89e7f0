/** Running other programs: their output whole, their failure in words. */
import { type SpawnOptions, spawn } from "node:child_process";

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly stdin?: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly timeoutSeconds?: number;
}

export class CommandError extends Error {
  constructor(
    readonly command: readonly string[],
    readonly finished: Finished,
  ) {
    const said = (finished.stderr.trim() || finished.stdout.trim()).split("\n").slice(-15).join("\n");
    super(`${command.join(" ")}: exit ${finished.code}${said === "" ? "" : `\n${said}`}`);
  }
}

/** Runs a program to its end, whatever its exit code. */
export function tryRun(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const spawnOptions: SpawnOptions = { cwd: options.cwd, env: options.env ?? process.env };
    const child = spawn(program, args, { ...spawnOptions, stdio: ["pipe", "pipe", "pipe"] });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on("data", (data: Buffer) => stdout.push(data));
    child.stderr.on("data", (data: Buffer) => stderr.push(data));
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.stdin ?? "");
    const timer = options.timeoutSeconds === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), options.timeoutSeconds * 1000);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      const text = (parts: Buffer[]): string => Buffer.concat(parts).toString("utf8");
      resolve({ code: code ?? 255, stdout: text(stdout), stderr: text(stderr) });
    });
  });
}

/** Runs a program that must succeed; gives what it printed. */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const finished = await tryRun(command, options);
  if (finished.code !== 0) throw new CommandError(command, finished);
  return finished.stdout;
}

/** Runs a program on this process's own terminal. */
export function runInForeground(command: readonly string[], options: { cwd?: string; env?: NodeJS.ProcessEnv } = {}): Promise<number> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: options.cwd, env: options.env ?? process.env, stdio: "inherit" });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 255));
  });
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Asks until the answer is true; the error names what was waited for. */
export async function waitUntil(what: string, seconds: number, ask: () => Promise<boolean> | boolean): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await ask())) {
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await sleep(50);
  }
}

/** What a program has to be called with to have root's rights. */
export function asRoot(command: readonly string[]): string[] {
  return process.getuid?.() === 0 ? [...command] : ["sudo", "-n", ...command];
}
