/** The agent's own program, asked on this machine: it reads rules as it will on a server. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { hasImageProgram, imageProgram } from "../../images/program";
import { cacheFolder } from "../../support/project";
import type { FirewallQuestion, FirewallReading } from "./contract/types.gen";

/** Rules beyond this are read once: 100,000 take most of a second, and an `up` asks in each of its programs. */
const longBytes = 64 << 10;
const mostKept = 32;

const readings = (): string => join(cacheFolder(), "readings");

function keep(file: string, text: string): void {
  mkdirSync(readings(), { recursive: true });
  writeFileSync(`${file}.${process.pid}`, text);
  renameSync(`${file}.${process.pid}`, file);
  const byAge = readdirSync(readings())
    .map((leaf) => join(readings(), leaf))
    .map((path) => ({ path, age: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.age - a.age);
  for (const { path } of byAge.slice(mostKept)) rmSync(path, { force: true });
}

/** Whether rules can be read here: not before the agent is built, which the first `up` does before it checks once more. */
export const canReadRules = (): boolean => hasImageProgram("agent");

/** A file of rules as the agent reads it, and what it says of packets. */
export function readRules({
  packets = [],
  short = false,
  ...rules
}: Partial<FirewallQuestion> & Pick<FirewallQuestion, "text" | "networks">): FirewallReading {
  const program = imageProgram("agent");
  const question = JSON.stringify({ ...rules, short, packets } satisfies FirewallQuestion);
  const ask = (): string =>
    execFileSync(program, ["rules"], { input: question, encoding: "utf8", maxBuffer: 1 << 30, stdio: ["pipe", "pipe", "inherit"] });
  if (!short || packets.length > 0 || rules.text.length < longBytes) return JSON.parse(ask()) as FirewallReading;
  const key = createHash("sha256").update(basename(program)).update(question).digest("hex");
  const file = join(readings(), `${key}.json`);
  if (existsSync(file)) return JSON.parse(readFileSync(file, "utf8")) as FirewallReading;
  const answer = ask();
  keep(file, answer);
  return JSON.parse(answer) as FirewallReading;
}
