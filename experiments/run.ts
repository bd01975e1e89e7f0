/** Runs an experiment on what is deployed: interleaved rounds with server to server in each, until the intervals are narrow enough. */
import { performance } from "node:perf_hooks";
import { declarationHash, findNetwork } from "../components/config/declaration";
import { isGuarded } from "../components/config/declaration";
import { rulesPlaceOf } from "../components/capabilities/registry";
import { allows } from "../components/net/policy/resolve";
import { networkPolicies } from "../components/plan/policies";
import { sleep } from "../support/process";
import { type AnyCell, baselineOf, type Cell, cellKey, cellLabel, cellsOf, isBaseline, profileOf, type ProfileName } from "./cells";
import { clearRules, underConditions } from "./conditions/cell";
import { busyShare, foreignShare, lookAtCpus } from "./conditions/cpu";
import { methods } from "./methods";
import { removeBooted } from "./methods/boot";
import { nextPort } from "./methods/listener";
import { linkOptions, type LinkOptions, type Measured, type Method } from "./methods/method";
import { readRun, type Run, type RunHeader, RunWriter } from "./results";
import { machineConditions, serverConditions } from "./runner/conditions";
import { generator, shuffled } from "./runner/statistics";
import type { End, Site } from "./site";
import { looksOfRun, relativeWidth, summarise } from "./summary";
import type { Experiment } from "./types.gen";

/** A measurement during which others used more of the machine is measured again, and does not count. */
const foreignLimit = 0.1;
const repeats = 2;

export interface Progress {
  readonly done: number;
  readonly all: number;
  readonly label: string;
  readonly secondsLeft: number;
}

export interface RunControl {
  readonly show: (progress: Progress) => void;
  readonly say: (line: string) => void;
  /** Set when the user wants to stop: what runs is ended, all is put back, and the run can be resumed. */
  readonly stop: AbortSignal;
}

export interface Started {
  readonly name: string;
  readonly experiment: Experiment;
  readonly profile: ProfileName;
  readonly seed: number;
  readonly topology: string;
}

/** Cells that the testbed has, and those that it cannot have. */
export function plannedCells(site: Site, experiment: Experiment, profile: ProfileName): Pick<RunHeader, "cells" | "left"> {
  const method = methods[experiment.method];
  const own = method.between === "none" ? method.network?.(site.declaration) : undefined;
  const networks = experiment.networks ?? (own === undefined ? site.declaration.testbed.networks.map(({ name }) => name) : [own]);
  const byPolicies = site.declaration.testbed.networks.flatMap((network) => {
    const place = rulesPlaceOf(site.declaration, network);
    return place !== undefined && "selectors" in place ? [network.name] : [];
  });
  const all = withFittingFilters(site, cellsOf(experiment, profile, networks, byPolicies));
  const left: { cell: string; why: string }[] = [];
  const cells = all.filter((cell) => {
    const why = impossible(site, method, cell);
    if (why !== undefined) left.push({ cell: cellLabel(cell, all), why });
    return why === undefined;
  });
  if (method.between !== "ends" || cells.length === 0) return { cells, left };
  const baselines = new Map(cells.map((cell) => [cellKey(baselineOf(cell)), baselineOf(cell)]));
  return { cells: [...baselines.values(), ...cells], left };
}

/** Where filters of both sorts are compared, each network has those of its sort. */
function withFittingFilters(site: Site, cells: readonly Cell[]): readonly Cell[] {
  const ruled = cells.filter(({ filter }) => filter !== undefined);
  const isCompared = ruled.some(({ filter }) => filter === "ebpf") && ruled.some(({ filter }) => filter !== "ebpf");
  return isCompared ? cells.filter((cell) => wrongFilter(site, cell) === undefined) : cells;
}

/** Why a cell's filter is none for its network. */
function wrongFilter(site: Site, { network: name, filter }: Cell): string | undefined {
  const network = findNetwork(site.declaration, name);
  if (network === undefined || filter === undefined) return undefined;
  const place = rulesPlaceOf(site.declaration, network);
  const isWalled = place !== undefined && "declared" in place;
  if (isWalled === (filter === "ebpf")) return undefined;
  return isWalled ? `a firewall looks at ${name}: its rules are made with ebpf` : `no firewall looks at ${name}`;
}

