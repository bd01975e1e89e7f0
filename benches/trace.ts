/** What the tracer costs what it traces: off, armed and matching nothing, and all packets by one server's agent and by both. */
import { type TraceCounts, type TraceLine, type TracePlan } from "../components/host/contract/types.gen";
import { AgentTalk } from "../deploy/agentTalk";
import { tracePlan } from "../deploy/traceServers";
import { throughput, udpPackets } from "../experiments/methods/iperf";
import { requestResponse } from "../experiments/methods/netperf";
import { resultsTable, runBench } from "../experiments/runner/runner";
import type { End, Site } from "../experiments/site";
import type { BenchOptions } from "./bench";
import { conditionsOf, withTestbed } from "./site";

const testbed = `
tenants: [{ name: red }]
networks: [{ name: net, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.81.1.0/24, flap: 10.81.2.0/24 } }]
systems:
  - { name: flip-a, tenant: red, server: flip, networks: [{ name: net }] }
  - { name: flap-a, tenant: red, server: flap, networks: [{ name: net }] }
links: [{ between: [flip, flap], mtuBytes: 9000 }]
`;

/** Tracers of servers whose lines are heard and thrown away. */
class Tracers {
  private talks: { readonly talk: AgentTalk; readonly ended: Promise<TraceCounts | undefined> }[] = [];
  /** Of all that ran so far. */
  lost = 0;
  untold = 0;
  matched = 0;
  cpuMs = 0;
  seconds = 0;

  constructor(private readonly site: Site) {}

  async start(servers: readonly string[], filter: string, points: TracePlan["points"]): Promise<void> {
    await Promise.all(
      servers.map(async (name) => {
        const talk = new AgentTalk(this.site, this.site.server(name), "trace");
        talk.tell(JSON.stringify(tracePlan(this.site.declaration, this.site.server(name), { filter, points })));
        const first = await talk.hear();
        if (first?.startsWith('{"ready"') !== true) throw new Error(`${name}: the tracer said ${first}`);
        this.talks.push({ talk, ended: countsOf(talk) });
      }),
    );
  }

  async stop(): Promise<void> {
    for (const { talk } of this.talks) talk.end();
    for (const { ended } of this.talks) {
      const counts = await ended;
      this.lost += counts?.lost ?? 0;
      this.untold += counts?.untold ?? 0;
      this.matched += counts?.matched ?? 0;
      this.cpuMs += counts?.cpuMs ?? 0;
      this.seconds += counts?.seconds ?? 0;
    }
    this.talks = [];
  }
}

async function countsOf(talk: AgentTalk): Promise<TraceCounts | undefined> {
  let last = "{}";
  for (let line = await talk.hear(); line !== undefined; line = await talk.hear()) last = line;
  return (JSON.parse(last) as TraceLine).counts;
}

export async function benchTrace(options: BenchOptions): Promise<void> {
  await withTestbed(
    "trace",
    (project) => project.write("testbeds/trace.yaml", testbed),
    async (site) => {
      const conditions = await conditionsOf(site);
      const [from, to]: [End, End] = [site.system("flip-a"), site.system("flap-a")];
      const ways = [
        ["armed at devices, nothing matches, one server", ["flip"], "tcp port 1", "devices"],
        ["armed at devices, nothing matches", ["flip", "flap"], "tcp port 1", "devices"],
        ["armed at all points, nothing matches", ["flip", "flap"], "tcp port 1", "all"],
        ["all packets at devices, one server's agent", ["flip"], "", "devices"],
        ["all packets at devices, both servers' agents", ["flip", "flap"], "", "devices"],
      ] as const;
      for (const [what, method, cores, unit] of [
        ["TCP_RR on one core", requestResponse, "one", "transactions/s"],
        ["one TCP stream", throughput, "free", "Gb/s"],
        ["64-byte UDP", udpPackets, "free", "packets/s"],
      ] as const) {
        const tracers = new Map(ways.map(([name]) => [name, new Tracers(site)]));
        const measure = (traced?: (typeof ways)[number]) => async () => {
          const own = traced === undefined ? undefined : tracers.get(traced[0]);
          if (traced !== undefined) await own?.start(traced[1], traced[2], traced[3]);
          try {
            const measured = await method.measure(site, from, to, {
              streams: 1,
              direction: "forward",
              cores,
              seconds: options.seconds,
              experiment: {},
            });
            return {
              value: what.startsWith("TCP_RR") ? (measured.details.transactionsPerSecond ?? Number.NaN) : measured.value,
              raw: measured.details,
            };
          } finally {
            await own?.stop();
          }
        };
        const bench = {
          ...options,
          name: `the tracer: ${what}`,
          unit,
          baseline: { name: "not traced", measure: measure() },
          variants: ways.map((way) => ({ name: way[0], measure: measure(way) })),
          warmUp: true,
          conditions,
        };
        console.log(`\n${resultsTable(bench, await runBench(bench))}`);
        for (const [name, { lost, untold, matched, cpuMs, seconds }] of tracers)
          console.log(
            `  ${name}: ${matched} events, ${lost} lost, ${untold} legs too many to tell; ${((cpuMs / Math.max(1, seconds) / 1000) * 100).toFixed(0)}% of a core a server for the agent`,
          );
      }
    },
  );
}
