import { existsSync } from "node:fs";
import { join } from "node:path";
import { declarationHash } from "../../components/config/declaration";
import type { Context } from "../../deploy/context";
import { type DeployedContext, openDeployed, sayChanged } from "../../deploy/deployed";
import { readStack } from "../../deploy/state";
import { leaseServers } from "../../deploy/turn";
import { isBaseline, type ProfileName } from "../../experiments/cells";
import { experimentNames, loadExperiment } from "../../experiments/load";
import { readRun, resultsFolder, type Run, runNames, RunWriter } from "../../experiments/results";
import { begin, plannedCells, proceed, type RunControl } from "../../experiments/run";
import { canTell, roundsToTell } from "../../experiments/runner/statistics";
import { Site } from "../../experiments/site";
import { compareRuns, figure, interval, medianTitle, remarks, summarise } from "../../experiments/summary";
import { projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { topologySvg } from "../graph";
import { table } from "../table";
import { jsonOption, type Verb } from "../verb";

export function resultText(run: Run): string {
  const { header } = run;
  const rows = summarise(run).map((one) => [
    one.label,
    one.values.length === 0 ? "-" : interval(one.value),
    one.ratio === undefined ? (isBaseline(one.cell) ? "1" : "-") : interval(one.ratio),
    String(one.values.length),
    remarks(one),
  ]);
  const unit = header.unit === "us" ? "us (less is better)" : header.unit;
  const left = header.left.map(({ cell, why }) => `not measured: ${cell}: ${why}`);
  return [table(["CELL", `${unit}, ${medianTitle.toUpperCase()}`, "RATIO TO SERVER TO SERVER", "ROUNDS", ""], rows), ...left].join("\n");
}

/** Measuring needs one testbed on all servers. */
async function mustBeUp(context: DeployedContext): Promise<void> {
  const { root, declaration } = context;
  const stacks = await Promise.all(declaration.servers.map((server) => readStack(root, server.name)));
  const missing = declaration.servers.filter((_, i) => stacks[i]?.testbed !== declaration.name).map(({ name }) => name);
  if (missing.length > 0)
    throw new Error(
      `testbed ${declaration.name} is not up on ${missing.join(", ")}: flipflap up (or npm run up -- --testbed ${declaration.name}), then this again`,
    );
  if (!context.isKnown)
    throw new Error(
      `what is declared has changed since it was deployed on ${context.changed.join(", ")}: flipflap up (or undo the change), then this again`,
    );
  if (context.isMixed) throw new Error("the servers were brought up from different files: flipflap up, then this again");
  sayChanged(context);
}

function control(): RunControl & { end: () => void } {
  const stop = new AbortController();
  let interrupts = 0;
  const interrupt = (): void => {
    interrupts++;
    stop.abort();
    if (interrupts === 1) process.stderr.write("\n  .. stopping: all is put back, and the run can be resumed\n");
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, interrupt);
  let last = "";
  return {
    stop: stop.signal,
    say: (line) => process.stderr.write(`\r\x1b[K${line}\n`.replace(process.stderr.isTTY ? "" : "\r\x1b[K", "")),
    show: ({ done, all, label, secondsLeft }) => {
      const width = 24;
      const filled = all === 0 ? 0 : Math.round((done / all) * width);
      const left = secondsLeft >= 90 ? `${Math.round(secondsLeft / 60)} min` : `${Math.round(secondsLeft)} s`;
      const text = `  [${"#".repeat(filled)}${"-".repeat(width - filled)}] ${done} of ${all}, ${left} left; ${label}`;
      if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
      else {
        // A line a round.
        const round = label.split(":")[0] ?? "";
        if (round !== last) process.stderr.write(`${text}\n`);
        last = round;
      }
    },
    end: () => {
      if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
      for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, interrupt);
    },
  };
}

async function goOn(context: Context, writer: RunWriter, json: boolean): Promise<number> {
  const { end, ...running } = control();
  let run: Run;
  try {
    run = await proceed(new Site(context.root, context.declaration), writer, running);
  } catch (error) {
    throw new Error(`${(error as Error).message}\nWhat was measured is kept: flipflap experiment resume ${writer.run}`, { cause: error });
  } finally {
    end();
  }
  console.log(
    json
      ? JSON.stringify({ run: writer.run, isEnded: run.isEnded, cells: summarise(run), left: run.header.left }, null, 2)
      : resultText(run),
  );
  if (!run.isEnded) {
    console.error(`stopped; flipflap experiment resume ${writer.run} goes on`);
    return 130;
  }
  if (!json) console.log(`\nresults/${writer.run} (seed ${run.header.seed}); flipflap report makes a page of it`);
  return run.failures.length > 0 || run.header.left.length > 0 ? 3 : 0;
}

function profileNamed(name: unknown): ProfileName {
  if (name === undefined || name === "quick" || name === "full") return name ?? "quick";
  throw new UsageError(`--profile quick or full, not ${String(name)}`);
}

async function start(name: string | undefined, flags: Parameters<Verb["run"]>[0]["flags"]): Promise<number> {
  const root = projectRoot();
  if (name === undefined) throw new UsageError(`name an experiment: ${experimentNames(root).join(", ")}`);
  const experiment = loadExperiment(root, name);
  const profile = profileNamed(flags.profile);
  const seed = flags.seed === undefined ? Date.now() % 100_000 : Number(flags.seed);
  if (!Number.isInteger(seed)) throw new UsageError("--seed takes a whole number");
  const context = await openDeployed();
  await leaseServers(context, context.declaration.servers);
  await mustBeUp(context);
  const site = new Site(context.root, context.declaration);
  const { cells, left } = plannedCells(site, experiment, profile);
  if (cells.length === 0)
    throw new Error(
      `experiments/${name}.yaml: testbed ${context.declaration.name} has nothing of it to measure:\n${left.map(({ cell, why }) => `  ${cell}: ${why}`).join("\n")}`,
    );
  const writer = await begin(site, { name, experiment, profile, seed, topology: topologySvg(context.declaration) });
  return goOn(context, writer, flags.json === true);
}

