import { randomInt } from "node:crypto";
import { appendFileSync, writeFileSync } from "node:fs";
import { type Declaration, systemsOn } from "../../components/config/declaration";
import { Clocks } from "../../components/capabilities/tracer/clocks";
import { Concealed, isAside } from "../../components/capabilities/tracer/concealed";
import { explain, type Explanation, explanationText } from "../../components/capabilities/tracer/explain";
import { crossingsOf, type Hop, hopsOf } from "../../components/capabilities/tracer/hops";
import { hopColumns, hopRows } from "../../components/capabilities/tracer/hopTable";
import { Journeys, type Journey, type PlacedStep, stepsOf } from "../../components/capabilities/tracer/journey";
import { Probes } from "../../components/capabilities/tracer/probes";
import { journeysPicture } from "../../components/capabilities/tracer/picture";
import { kinCounts, kinText, Pieces, wholeWay } from "../../components/capabilities/tracer/pieces";
import { otlpLine } from "../../components/capabilities/tracer/otel";
import { Capture } from "../../components/capabilities/tracer/pcapng";
import { addressesOf, placeOf, typeOf } from "../../components/capabilities/tracer/words";
import { capabilities } from "../../components/capabilities/registry";
import type { TraceCounts, TraceLine, TraceReady } from "../../components/host/contract/types.gen";
import { portName } from "../../components/net/names";
import { AgentTalk } from "../../deploy/agentTalk";
import { findSystem } from "../../deploy/context";
import { openDeployed, sayChanged } from "../../deploy/deployed";
import { tracePlan } from "../../deploy/traceServers";
import { UsageError } from "../../support/usageError";
import { dropsBetween, readDrops } from "../observations";
import { table } from "../table";
import { jsonOption, type Verb } from "../verb";

/** What a journey must have met to be shown. */
function wantedBy(
  declaration: Declaration,
  flags: Readonly<Record<string, string | boolean | undefined>>,
): (journey: Journey, hops: readonly Hop[]) => boolean {
  const { systems } = declaration.testbed;
  const chosen = systems.filter(
    (system) =>
      (flags.system === undefined || system.name === flags.system) &&
      (flags.tenant === undefined || system.tenant === flags.tenant) &&
      (flags.network === undefined || system.networks.some(({ name }) => name === flags.network)),
  );
  const namespaces = new Set(chosen.map(({ name }) => name));
  const ports = new Set(
    chosen.flatMap((system) =>
      system.networks
        .filter(({ name }) => flags.network === undefined || name === flags.network)
        .map(({ name }) => `${system.server} ${portName({ system: system.name, network: name })}`),
    ),
  );
  const everything = flags.system === undefined && flags.tenant === undefined && flags.network === undefined;
  const isMet = (step: PlacedStep): boolean => namespaces.has(step.namespace) || ports.has(`${step.server} ${step.device}`);
  return (journey, hops) => {
    const steps = stepsOf(journey);
    if (flags.device !== undefined && !steps.some(({ device }) => device === flags.device)) return false;
    if (everything || steps.some(isMet)) return true;
    // A drop that came long after all else is at nobody's interface.
    if (!steps.every(({ reason }) => reason !== undefined)) return false;
    const { isKnown, from, to } = explain(declaration, journey, hops);
    return isKnown && (namespaces.has(from) || namespaces.has(to));
  };
}

const mostPictured = 20;

const columns = ["NETWORK NS", "INTERFACE", "TYPE", "ADDRESSES", "FUNCTION NAME", "TIMESTAMP"] as const;

/** Rows come one by one: the widths are those of what is declared. */
function printer(declaration: Declaration): (cells: readonly string[]) => void {
  const names = [...declaration.servers.map(({ name }) => name), ...declaration.testbed.systems.map(({ name }) => name)];
  const widths = [Math.max(12, ...names.map((name) => name.length)), 15, 17, 48, 22, 0];
  return (cells) =>
    console.log(
      cells
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join("  ")
        .trimEnd(),
    );
}

