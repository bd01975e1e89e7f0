/** Child processes of a plugin: what they print, and their end with the plugin. */
import { type ChildProcess, spawn } from "node:child_process";

const running = new Set<ChildProcess>();

export interface Printed {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProcessOptions {
  readonly stdin?: string;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

export function runProcess(command: readonly string[], options: ProcessOptions = {}): Promise<Printed> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: options.cwd, env: options.env ?? process.env });
    running.add(child);
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.stdin ?? "");
    child.on("error", reject);
    child.on("close", (code) => {
      running.delete(child);
      resolve({ code: code ?? 255, stdout, stderr });
    });
  });
}

export function stopProcesses(): void {
  for (const child of running) child.kill("SIGTERM");
}

/** The vendor's words for a command that failed, with what it printed. */
export function mustSucceed(printed: Printed, command: string): Printed {
  if (printed.code === 0) return printed;
  const said = [printed.stderr.trim(), printed.stdout.trim()].filter(Boolean).join("\n");
  throw new Error(`exit status ${printed.code}: running ${JSON.stringify(command)}:\n${said}`);
}
