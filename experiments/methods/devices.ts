/** How long pings spend at each device of their way, as report S3 measured it: by the tracer, on unchanged packets. */
import { Clocks, isResolved } from "../../components/capabilities/tracer/clocks";
import { crossingsOf, type Hop, hopsOf } from "../../components/capabilities/tracer/hops";
import { Journeys } from "../../components/capabilities/tracer/journey";
import type { TraceLine } from "../../components/host/contract/types.gen";
import { sh } from "../../components/host/sh";
import { AgentTalk } from "../../deploy/agentTalk";
import { tracePlan } from "../../deploy/traceServers";
import type { End, Site } from "../site";
import type { LinkMethod, Measured } from "./method";

/** A batch of the report's. */
const pings = 100;
const intervalSeconds = 0.01;

/** The detail of a device: its place on the way, and its name. */
export const deviceDetail = (place: number, hop: Pick<Hop, "place" | "device">): string =>
  `${String(place + 1).padStart(2, "0")} ${hop.place} ${hop.device}`;

const wayOf = (hops: readonly Hop[]): string => hops.map(({ place, device }) => `${place} ${device}`).join(", ");

/** The legs of what servers saw meanwhile. */
async function traced(site: Site, servers: readonly string[], filter: string, during: () => Promise<unknown>): Promise<Journeys> {
  const journeys = new Journeys(servers);
  const talks = servers.map((name) => new AgentTalk(site, site.server(name), "trace"));
  try {
    await Promise.all(
      talks.map(async (talk) => {
        talk.tell(JSON.stringify(tracePlan(site.declaration, talk.server, { filter, points: "all" })));
        await talk.hear();
      }),
    );
    await during();
    await Promise.all(
      talks.map(async (talk) => {
        talk.end();
        for (let line = await talk.hear(); line !== undefined; line = await talk.hear()) {
          const { leg, counts } = JSON.parse(line) as TraceLine;
          if (leg !== undefined) journeys.add(talk.server.name, leg, 0);
          const lost = (counts?.lost ?? 0) + (counts?.untold ?? 0);
          if (lost > 0) throw new Error(`${talk.server.name}: the tracer lost ${lost} events`);
        }
      }),
    );
  } finally {
    for (const talk of talks) talk.stop();
  }
  return journeys;
}

export const devices: LinkMethod = {
  unit: "us",
  better: "less",
  between: "ends",
  measure: async (site: Site, from: End, to: End): Promise<Measured> => {
    const servers = [...new Set([from.server.name, to.server.name])];
    let raw = "";
    const isV6 = to.address.includes(":");
    const journeys = await traced(site, servers, isV6 ? "icmp6" : "icmp", async () => {
      raw = await site.exec(from, sh`ping -n -q -c ${pings} -i ${intervalSeconds} ${to.address}`, 30);
    });
    const all = journeys.take(0, true).filter(({ isAmbiguous }) => !isAmbiguous);
    const clocks = new Clocks();
    for (const { from: left, to: came } of all.flatMap(crossingsOf)) clocks.crossed(left.server, left.atNs, came.server, came.atNs);
    const request = isV6 ? 128 : 8;
    const ways = all
      .filter(({ legs }) => {
        const first = legs[0]?.leg.packets[0];
        return first !== undefined && first.sourcePort >> 8 === request && first.target === to.address;
      })
      .map((journey) => hopsOf(journey, clocks));
    // What most requests met: the first one has neighbours to find.
    const counts = new Map<string, number>();
    for (const hops of ways) counts.set(wayOf(hops), (counts.get(wayOf(hops)) ?? 0) + 1);
    const [usual = "", count = 0] = [...counts].sort(([, a], [, b]) => b - a)[0] ?? [];
    if (count < pings / 2) throw new Error(`of ${pings} pings ${count} met the same devices (${usual || "none was seen"})`);
    const kept = ways.filter((hops) => wayOf(hops) === usual);
    /** Of those that have a time there; undefined where none has. */
    const meanUs = (of: (hop: Hop) => number | undefined, i: number): number | undefined => {
      const times = kept.flatMap((hops) => of(hops[i] as Hop) ?? []);
      return times.length === 0 ? undefined : times.reduce((sum, ns) => sum + ns, 0) / times.length / 1000;
    };
    const details: Record<string, number> = {};
    for (const [i, hop] of (kept[0] ?? []).entries()) {
      const at = meanUs(({ ns }) => ns, i);
      if (at !== undefined) details[deviceDetail(i, hop)] = at;
      // Between servers: where the clocks' bound leaves a number.
      const between = meanUs(
        ({ crossing }) => (crossing?.time !== undefined && isResolved(crossing.time) ? crossing.time.ns : undefined),
        i,
      );
      if (hop.crossing !== undefined && between !== undefined)
        details[`${String(i + 1).padStart(2, "0")}~ to ${hop.crossing.to}`] = between;
    }
    return { value: Object.values(details).reduce((sum, one) => sum + one, 0), details, raw };
  },
};