async function resume(name: string | undefined, json: boolean): Promise<number> {
  const root = projectRoot();
  const open = runNames(root).filter((run) => !readRun(root, run).isEnded);
  const run = name ?? open.at(-1);
  if (run === undefined) throw new UsageError("there is no run to go on with");
  if (!existsSync(join(resultsFolder(root), run))) throw new UsageError(`there is no run ${run}; open ones: ${open.join(", ") || "none"}`);
  const { header, isEnded } = readRun(root, run);
  if (isEnded) throw new UsageError(`${run} is at its end; flipflap experiment run ${header.experiment} measures anew`);
  const context = await openDeployed();
  if (context.declaration.name !== header.testbed)
    throw new UsageError(`${run} was begun on testbed ${header.testbed}, and ${context.declaration.name} is deployed now`);
  await leaseServers(context, context.declaration.servers);
  await mustBeUp(context);
  if (header.declaration !== undefined && header.declaration !== declarationHash(context.declaration))
    throw new Error(
      `${run} was measured on another declaration of testbed ${header.testbed}: put that back and flipflap up, or flipflap experiment run ${header.experiment}`,
    );
  return goOn(context, new RunWriter(root, run), json);
}

function compare(names: readonly string[], json: boolean): number {
  const root = projectRoot();
  const [before, after] = names;
  const known = runNames(root);
  if (before === undefined || after === undefined || !known.includes(before) || !known.includes(after))
    throw new UsageError(`name two runs of ${known.join(", ") || "(there are none yet)"}`);
  const compared = compareRuns(readRun(root, before), readRun(root, after));
  if (json) console.log(JSON.stringify(compared, null, 2));
  else {
    const rows = compared.map((one) => [
      one.label,
      interval(one.before),
      interval(one.after),
      `${one.change >= 0 ? "+" : ""}${(one.change * 100).toFixed(1)}%`,
      one.isBeyondNoise ? "beyond noise" : "",
    ]);
    console.log(table(["CELL", "BEFORE", "AFTER", "CHANGE", ""], rows));
    console.log(
      `${compared.filter(({ isBeyondNoise }) => isBeyondNoise).length} of ${compared.length} cells differ beyond noise (Mann-Whitney; 5% for all cells together, by Holm)`,
    );
    const blind = compared.filter((one) => !canTell(one.before.count, one.after.count, compared.length));
    if (blind.length > 0)
      console.log(
        `${blind.length} of them have too few rounds to tell any difference among ${compared.length} cells; ${roundsToTell(compared.length)} in each run are enough`,
      );
  }
  return compared.length === 0 ? 3 : 0;
}

function list(json: boolean): number {
  const root = projectRoot();
  const all = experimentNames(root).map((name) => ({ name, ...loadExperiment(root, name) }));
  const runs = runNames(root).map((name) => readRun(root, name));
  if (json) {
    console.log(JSON.stringify({ experiments: all, runs: runs.map(({ header, isEnded }) => ({ run: header.run, isEnded })) }, null, 2));
    return 0;
  }
  console.log(
    table(
      ["EXPERIMENT", "REPORT", "METHOD", "ASKS"],
      all.map(({ name, report, method, asks }) => [name, report ?? "", method, asks]),
    ),
  );
  if (runs.length > 0)
    console.log(
      `\n${table(
        ["RUN", "TESTBED", "PROFILE", "SAMPLES", "STATE"],
        runs.map(({ header, samples, failures, isEnded }) => [
          header.run,
          header.testbed,
          header.profile,
          figure(samples.length).replace(/\.\d+$/, ""),
          `${isEnded ? "ended" : "can be resumed"}${failures.length > 0 ? `, ${failures.length} failed` : ""}`,
        ]),
      )}`,
    );
  return 0;
}

export const experiment: Verb = {
  name: "experiment",
  words: "list | run NAME | resume [RUN] | compare RUN RUN",
  summary: "measure what is deployed, in interleaved rounds beside server to server",
  details: `
  flipflap experiment list              what there is, and what was measured
  flipflap experiment run rules         experiments/rules.yaml, on the testbed that is up
  flipflap experiment resume            goes on with the last run that did not end (Ctrl-C, a kill, a full disk)
  flipflap experiment compare A B       which differences between two runs are beyond noise

A round measures every cell once, in random order (the seed is kept), and server to server beside them; a ratio is to
the same round. Measurements that others disturbed (more than a tenth of a server's CPUs) are repeated. Rounds go on until the
95% intervals are as narrow as the profile wants, looked at now and then; fewer than six rounds have a range and no interval.
Results are in results/RUN: one JSON line a measurement, and what the tools printed.

Exit code 0: all was measured; 3: some cells were not, and why is said; 130: stopped, and can be resumed.`,
  options: {
    ...jsonOption,
    profile: { type: "string", value: "NAME", help: "quick (the default, minutes) or full (as published)" },
    seed: { type: "string", value: "N", help: "of the order of the cells and of the intervals; default: by the clock" },
  },
  takesTurn: ([what]) => ["run", "resume"].includes(what ?? ""),
  run: async ({ words, flags }) => {
    const [what, ...names] = words;
    const json = flags.json === true;
    switch (what) {
      case "list":
        return list(json);
      case "run":
        return start(names[0], flags);
      case "resume":
        return resume(names[0], json);
      case "compare":
        return compare(names, json);
      default:
        throw new UsageError("list, run NAME, resume [RUN] or compare RUN RUN");
    }
  },
};