function impossible(site: Site, method: Method, cell: Cell): string | undefined {
  if (method.between === "missing") return method.reason;
  const known = site.declaration.testbed.networks.find(({ name }) => name === cell.network);
  if (known === undefined) return `the testbed has no network "${cell.network}"`;
  const why = wrongFilter(site, cell);
  if (why !== undefined) return why;
  const place = rulesPlaceOf(site.declaration, known);
  if (place !== undefined && "nowhere" in place && (cell.rules ?? 0) > 0) return place.nowhere;
  if (method.between === "none") return method.impossible(site.declaration, cell);
  const ends = site.ends(cell);
  return "impossible" in ends ? ends.impossible : undefined;
}

export async function begin(site: Site, started: Started): Promise<RunWriter> {
  const { name, experiment, profile, seed, topology } = started;
  const stamp = new Date().toISOString().replaceAll(/[-:]/g, "").slice(0, 15).replace("T", "-");
  const writer = new RunWriter(site.root, `${name}-${stamp}`);
  const { unit, better } = methods[experiment.method];
  writer.add({
    type: "run",
    run: writer.run,
    experiment: name,
    definition: experiment,
    profile,
    testbed: site.declaration.name,
    declaration: declarationHash(site.declaration),
    kinds: Object.fromEntries(site.declaration.testbed.networks.map(({ name: network, kind }) => [network, kind])),
    topology,
    seed,
    unit,
    better,
    startedAt: new Date().toISOString(),
    ...plannedCells(site, experiment, profile),
    conditions: {
      ...machineConditions(),
      guard: isGuarded(site.declaration) ? "on" : "off",
      wantedCongestionControl: experiment.congestionControl ?? "reno",
      servers: await serverConditions(site),
    },
  });
  return writer;
}

/** The TCP ports that policies let in between the two ends; undefined where any will do. */
function portsLetIn(site: Site, { network: name }: Cell, { from, to }: { from: End; to: End }): LinkOptions["ports"] {
  const network = findNetwork(site.declaration, name);
  if (network === undefined) return undefined;
  const { resolved } = networkPolicies(site.declaration, network);
  const isOpen = allows(resolved, from.name, to.name, { protocol: "tcp", number: nextPort() });
  if (isOpen) return undefined;
  const ranges = resolved.rules.flatMap((rule) => (rule.to.includes(to.name) && rule.ports?.protocol === "tcp" ? [rule.ports] : []));
  const found = ranges.find(({ protocol, first: number }) => allows(resolved, from.name, to.name, { protocol, number }));
  if (found === undefined) throw new Error(`policies let ${from.name} ask ${to.name} at no TCP port`);
  return { first: found.first, last: found.last };
}

async function measure(site: Site, header: RunHeader, cell: AnyCell, seconds: number): Promise<Measured> {
  const { definition } = header;
  const method = methods[definition.method];
  if (method.between === "missing") throw new Error(method.reason);
  if (method.between === "none") return method.measure(site, cell as Cell);
  const options = linkOptions(cell, definition, seconds);
  if (isBaseline(cell)) {
    const { from, to } = site.baseline();
    return method.measure(site, from, to, options);
  }
  const ends = site.ends(cell);
  if ("impossible" in ends) throw new Error(ends.impossible);
  const ports = portsLetIn(site, cell, ends);
  const own = ports === undefined ? options : { ...options, ports };
  return underConditions(site, cell, [ends.from, ends.to], async (rulesSeconds) => {
    const measured = await method.measure(site, ends.from, ends.to, own);
    return rulesSeconds === undefined ? measured : { ...measured, details: { ...measured.details, rulesSeconds } };
  });
}

/** Whether a measurement that failed is worth another: once, where the user does not stop and the disk is not full. */
function isFinal(error: unknown, failed: number, control: RunControl): boolean {
  if (control.stop.aborted || (error as NodeJS.ErrnoException).code === "ENOSPC") throw error;
  return failed > 1;
}

