/** Packets that policies must let pass and packets that they must not, from system to system on the running testbed. */
import type { Declaration } from "../components/config/declaration";
import { serversOf } from "../components/config/declaration";
import { contractVersion, type ProbePlan } from "../components/host/contract/types.gen";
import type { Network } from "../components/config/types.gen";
import type { Member } from "../components/kinds/contexts";
import { kindOf } from "../components/kinds/registry";
import { formatAddress } from "../components/net/cidr";
import { systemContainer } from "../components/net/names";
import { allows, type Protocol, type ResolvedPolicy } from "../components/net/policy/resolve";
import { networkContext } from "../components/plan/contexts";
import { AgentTalk } from "../deploy/agentTalk";
import { type Context } from "../deploy/context";
import { sleep } from "../support/process";

export interface PolicyProbe {
  readonly network: string;
  readonly kind: string;
  readonly from: string;
  readonly fromServer: string;
  readonly to: string;
  readonly toServer: string;
  readonly source: string;
  readonly destination: string;
  readonly protocol: Protocol | "icmp";
  /** Of tcp, udp and sctp. */
  readonly port: number;
  /** Whether the policies allow it. */
  readonly expected: boolean;
}

export interface PolicyProbeResult extends PolicyProbe {
  readonly arrived: boolean;
}

/** What is asked where a policy names no port: nothing listens there, and nothing needs to. */
export const plainPort = 7;

interface Asked {
  readonly protocol: Protocol | "icmp";
  readonly number: number;
}

/** Ports that the rules of a system tell apart: in each one, beside it, and in none. */
function askedOf({ rules }: ResolvedPolicy, to: string, portsPerSystem: number): Asked[] {
  const own = rules.flatMap((rule) => (rule.to.includes(to) && rule.ports !== undefined ? [rule.ports] : []));
  const near = spread(own, portsPerSystem).flatMap(({ protocol, first, last }): Asked[] => [
    { protocol, number: first },
    ...(last < 65535 ? [{ protocol, number: last + 1 } as const] : []),
    { protocol: protocol === "tcp" ? "udp" : "tcp", number: first },
  ]);
  const all: Asked[] = [
    ...near,
    { protocol: "tcp", number: plainPort },
    { protocol: "udp", number: plainPort },
    { protocol: "icmp", number: 0 },
  ];
  return [...new Map(all.map((one) => [`${one.protocol} ${one.number}`, one])).values()];
}

/** Some of many, spread over all. */
export const spread = <T>(all: readonly T[], most: number): T[] => {
  const step = Math.max(1, Math.ceil(all.length / most));
  return all.filter((_, i) => i % step === 0);
};

/** What a probe says of its ends. */
export const probeEnds = (
  network: Network,
  from: Member,
  to: Member,
): Pick<PolicyProbe, "network" | "kind" | "from" | "fromServer" | "to" | "toServer"> => ({
  network: network.name,
  kind: network.kind,
  from: from.system,
  fromServer: from.server,
  to: to.system,
  toServer: to.server,
});

/** In both families, every system of a network with policies from every other, or from some where they are many. */
export function planPolicyProbes(declaration: Declaration, limits = { sourcesPerSystem: 12, portsPerSystem: 12 }): PolicyProbe[] {
  return declaration.testbed.networks.flatMap((network): PolicyProbe[] => {
    const [server] = serversOf(declaration, network);
    if (server === undefined) return [];
    const context = networkContext(declaration, network, server);
    const { members, policies } = context;
    if (policies.resolved.selected.length === 0) return [];
    const of = (from: Member, to: Member): PolicyProbe[] => {
      if (from.system === to.system || !kindOf(network).reaches(context, from, to)) return [];
      return (["ipv4", "ipv6"] as const).flatMap((family) => {
        const [source, destination] = [from.addresses[family], to.addresses[family]];
        if (source === undefined || destination === undefined) return [];
        return askedOf(policies.resolved, to.system, limits.portsPerSystem).map(({ protocol, number }): PolicyProbe => {
          const port = protocol === "icmp" ? undefined : { protocol, number };
          return {
            ...probeEnds(network, from, to),
            source: formatAddress(source),
            destination: formatAddress(destination),
            protocol,
            port: number,
            expected: allows(policies.resolved, from.system, to.system, port),
          };
        });
      });
    };
    return members.flatMap((to) => {
      const others = members.filter((from) => from !== to);
      return spread(others, limits.sourcesPerSystem).flatMap((from) => of(from, to));
    });
  });
}

async function hears(talk: AgentTalk, word: string): Promise<void> {
  for (let line = await talk.hear(); line !== word; line = await talk.hear())
    if (line === undefined) throw new Error(`${talk.server.name}: the agent ended before it said "${word}"`);
}

/** The numbers of what arrived: the last line. */
async function arrivedAt(talk: AgentTalk): Promise<Set<number>> {
  talk.end();
  let last = "[]";
  for (let line = await talk.hear(); line !== undefined; line = await talk.hear()) last = line;
  return new Set(JSON.parse(last) as number[]);
}

/** What is still on its way when the last packet was sent. */
const lingerMilliseconds = 400;

export async function runPolicyProbes(context: Context, probes: readonly PolicyProbe[]): Promise<PolicyProbeResult[]> {
  if (probes.length === 0) return [];
  const involved = context.declaration.servers.filter(({ name }) => probes.some((p) => p.fromServer === name || p.toServer === name));
  const probers = involved.map((server) => new AgentTalk(context, server, "probe"));
  // Another base each time: what tracks connections must not take them for those of the last time.
  const base = 1 + (Date.now() % 1_000_000) * 1000;
  try {
    for (const prober of probers) {
      const { name } = prober.server;
      const receive = [...new Set(probes.filter((p) => p.toServer === name).map(({ to }) => systemContainer(to)))];
      const send = probes.flatMap(({ fromServer, from, source, destination, protocol, port }, i) =>
        fromServer === name ? [{ id: base + i, from: systemContainer(from), source, destination, protocol, port }] : [],
      );
      const plan: ProbePlan = { contract: contractVersion, receive, send, rounds: 0 };
      prober.tell(JSON.stringify(plan));
    }
    await Promise.all(probers.map((prober) => hears(prober, "ready")));
    for (const prober of probers) prober.tell("go");
    await Promise.all(probers.map((prober) => hears(prober, "sent")));
    await sleep(lingerMilliseconds);
    const arrived = new Map(await Promise.all(probers.map(async (prober) => [prober.server.name, await arrivedAt(prober)] as const)));
    return probes.map((probe, i) => ({ ...probe, arrived: arrived.get(probe.toServer)?.has(base + i) === true }));
  } finally {
    for (const prober of probers) prober.stop();
  }
}
