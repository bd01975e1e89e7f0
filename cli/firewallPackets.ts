/** Packets between systems as a firewall's rules see them: where they are judged, and by what. */
import { covers, firewallsOf, networksOf } from "../components/capabilities/firewall/covered";
import { type Declaration, serversOf } from "../components/config/declaration";
import { readFirewallRules } from "../components/config/load";
import type { Firewall } from "../components/config/types.gen";
import { canReadRules, readRules } from "../components/host/agentProgram";
import type { FirewallPacket, FirewallReading, FirewallRule } from "../components/host/contract/types.gen";
import type { Member } from "../components/kinds/contexts";
import { resolveMembers } from "../components/kinds/members";
import { kindOf } from "../components/kinds/registry";
import { type Family, formatAddress } from "../components/net/cidr";
import { allows } from "../components/net/policy/resolve";
import { networkContext } from "../components/plan/contexts";
import { plainPort, type PolicyProbe, probeEnds, spread } from "./policyProbes";

export interface Sent {
  readonly protocol: "tcp" | "udp" | "sctp" | "icmp";
  readonly port: number;
}

const numbers = { tcp: 6, udp: 17, sctp: 132, icmp: 1 } as const;

/** What a system sends another first, and whose firewall judges it; undefined where none does. */
export interface Judged {
  readonly firewall: Firewall;
  /** At its interface. */
  readonly at: "sender" | "receiver";
  readonly packet: FirewallPacket;
}

/** As the program at an interface asks (bpf/tap.bpf.c). */
export function judged(declaration: Declaration, from: Member, to: Member, family: Family, { protocol, port }: Sent): Judged | undefined {
  const [source, destination] = [from.addresses[family], to.addresses[family]];
  const all = firewallsOf(declaration);
  const ofTarget = all.find((one) => covers(one, to));
  const firewall = ofTarget ?? all.find((one) => covers(one, from));
  if (firewall === undefined || source === undefined || destination === undefined) return undefined;
  const isEcho = protocol === "icmp";
  const packet: FirewallPacket = {
    source: formatAddress(source),
    destination: formatAddress(destination),
    protocol: isEcho && family === "ipv6" ? 58 : numbers[protocol],
    sourcePort: isEcho ? 0 : 40000,
    destinationPort: isEcho ? (family === "ipv6" ? 128 : 8) : port,
    in: covers(firewall, from) ? from.network : "",
    out: covers(firewall, to) ? to.network : "",
    state: "NEW",
  };
  return { firewall, at: ofTarget === undefined ? "sender" : "receiver", packet };
}

/** A firewall's file, and what it says of packets. */
export function readFirewall(declaration: Declaration, firewall: Firewall, packets: readonly FirewallPacket[] = []): FirewallReading {
  const { text } = declaration.firewallRules[firewall.rules] ?? {};
  if (text === undefined) throw new Error(`${firewall.rules} is not there`);
  return readRules({ text, networks: networksOf(declaration, firewall).map(({ name }) => name), packets });
}

/**
 * Of pings from system to system, those that firewalls let pass, as far as that is known: by files that still are what is deployed. Where no
 * firewall judges, all do.
 */
export function letIn(declaration: Declaration, root: string, pings: readonly (Judged | undefined)[]): boolean[] {
  const files = readFirewallRules(root, declaration.testbed, []);
  const known = Object.entries(files).filter(([path, { hash }]) => hash === declaration.firewallRules[path]?.hash);
  const withTexts = { ...declaration, firewallRules: { ...declaration.firewallRules, ...Object.fromEntries(known) } };
  const passes = new Set<Judged | undefined>([undefined]);
  for (const firewall of firewallsOf(declaration)) {
    const own = pings.filter((ping) => ping !== undefined).filter((ping) => ping.firewall === firewall);
    if (own.length === 0 || withTexts.firewallRules[firewall.rules]?.text === undefined || !canReadRules()) continue;
    const packets = own.map(({ packet }) => packet);
    const { verdicts } = readFirewall(withTexts, firewall, packets);
    for (const [i, ping] of own.entries()) if (verdicts[i]?.accept === true) passes.add(ping);
  }
  return pings.map((ping) => passes.has(ping));
}

/** What rules tell apart: in each range of ports and beside it, and none of them. */
function askedOf(rules: readonly FirewallRule[], most: number): Sent[] {
  const ranges = rules.flatMap(({ text }) => {
    const protocol = /-p (tcp|udp|sctp)\b/.exec(text)?.[1] as Sent["protocol"] | undefined;
    const [, ports] = /--dports? ([0-9:,]+)/.exec(text) ?? [];
    if (protocol === undefined || ports === undefined) return [];
    return ports.split(",").map((range) => ({ protocol, ends: range.split(":").map(Number) }));
  });
  const near = spread(ranges, most).flatMap(({ protocol, ends: [first = 0, last = first] }): Sent[] => [
    { protocol, port: first },
    ...(last < 65535 ? [{ protocol, port: last + 1 }] : []),
    { protocol: protocol === "tcp" ? "udp" : "tcp", port: first },
  ]);
  const all: Sent[] = [...near, { protocol: "tcp", port: plainPort }, { protocol: "udp", port: plainPort }, { protocol: "icmp", port: 0 }];
  return [...new Map(all.map((one) => [`${one.protocol} ${one.port}`, one])).values()];
}

const mostSenders = 12;
const mostRanges = 12;

/** In both families, packets to and from the systems that firewalls look at, with what rules and policies let through. */
export function planFirewallProbes(declaration: Declaration): PolicyProbe[] {
  const rules = new Map(firewallsOf(declaration).map((firewall) => [firewall.tenant, readFirewall(declaration, firewall).rules]));
  const planned = declaration.testbed.networks.flatMap((network) => {
    const [server] = serversOf(declaration, network);
    if (server === undefined || !rules.has(network.tenant)) return [];
    const context = networkContext(declaration, network, server);
    const { resolved } = context.policies;
    const { members } = resolveMembers(declaration, network);
    const sent = askedOf(rules.get(network.tenant) ?? [], mostRanges);
    return members.flatMap((to) => {
      const others = members.filter((from) => from.system !== to.system && kindOf(network).reaches(context, from, to));
      return spread(others, mostSenders).flatMap((from) =>
        (["ipv4", "ipv6"] as const).flatMap((family) =>
          sent.flatMap((one) => {
            const found = judged(declaration, from, to, family, one);
            if (found === undefined) return [];
            const port = one.protocol === "icmp" ? undefined : { protocol: one.protocol, number: one.port };
            const isAllowed = resolved.selected.length === 0 || allows(resolved, from.system, to.system, port);
            return [{ network, from, to, one, found, isAllowed }];
          }),
        ),
      );
    });
  });
  const verdicts = new Map(
    firewallsOf(declaration).map((firewall) => {
      const own = planned.filter(({ found }) => found.firewall === firewall);
      const reading = readFirewall(
        declaration,
        firewall,
        own.map(({ found }) => found.packet),
      );
      return [firewall, new Map(own.map(({ found }, i) => [found, reading.verdicts[i]?.accept === true]))] as const;
    }),
  );
  return planned.map(({ network, from, to, one, found, isAllowed }) => ({
    ...probeEnds(network, from, to),
    source: found.packet.source,
    destination: found.packet.destination,
    protocol: one.protocol,
    port: one.port,
    expected: isAllowed && verdicts.get(found.firewall)?.get(found) === true,
  }));
}