/** One sample of a cell. Disturbed ones are noted and taken again, and so is, once, one that failed: iperf3 (3.12) now and then loses its own connection. */
async function sample(site: Site, writer: RunWriter, header: RunHeader, cell: AnyCell, round: number, control: RunControl): Promise<void> {
  const key = cellKey(cell);
  const profile = profileOf(header.definition, header.profile);
  let [disturbed, failed] = [0, 0];
  for (;;) {
    const [before, begin] = [await lookAtCpus(site), performance.now()];
    try {
      const { value, details, raw } = await measure(site, header, cell, profile.seconds);
      const seconds = (performance.now() - begin) / 1000;
      const after = await lookAtCpus(site);
      const foreignCpu = foreignShare(before, after);
      const isDisturbed = foreignCpu > foreignLimit;
      const isKept = !isDisturbed || ++disturbed > repeats;
      writer.add({
        type: "sample",
        round,
        cell: key,
        value,
        details,
        foreignCpu,
        busyCpu: busyShare(before, after),
        ...(isDisturbed && { disturbed: true }),
        ...(isDisturbed && isKept && { kept: true }),
        at: new Date().toISOString(),
        seconds,
        raw: writer.raw(raw),
      });
      if (isKept) return;
    } catch (error) {
      const final = isFinal(error, ++failed, control);
      const { message } = error as Error;
      writer.add({ type: "failure", round, cell: key, error: message, at: new Date().toISOString(), ...(!final && { repeated: true }) });
      control.say(
        `  !! round ${round}, ${cellLabel(cell, header.cells)}: ${message.split("\n").at(-1) ?? ""}${final ? "" : "; once more"}`,
      );
      if (final) return;
    }
  }
}

/** What is left of a round: resumed runs have some of it. */
function leftOf(run: Run, round: number, cells: readonly AnyCell[]): AnyCell[] {
  const done = new Set([...run.samples, ...run.failures].filter((one) => one.round === round).map(({ cell }) => cell));
  return shuffled(cells, generator(run.header.seed + round * 7919)).filter((cell) => !done.has(cellKey(cell)));
}

/** The cells whose medians are not known well enough at any of the looks before a round, and their baselines. */
function openCells(run: Run, round: number): readonly AnyCell[] {
  const { rounds, width = 0.1 } = profileOf(run.header.definition, run.header.profile);
  if (round <= rounds) return run.header.cells;
  const wideAt = (look: number): ReadonlySet<string> => {
    const upTo = { ...run, samples: run.samples.filter((sample) => sample.round <= look) };
    const wide = summarise(upTo).filter(
      ({ cell, value, failures }) => !isBaseline(cell) && failures.length === 0 && relativeWidth(value) > width,
    );
    return new Set(wide.map(({ key }) => key));
  };
  const looks = looksOfRun(run.header)
    .filter((look) => look < round)
    .map(wideAt);
  const open = run.header.cells.filter((cell) => !isBaseline(cell) && looks.every((wide) => wide.has(cellKey(cell))));
  const keys = new Set(open.flatMap((cell) => [cellKey(cell), cellKey(baselineOf(cell))]));
  return run.header.cells.filter((cell) => keys.has(cellKey(cell)));
}

/** Goes on with a run to its end, from wherever it stands. Everything is put back also where it is stopped. */
export async function proceed(site: Site, writer: RunWriter, control: RunControl): Promise<Run> {
  const read = (): Run => readRun(site.root, writer.run);
  const { header } = read();
  const { rounds, mostRounds = rounds } = profileOf(header.definition, header.profile);
  let measured = 0;
  const since = performance.now();
  try {
    await site.open();
    await clearRules(site);
    // What is cold is warm from here on: caches, the tools' files.
    const [first] = header.cells;
    if (first !== undefined && methods[header.definition.method].between === "ends")
      await measure(site, header, first, 1).catch(() => undefined);
    for (let round = 1; round <= Math.max(rounds, mostRounds); round++) {
      const cells = openCells(read(), round);
      if (cells.length === 0) break;
      const left = leftOf(read(), round, cells);
      for (const [i, cell] of left.entries()) {
        if (control.stop.aborted) return read();
        const ahead = left.length - i + Math.max(0, rounds - round) * header.cells.length;
        const pace =
          measured === 0 ? profileOf(header.definition, header.profile).seconds + 2 : (performance.now() - since) / 1000 / measured;
        control.show({
          done: header.cells.length * rounds - Math.min(ahead, header.cells.length * rounds),
          all: header.cells.length * rounds,
          label: `round ${round}: ${cellLabel(cell, header.cells)}`,
          secondsLeft: pace * ahead,
        });
        await sample(site, writer, header, cell, round, control);
        measured++;
      }
    }
    writer.add({ type: "end", at: new Date().toISOString() });
    return read();
  } catch (error) {
    if (!control.stop.aborted) throw error;
    return read();
  } finally {
    await putBack(site);
  }
}

async function putBack(site: Site): Promise<void> {
  // A program that was cut off may hold on for a moment.
  await sleep(50);
  await clearRules(site);
  await Promise.all(site.declaration.servers.map(({ name }) => removeBooted(site, name)));
  await site.close();
}
