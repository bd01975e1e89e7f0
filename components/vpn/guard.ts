/**
 * What keeps a gateway closed: packets for what lies behind a tunnel, or from it, go and come by the tunnel or not at all.
 * kernel-libipsec alone fails open (no tunnel, no policy); so does the kernel's ESP before strongSwan runs. Pure.
 */
import { type Family, formatAddress, formatPrefix, type Prefix } from "../net/cidr";
import type { OwnConnection } from "./tunnels";

/** The table's name in a gateway's own network. */
export const guardTable = "flipflap_vpn";
/** The device of strongSwan's own ESP (kernel-libipsec). */
const tunnelDevice = "ipsec0";

const isIpv4 = (prefix: Prefix): boolean => prefix.family === 4;
const words: Readonly<Record<Family, string>> = { ipv4: "ip", ipv6: "ip6" };

function element(texts: Iterable<string>): string {
  return `{ ${[...new Set(texts)].sort().join(", ")} }`;
}

/** IKE, and ESP with or without UDP around it, between a gateway's own address and its peers'. */
function outerRules(connections: readonly OwnConnection[], own: "saddr" | "daddr", peer: "saddr" | "daddr"): string[] {
  return connections.flatMap((connection) => {
    const pair = `${words[connection.outer]} ${own} ${formatAddress(connection.own)} ${words[connection.outer]} ${peer} ${formatAddress(connection.peer.address)}`;
    return [`${pair} udp dport { 500, 4500 } accept`, `${pair} udp sport { 500, 4500 } accept`, `${pair} meta l4proto esp accept`];
  });
}

function chain(name: string, hook: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, `    type filter hook ${hook}; policy accept;`, ...rules.map((rule) => `    ${rule}`), "  }"];
}

export function guardText(connections: readonly OwnConnection[]): string {
  const remote = connections.flatMap(({ children }) => children.flatMap((child) => child.remote));
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
  return [
    `table inet ${guardTable} {`,
    ...chain("sent", "output priority filter", towards("reject with icmpx admin-prohibited")),
    ...chain("forwarded", "forward priority filter", towards("reject with icmpx admin-prohibited")),
    ...chain("received", "prerouting priority filter", [
      `iifname { "lo", "${tunnelDevice}" } accept`,
      "meta ipsec exists accept",
      ...outerRules(connections, "daddr", "saddr"),
      neighbours,
      ...closed.map(({ family, set }) => `${words[family]} saddr ${set} counter drop`),
    ]),
    "}",
    "",
  ].join("\n");
}
