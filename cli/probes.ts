/** Full-size packets from system to system: reachability and the MTU of the whole way, in one. */
import { capabilities } from "../components/capabilities/registry";
import { serversOf, type Declaration } from "../components/config/declaration";
import { sh } from "../components/host/sh";
import type { Member } from "../components/kinds/contexts";
import { kindOf } from "../components/kinds/registry";
import { formatAddress } from "../components/net/cidr";
import { systemContainer } from "../components/net/names";
import { allows } from "../components/net/policy/resolve";
import { networkContext } from "../components/plan/contexts";
import { type Context } from "../deploy/context";
import { runScript } from "../deploy/ssh";
import { judged, type Judged, letIn } from "./firewallPackets";

export interface Probe {
  readonly from: string;
  readonly server: string;
  readonly to: string;
  readonly network: string;
  readonly address: string;
  /** Where its own address decides on the way. */
  readonly source?: string;
  readonly mtuBytes: number;
}

export interface ProbeResult extends Probe {
  readonly reached: boolean;
  readonly error?: string;
}

/** IP and ICMP headers, of both families. */
const headerBytes = { ipv4: 28, ipv6: 48 } as const;

/** Each member to the next one by name, and one member to one of each other server: every system is a target once. */
function pairs(members: readonly Member[]): [Member, Member][] {
  const found = new Map<string, [Member, Member]>();
  const add = (from: Member, to: Member | undefined): void => {
    if (to !== undefined && from.system !== to.system) found.set(`${from.system} ${to.system}`, [from, to]);
  };
  for (const [i, from] of members.entries()) add(from, members[(i + 1) % members.length]);
  const first = new Map<string, Member>();
  for (const member of members) if (!first.has(member.server)) first.set(member.server, member);
  for (const from of first.values()) for (const to of first.values()) if (from.server !== to.server) add(from, to);
  return [...found.values()];
}

/** What fits a tunnel of any sort: the least that IPv6 asks of a way. */
const tunnelMtuBytes = 1280;

/** Both ways of what capabilities lead. */
function wayProbes(declaration: Declaration): Probe[] {
  return capabilities
    .flatMap((capability) => capability.ways?.(declaration) ?? [])
    .flatMap(({ name, family, ends: [one, other] }) =>
      [[one, other] as const, [other, one] as const].flatMap(([from, to]): Probe[] => {
        const [source, address] = [from.addresses[family], to.addresses[family]];
        if (source === undefined || address === undefined) return [];
        return [
          {
            from: from.system,
            server: from.server,
            to: to.system,
            network: name,
            address: formatAddress(address),
            source: formatAddress(source),
            mtuBytes: tunnelMtuBytes,
          },
        ];
      }),
    );
}

/** Whom a system with rules of its own lets in is its own affair, and no fault. The project's folder has the rules of firewalls. */
export function planProbes(declaration: Declaration, root: string): Probe[] {
  const filters = new Set(declaration.testbed.systems.flatMap(({ name, nftables }) => (nftables === undefined ? [] : [name])));
  const planned = networkProbes(declaration);
  // What firewalls forbid is probed by flipflap firewall test.
  const passes = letIn(
    declaration,
    root,
    planned.map(({ ping }) => ping),
  );
  const own = planned.flatMap(({ probe }, i) => (passes[i] === true ? [probe] : []));
  return [...own, ...wayProbes(declaration)].filter(({ from, to }) => !filters.has(from) && !filters.has(to));
}

interface PlannedProbe {
  readonly probe: Probe;
  /** Where a firewall judges it. */
  readonly ping: Judged | undefined;
}

function networkProbes(declaration: Declaration): PlannedProbe[] {
  const apart = new Set(capabilities.flatMap((capability) => [...(capability.apart?.(declaration) ?? [])]));
  return declaration.testbed.networks.flatMap((network) => {
    const [server] = serversOf(declaration, network);
    if (server === undefined) return [];
    const context = networkContext(declaration, network, server);
    const { members, mtuBytes, policies } = context;
    return pairs(members).flatMap(([from, to]) => {
      if (!kindOf(network).reaches(context, from, to)) return [];
      // What policies forbid is probed by flipflap policy test.
      if (!allows(policies.resolved, from.system, to.system)) return [];
      // They have a way of their own, and no other.
      if (apart.has(`${from.system} ${to.system}`)) return [];
      return (["ipv4", "ipv6"] as const).flatMap((family) => {
        const address = to.addresses[family];
        if (address === undefined || from.addresses[family] === undefined) return [];
        const ends = { from: from.system, server: from.server, to: to.system };
        return [
          {
            probe: { ...ends, network: network.name, address: formatAddress(address), mtuBytes },
            ping: judged(declaration, from, to, family, { protocol: "icmp", port: 0 }),
          },
        ];
      });
    });
  });
}

/** All probes of a server at once; the first packet may have to wait for neighbours to be found. */
function probeScript(probes: readonly Probe[]): string {
  const lines = probes.map((probe, i) => {
    const size = probe.mtuBytes - headerBytes[probe.address.includes(":") ? "ipv6" : "ipv4"];
    return sh`probe ${i} ${systemContainer(probe.from)} ${probe.address} ${size} ${probe.source === undefined ? "" : `-I${probe.source}`} &`
      .text;
  });
  const body = sh`
    probe() {
      into=/run/netns/$2
      if [ ! -e "$into" ]; then
        pid=$(docker inspect -f '{{.State.Pid}}' "$2" 2>/dev/null)
        if [ "\${pid:-0}" = 0 ]; then echo "$1 not running"; return; fi
        into=/proc/$pid/ns/net
      fi
      said=$(nsenter --net="$into" ping -n -q -c 2 -i 0.2 -W 1 -M do -s "$4" $5 "$3" 2>&1) && echo "$1 reached" || echo "$1 $(printf '%s' "$said" | grep -oE 'message too long.*|[0-9.]+% packet loss|Network is unreachable|.*not found' | head -n 1)"
    }
  `;
  return [body.text, ...lines, "wait", ""].join("\n");
}

export async function runProbes(context: Context, probes: readonly Probe[]): Promise<ProbeResult[]> {
  const perServer = context.declaration.servers.map(async (server) => {
    const own = probes.filter((probe) => probe.server === server.name);
    if (own.length === 0) return [];
    const finished = await runScript(context, server, probeScript(own));
    const answers = new Map(
      finished.stdout.split("\n").map((line) => {
        const [index = "", ...words] = line.split(" ");
        return [index, words.join(" ").trim()] as const;
      }),
    );
    return own.map((probe, i): ProbeResult => {
      const answer = answers.get(String(i));
      if (answer === "reached") return { ...probe, reached: true };
      return { ...probe, reached: false, error: answer || finished.stderr.trim() || "no answer" };
    });
  });
  return (await Promise.all(perServer)).flat();
}
