/** Results on disk: a folder a run, with a file to which one JSON line is added for each thing that happened, and what the tools printed. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AnyCell, cellKey, type ProfileName } from "./cells";
import type { Experiment } from "./types.gen";

export interface RunHeader {
  readonly type: "run";
  readonly run: string;
  readonly experiment: string;
  readonly definition: Experiment;
  readonly profile: ProfileName;
  readonly testbed: string;
  /** Of what was deployed; absent in runs of before. */
  readonly declaration?: string;
  /** Of its networks, by their names. */
  readonly kinds: Readonly<Record<string, string>>;
  /** A picture of it, SVG. */
  readonly topology: string;
  readonly seed: number;
  readonly unit: string;
  readonly better: "more" | "less";
  readonly startedAt: string;
  readonly cells: readonly AnyCell[];
  /** Cells that the testbed cannot have, and why. */
  readonly left: readonly { readonly cell: string; readonly why: string }[];
  readonly conditions: Readonly<Record<string, unknown>>;
}

export interface Sample {
  readonly type: "sample";
  readonly round: number;
  readonly cell: string;
  readonly value: number;
  readonly details: Readonly<Record<string, number>>;
  /** Shares of the machine: used by others, and used at all. */
  readonly foreignCpu: number;
  readonly busyCpu: number;
  /** Others used too much of the servers' CPUs. */
  readonly disturbed?: true;
  /** Disturbed, and not measured again: it counts. */
  readonly kept?: true;
  readonly at: string;
  readonly seconds: number;
  /** A file beside this one. */
  readonly raw: string;
}

export interface Failure {
  readonly type: "failure";
  readonly round: number;
  readonly cell: string;
  readonly error: string;
  readonly at: string;
  /** It was measured again. */
  readonly repeated?: true;
}

export interface RunEnd {
  readonly type: "end";
  readonly at: string;
}

type Entry = RunHeader | Sample | Failure | RunEnd;

export interface Run {
  readonly header: RunHeader;
  /** Those that count. */
  readonly samples: readonly Sample[];
  readonly disturbed: readonly Sample[];
  readonly failures: readonly Failure[];
  /** Failures after which a second measurement went well, or failed too. */
  readonly repeated: readonly Failure[];
  readonly isEnded: boolean;
}

export const resultsFolder = (root: string): string => join(root, "results");
const linesFile = (root: string, run: string): string => join(resultsFolder(root), run, "run.jsonl");

export class RunWriter {
  private count = 0;

  constructor(
    readonly root: string,
    readonly run: string,
  ) {
    mkdirSync(join(resultsFolder(root), run, "raw"), { recursive: true });
    this.count = readdirSync(join(resultsFolder(root), run, "raw")).length;
  }

  add(entry: Entry): void {
    appendFileSync(linesFile(this.root, this.run), `${JSON.stringify(entry)}\n`);
  }

  raw(text: string): string {
    this.count++;
    const name = `raw/${String(this.count).padStart(5, "0")}.txt`;
    writeFileSync(join(resultsFolder(this.root), this.run, name), text);
    return name;
  }
}

/** All runs by their names: the oldest first. */
export function runNames(root: string): string[] {
  const folder = resultsFolder(root);
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => existsSync(linesFile(root, name)));
  return names.sort((a, b) => (stampOf(a) < stampOf(b) ? -1 : 1));
}

const stampOf = (run: string): string => run.split("-").slice(-2).join("-");

export function readRun(root: string, name: string): Run {
  const lines = readFileSync(linesFile(root, name), "utf8").split("\n");
  const entries = lines.flatMap((line): Entry[] => {
    try {
      return line === "" ? [] : [JSON.parse(line) as Entry];
    } catch {
      return []; // the last line of a run that was killed while it wrote
    }
  });
  const header = entries.find((entry): entry is RunHeader => entry.type === "run");
  if (header === undefined) throw new Error(`results/${name}: has no header; it is no run, or was killed as it began`);
  const samples = entries.filter((entry): entry is Sample => entry.type === "sample");
  const failures = entries.filter((entry): entry is Failure => entry.type === "failure");
  return {
    header,
    samples: samples.filter(({ disturbed, kept }) => disturbed !== true || kept === true),
    disturbed: samples.filter(({ disturbed, kept }) => disturbed === true && kept !== true),
    failures: failures.filter(({ repeated }) => repeated !== true),
    repeated: failures.filter(({ repeated }) => repeated === true),
    isEnded: entries.some(({ type }) => type === "end"),
  };
}

export const cellOf = ({ header }: Run, key: string): AnyCell | undefined => header.cells.find((cell) => cellKey(cell) === key);
