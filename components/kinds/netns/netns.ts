/** `kind: netns`: systems that are namespaces, routed by their server (report S1's baseline). No docker, no bridge, no filter. */
import { serversOf } from "../../config/declaration";
import type { NetnsNetwork } from "../../config/types.gen";
import { hostAddress, parsePrefix } from "../../net/cidr";
import { portName } from "../../net/names";
import { type Addresses, type Prefixes } from "../contexts";
import { type NetworkKind } from "../kind";
import { nothingShared } from "../parts";
import { portOf } from "../path";
import { filtersBesideIptables } from "../requirement";
import { netnsRules } from "./rules";

function prefixes(network: NetnsNetwork): Prefixes {
  const [ipv4, ipv6] = [parsePrefix(network.subnet ?? ""), parsePrefix(network.subnet6 ?? "")];
  return { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
}

/** Nobody has them: a namespace is told whose MAC they stand for. */
function gateways(network: NetnsNetwork): Addresses {
  const { ipv4, ipv6 } = prefixes(network);
  return { ...(ipv4 && { ipv4: hostAddress(ipv4, 1) }), ...(ipv6 && { ipv6: hostAddress(ipv6, 1) }) };
}

export const netnsKind: NetworkKind<NetnsNetwork> = {
  kind: "netns",
  rules: netnsRules,
  variant: () => "",
  overhead: () => [],
  servers: serversOf,
  // Its packets cross none; with the links' MTU it compares with what does.
  links: ({ testbed }) => testbed.links,
  prefixes,
  gateways,
  routesOnServer: true,
  requires: () => [
    { kernelOption: "CONFIG_NET_NS", why: "kind: netns" },
    { probe: filtersBesideIptables, why: "kind: netns" },
  ],
  secrets: [],
  sysctls: {},
  nve: () => [],
  shared: () => nothingShared,
  // Its packets meet nothing that could be measured.
  isOpen: true,
  guard: ({ server, members }) => ({
    guarded: [{ devices: members.filter((member) => member.server === server.name).map(portName), open: true }],
  }),
  reaches: () => true,
  path: (_, from, to) => (from.network === to.network ? [portOf(from.member), portOf(to.member)] : undefined),
  observations: () => [],
};
