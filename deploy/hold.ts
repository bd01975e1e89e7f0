/**
 * Holding something as long as this process lives: a shell, here or on a server, locks a file and keeps the lock while its
 * standard input is open and beats. A process that ends, however it ends, lets go; so does one whose connection is cut, after
 * a minute.
 */
import { spawn } from "node:child_process";
import { type Script, sh } from "../components/host/sh";
import { sleep } from "../support/process";

const beatSeconds = 10;
const silenceSeconds = 60;
const heldCode = 75;

/** Locks the file and writes into it who holds it; where another process has it, prints that one's words. */
export const holdScript = (file: string, words: string, silence = silenceSeconds): Script => sh`
  umask 077
  while :; do
    exec 8>>${file}
    flock -n 8 || { cat ${file}; exit ${heldCode}; }
    # The one before may have removed the file after it was opened here.
    if [ ${file} -ef /proc/self/fd/8 ]; then break; fi
  done
  printf '%s\n' ${words} >${file}
  trap ${sh`rm -f ${file}`.text} EXIT
  trap 'exit 1' HUP INT TERM
  echo held
  # What waits for the beat must not hold the lock: it outlives a shell that is killed.
  while [ "$(timeout ${silence} sh -c 'read -r _ && echo beat' 8>&-)" = beat ]; do :; done
  # The rest of the input, if any comes, is no script.
  exit 0
`;

/** Why it is not held: by whom another process holds it, or how the shell failed. */
export interface Refused {
  /** Undefined where nobody holds it: the shell itself failed. */
  readonly holder: string | undefined;
  readonly code: number;
  readonly stderr: string;
}

interface Holding {
  readonly end: () => Promise<void>;
}

const holdings = new Set<Holding>();

/** Somebody else's text, for a terminal: without control characters. */
const plain = (text: string): string =>
  text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, 300);

async function tryHold(
  shell: readonly string[],
  script: string,
  cwd: string | undefined,
  onLost: () => void,
): Promise<Refused | undefined> {
  const [program = "", ...args] = shell;
  // Away from the terminal's signals: a verb that is interrupted still puts things back, and lets go at its end.
  const child = spawn(program, args, { cwd, stdio: ["pipe", "pipe", "pipe"], detached: true });
  let [stdout, stderr] = ["", ""];
  let isReleased = false;
  child.stdin.on("error", () => undefined);
  child.stderr.on("data", (data: Buffer) => (stderr += data.toString()));
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", (error) => {
      stderr += error.message;
      resolve();
    });
  });
  const held = new Promise<boolean>((resolve) => {
    child.stdout.on("data", (data: Buffer) => {
      stdout += data.toString();
      if (/^held$/m.test(stdout)) resolve(true);
    });
    void ended.then(() => resolve(false));
  });
  child.stdin.write(script);
  if (!(await held)) {
    const code = child.exitCode ?? 255;
    return { holder: code === heldCode ? plain(stdout) || "another process" : undefined, code, stderr };
  }
  const beat = setInterval(() => child.stdin.write("\n"), beatSeconds * 1000);
  // What is held keeps no process from its end.
  const handles = [child, child.stdin, child.stdout, child.stderr] as { ref?: () => void; unref?: () => void }[];
  for (const one of [beat, ...handles]) one.unref?.();
  const holding: Holding = {
    end: async () => {
      isReleased = true;
      // All of them: a process whose last handle is closed ends there, with whatever it was about to say.
      for (const one of handles) one.ref?.();
      child.stdin.end();
      await ended;
    },
  };
  holdings.add(holding);
  void ended.then(() => {
    clearInterval(beat);
    holdings.delete(holding);
    if (!isReleased) onLost();
  });
  return undefined;
}

/** Asks again for some seconds: the one before may be about to let go. */
export async function hold(
  shell: readonly string[],
  script: string,
  { cwd, onLost = () => undefined }: { cwd?: string; onLost?: () => void } = {},
): Promise<Refused | undefined> {
  for (const end = Date.now() + 1000; ; await sleep(200)) {
    const refused = await tryHold(shell, script, cwd, onLost);
    if (refused?.holder === undefined || Date.now() > end) return refused;
  }
}

/** At the end of a verb, or before what it held goes: all is free when the next one asks. */
export async function letGo(): Promise<void> {
  await Promise.all([...holdings].map((holding) => holding.end()));
}
