/**
 * What keeps a gateway closed: packets for what lies behind a tunnel, or from it, go and come by the tunnel or not at all.
 * kernel-libipsec alone fails open (no tunnel, no policy); so does the kernel's ESP before strongSwan runs. Pure.
 */
import { type Address, contains, type Family, formatAddress, formatPrefix, type Prefix, widthBits } from "../../net/cidr";
import type { OwnConnection } from "./tunnels";
import { tunnelPorts } from "./wire";

/** The table's name in a gateway's own network. */
export const guardTable = "flipflap_vpn";
/** The device of strongSwan's own ESP (kernel-libipsec). */
export const tunnelDevice = "ipsec0";

const isIpv4 = (prefix: Prefix): boolean => prefix.family === 4;
const words: Readonly<Record<Family, string>> = { ipv4: "ip", ipv6: "ip6" };

function element(texts: Iterable<string>): string {
  return `{ ${[...new Set(texts)].sort().join(", ")} }`;
}

/** Packets between a gateway's own address and a peer's. */
function between({ outer, own, peer }: OwnConnection, from: "saddr" | "daddr", to: "saddr" | "daddr"): string {
  return `${words[outer]} ${from} ${formatAddress(own)} ${words[outer]} ${to} ${formatAddress(peer.address)}`;
}

/** IKE, and ESP with or without UDP around it. */
function outerRules(connections: readonly OwnConnection[], from: "saddr" | "daddr", to: "saddr" | "daddr"): string[] {
  const ports = `{ ${tunnelPorts.join(", ")} }`;
  return connections.flatMap((connection) => {
    const pair = between(connection, from, to);
    return [`${pair} udp dport ${ports} accept`, `${pair} udp sport ${ports} accept`, `${pair} meta l4proto esp accept`];
  });
}

/** The rest of a packet in fragments has no ports; without its first one, which is judged by its own, it is put together to nothing. */
function laterFragments(connections: readonly OwnConnection[]): string[] {
  const offset: Readonly<Record<Family, string>> = { ipv4: "ip frag-off & 0x1fff != 0", ipv6: "frag frag-off != 0" };
  return connections.map((connection) => `${between(connection, "daddr", "saddr")} ${offset[connection.outer]} accept`);
}

function chain(name: string, hook: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, `    type filter hook ${hook}; policy accept;`, ...rules.map((rule) => `    ${rule}`), "  }"];
}

/**
 * What the other ends of its tunnels have, in every family: between two that a tunnel joins nothing goes in the clear, and
 * least of all the family that was left out of it.
 */
function behindPeers(connections: readonly OwnConnection[]): Prefix[] {
  return ofEnds(connections, "peer");
}

function ofEnds(connections: readonly OwnConnection[], side: "own" | "peer"): Prefix[] {
  return connections.flatMap(({ peer, children }) =>
    children.flatMap(({ carried }) =>
      carried.ends.flatMap(({ gateway, prefixes }) => ((gateway === peer.gateway) === (side === "peer") ? prefixes : [])),
    ),
  );
}

/**
 * What the main table leads nowhere to: strongSwan has a table of its own. The guard goes before a dying container's interfaces
 * do (Linux 6.18: 2,295 packets of a stream got out), and a route stays. What lies inside is among them: with its interface gone,
 * answers for it, and what they quote, would leave by the default route. Not where IKE itself goes, nor where strongSwan makes
 * no route because the gateway has no address of its own in the tunnel.
 */
export function prohibited(connections: readonly OwnConnection[], addresses: readonly Address[]): Prefix[] {
  const children = connections.flatMap((connection) => connection.children);
  const hasOwn = (prefixes: readonly Prefix[]): boolean => prefixes.some((prefix) => addresses.some((own) => contains(prefix, own)));
  const routeless = new Set(children.flatMap(({ local, remote }) => (hasOwn(local) ? [] : remote)).map(formatPrefix));
  const inside = ofEnds(connections, "own").filter(({ family, length }) => length < widthBits[family]);
  const all = new Map([...behindPeers(connections), ...inside].map((prefix) => [formatPrefix(prefix), prefix]));
  return [...all]
    .filter(([text, prefix]) => !routeless.has(text) && !connections.some(({ peer }) => contains(prefix, peer.address)))
    .map(([, prefix]) => prefix);
}

/** Put after whatever else a gateway is told: the guard is this one, whatever that makes of its table. */
export function guardText(connections: readonly OwnConnection[]): string {
  const remote = behindPeers(connections);
  const closed = (["ipv4", "ipv6"] as const).flatMap((family): { family: Family; set: string }[] => {
    const own = remote.filter((prefix) => isIpv4(prefix) === (family === "ipv4"));
    return own.length === 0 ? [] : [{ family, set: element(own.map(formatPrefix)) }];
  });
  const neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";
  const towards = (verdict: string): string[] => [
    `oifname { "lo", "${tunnelDevice}" } accept`,
    "rt ipsec exists accept",
    ...outerRules(connections, "saddr", "daddr"),
    neighbours,
    ...closed.map(({ family, set }) => `${words[family]} daddr ${set} counter ${verdict}`),
  ];
  const refused = "reject with icmpx admin-prohibited";
  return [
    `table inet ${guardTable}`,
    `delete table inet ${guardTable}`,
    `table inet ${guardTable} {`,
    ...chain("sent", "output priority filter", towards(refused)),
    ...chain("forwarded", "forward priority filter", towards(refused)),
    // A packet with another source, of a rule that masquerades, is no tunnel's any more (the kernel's ESP looks again).
    ...chain("leaving", "postrouting priority srcnat + 50", towards("drop")),
    ...chain("received", "prerouting priority filter", [
      `iifname { "lo", "${tunnelDevice}" } accept`,
      "meta ipsec exists accept",
      ...outerRules(connections, "daddr", "saddr"),
      ...laterFragments(connections),
      neighbours,
      ...closed.map(({ family, set }) => `${words[family]} saddr ${set} counter drop`),
    ]),
    "}",
    "",
  ].join("\n");
}