const cellsOf = (step: PlacedStep): string[] => [
  placeOf(step),
  step.device,
  typeOf(step.seen),
  addressesOf(step.seen),
  step.reason === undefined ? step.point : `${step.point} (${step.reason})`,
  String(step.atNs),
];

interface Ended {
  readonly server: string;
  readonly counts?: TraceCounts;
  readonly error?: string;
}

function summaryOf(journeys: number, ambiguous: number, ended: readonly Ended[]): string[] {
  const lines = [`${journeys} journeys, ${ambiguous} ambiguous`];
  for (const { server, counts, error } of ended) {
    if (error !== undefined) lines.push(`${server}: not traced to its end`);
    if (counts !== undefined)
      lines.push(
        `${server}: ${counts.seen} hits, ${counts.matched} matched, ${counts.lost} lost, ${counts.missed > 0 ? `${counts.missed} missed, ` : ""}${counts.untold} legs too many to tell; ${((counts.cpuMs / counts.seconds / 1000) * 100).toFixed(1)}% of a core for the agent`,
      );
  }
  return lines;
}

const whole = (name: string, value: string | boolean | undefined, least = 1): number | undefined => {
  if (value === undefined) return undefined;
  const number = Number(String(value).replace(/^1\//, ""));
  if (!Number.isInteger(number) || number < least) throw new UsageError(`--${name} takes a whole number from ${least} on`);
  return number;
};

export const trace: Verb = {
  name: "trace",
  words: "[FILTER...]",
  summary: "follow packets through all devices of all servers, with the time at each",
  details: `
  flipflap trace icmp and host 10.0.191.10
  flipflap trace --system red-web --count 1 -- tcp port 5201 and 'tcp[tcpflags] & tcp-syn != 0'
  flipflap trace --system red-web --hops --explain
  flipflap trace --tenant red --sample 1/100 --for 10 --json >journeys.jsonl

A packet is followed unchanged through namespaces, bridges, routers, NAT and tunnels, from server to server. The filter is an
expression of tcpdump's; it judges the packet that a tunnel carries (outside host ADDRESS, vni N judge the tunnel). Where packets
cannot be told apart their journeys are ambiguous, and counted.

Each point costs each packet some 60 ns, also of those that the filter does not want: --points devices has half as many as
--points all, which knows what waits in queues, too.

Ends with Ctrl-C, after --count journeys or --for seconds, with what was seen, what was lost, and what it cost.`,
  options: {
    system: { type: "string", value: "NAME", help: "what a system sends or gets" },
    tenant: { type: "string", value: "NAME", help: "what a tenant's systems send or get" },
    network: { type: "string", value: "NAME", help: "what systems send or get by a network" },
    device: { type: "string", value: "NAME", help: "what passes a device" },
    sample: { type: "string", value: "1/N", help: "one packet of N, the same ones on all servers" },
    count: { type: "string", value: "N", help: "end after N journeys" },
    for: { type: "string", value: "SECONDS", help: "end after so long" },
    "no-probes": { type: "boolean", help: "send no pings between servers: clocks are told apart by what is traced alone" },
    points: { type: "string", value: "devices|all", help: "where packets are looked at; all for the table, else devices" },
    hops: { type: "boolean", help: "the time at each device, in place of every tracepoint" },
    explain: { type: "boolean", help: "hold the way against the declared one: what is missing, extra, dropped and why" },
    svg: { type: "string", value: "FILE", help: "a picture of the journeys: servers as lanes, microseconds at each device" },
    pcapng: { type: "string", value: "FILE", help: "a capture: an interface a server and device, headers without payload" },
    otlp: { type: "string", value: "FILE", help: "OpenTelemetry's spans: a trace a journey, a span a device (OTLP JSON lines)" },
    ...jsonOption,
  },
  run: async ({ words, rest, flags }) => {
    const context = await openDeployed();
    sayChanged(context);
    const { declaration } = context;
    if (flags.system !== undefined) findSystem(context, String(flags.system));
    for (const [key, known] of [
      ["tenant", declaration.testbed.tenants.map(({ name }) => name)],
      ["network", declaration.testbed.networks.map(({ name }) => name)],
    ] as const)
      if (flags[key] !== undefined && !known.includes(String(flags[key])))
        throw new UsageError(`there is no ${key} "${String(flags[key])}"; there are ${known.join(", ")}`);
    const [count, seconds, sampleOf] = [whole("count", flags.count), whole("for", flags.for), whole("sample", flags.sample)];
    const isTable = flags.json !== true && flags.hops !== true && flags.explain !== true;
    const points = flags.points;
    if (points !== undefined && points !== "devices" && points !== "all") throw new UsageError("--points takes devices or all");
    // Which of them carry what is wanted nobody can say of a sample.
    const conceals = sampleOf === undefined ? capabilities.flatMap((one) => one.conceals?.(declaration) ?? []) : [];
    const traced = declaration.servers.filter(({ name }) => systemsOn(declaration, name).length > 0);
    const probed =
      flags["no-probes"] === true ? [] : traced.map(({ name, underlay }) => ({ name, ipv4: underlay.ipv4.split("/")[0] ?? "" }));
    const probes = new Probes(probed, randomInt(1, 1 << 16));
    const also = [...conceals.map(({ filter }) => filter), ...probes.filters].map((filter) => `(${filter})`).join(" or ");
    const asked = {
      filter: [...words, ...rest].join(" "),
      sampleOf: sampleOf ?? 1,
      seconds: seconds ?? 0,
      also,
      points: points ?? (isTable ? ("all" as const) : ("devices" as const)),
    };
    const wanted = wantedBy(declaration, flags);
    const print = printer(declaration);
    const pieces = new Pieces();
    const concealed = conceals.length === 0 ? undefined : new Concealed(conceals);
    const journeys = new Journeys(declaration.servers.map(({ name }) => name));
    const talks = traced.map((server) => new AgentTalk(context, server, "trace"));
    let [shown, ambiguous, isOver, hasDrops] = [0, 0, false, false];
    const end = (): void => {
      isOver = true;
      for (const talk of talks) talk.end();
    };
    const clocks = new Clocks();
    /** Each server's wall clock less its monotonic one. */
    const walls = new Map<string, bigint>();
    // A file that cannot be written is known before anything begins.
    for (const file of [flags.otlp, flags.svg, flags.pcapng]) if (file !== undefined) writeFileSync(String(file), "");
    const explained = (journey: Journey, hops: readonly Hop[]): Explanation => {
      if (journey.kin === undefined) return explain(declaration, journey, hops);
      const way = wholeWay(journey);
      return explain(declaration, way, hopsOf(way, clocks));
    };
    const asText = (journey: Journey, hops: readonly Hop[]): void => {
      if (flags.hops === true) console.log(table(hopColumns, hopRows(hops)));
      else if (flags.explain !== true) for (const step of stepsOf(journey)) print(cellsOf(step));
      if (flags.explain === true) console.log(explanationText(explained(journey, hops)));
      const kin = kinText(journey);
      if (kin !== undefined) console.log(kin);
      if (journey.isAmbiguous) console.log("ambiguous: others were the same here at the same time");
      if (flags.hops === true || flags.explain !== true) console.log("");
    };
    const asJson = (journey: Journey, hops: readonly Hop[]): string => {
      const bare = hops.map(({ steps: _, ...hop }) => hop);
      const { kin: _, ...own } = journey;
      return JSON.stringify({ ...own, hops: bare, pieces: kinCounts(journey), explained: explained(journey, hops) });
    };
    const pictured: (readonly Hop[])[] = [];
    const capture = flags.pcapng === undefined ? undefined : new Capture();
    const show = (all: boolean): void => {
      const taken = journeys.take(Date.now(), all);
      // Of all that were seen, whatever is shown.
      for (const { from, to } of taken.flatMap(crossingsOf)) clocks.crossed(from.server, from.atNs, to.server, to.atNs);
      const others = taken.filter((journey) => !probes.isProbe(journey));
      for (const journey of pieces.take(concealed?.take(others, Date.now(), all) ?? others, Date.now(), all)) {
        if (isAside(journey)) continue;
        const hops = hopsOf(journey, clocks);
        if (!wanted(journey, hops) || (count !== undefined && shown >= count)) continue;
        if (shown === 0 && isTable) print(columns);
        shown++;
        if (journey.isAmbiguous) ambiguous++;
        hasDrops ||= stepsOf(journey).some(({ reason }) => reason !== undefined);
        // More than a picture holds is no picture.
        if (flags.svg !== undefined && pictured.length < mostPictured) pictured.push(hops);
        capture?.add(journey);
        if (flags.otlp !== undefined) appendFileSync(String(flags.otlp), `${otlpLine(journey, hops, walls)}\n`);
        if (flags.json === true) console.log(asJson(journey, hops));
        else asText(journey, hops);
        if (shown === count) end();
      }
    };
    /** Whether each server that has answered follows. */
    const answered = new Map<string, boolean>();
    const answer = (server: string, follows: boolean): void => {
      if (answered.has(server)) return;
      answered.set(server, follows);
      const following = talks.flatMap(({ server: { name } }) => (answered.get(name) === true ? [name] : []));
      if (answered.size === talks.length) console.error(`following on ${following.join(", ") || "no server"}`);
    };
    const isReady = (server: string, ready: TraceReady): void => {
      walls.set(server, BigInt(ready.wallNs));
      answer(server, true);
      if (ready.missing.length > 0) console.error(`${server}: this kernel has no tracepoint ${ready.missing.join(", ")}: done without`);
    };
    const follow = async (talk: AgentTalk): Promise<Ended> => {
      const server = talk.server.name;
      let counts: TraceCounts | undefined;
      try {
        talk.tell(JSON.stringify(tracePlan(declaration, talk.server, { ...asked, probe: probes.of(server) })));
        for (let line = await talk.hear(); line !== undefined; line = await talk.hear()) {
          const said = JSON.parse(line) as TraceLine;
          if (said.ready !== undefined) isReady(server, said.ready);
          if (said.leg !== undefined) {
            pieces.saw(said.leg, Date.now());
            journeys.add(server, said.leg, Date.now());
          }
          if (said.counts !== undefined) counts = said.counts;
        }
      } catch (error) {
        const { message } = error as Error;
        console.error(message.startsWith(`${server}:`) ? message : `${server}: ${message}`);
        answer(server, false);
        return { server, error: message };
      }
      return { server, ...(counts !== undefined && { counts }) };
    };
    const droppedBefore = readDrops(context);
    process.once("SIGINT", end).once("SIGTERM", end);
    // A reader that goes away ends it.
    process.stdout.on("error", end);
    const looking = setInterval(() => !isOver && show(false), 50);
    try {
      const ended = await Promise.all(talks.map(follow));
      clearInterval(looking);
      show(true);
      if (flags.svg !== undefined) {
        writeFileSync(String(flags.svg), journeysPicture(pictured));
        console.error(`${pictured.length} of ${shown} journeys: ${String(flags.svg)}`);
      }
      if (capture !== undefined) writeFileSync(String(flags.pcapng), capture.file);
      const failed = ended.filter(({ error }) => error !== undefined);
      console.error(summaryOf(shown, ambiguous, ended).join("\n"));
      // Whose rule or program it was, where that is one of ours.
      if (hasDrops) for (const line of dropsBetween(await droppedBefore, await readDrops(context))) console.error(`${line}, meanwhile`);
      return failed.length === ended.length ? 1 : failed.length > 0 ? 3 : 0;
    } finally {
      clearInterval(looking);
      for (const talk of talks) talk.stop();
    }
  },
};
