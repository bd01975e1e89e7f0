/** Which prefixes a bridge network has where. Pure. */
import type { Declaration } from "../../config/declaration";
import type { BridgeNetwork, Network } from "../../config/types.gen";
import { formatPrefix, hostAddress, type Prefix, parsePrefix } from "../../net/cidr";
import type { Addresses, Prefixes } from "../contexts";

export const modeOf = ({ mode }: BridgeNetwork): NonNullable<BridgeNetwork["mode"]> => mode ?? "routed";

export function bridgePrefixes(network: BridgeNetwork, server: string): Prefixes {
  const ipv4 = parsePrefix(network.subnets?.[server] ?? network.subnet ?? "");
  const ipv6 = parsePrefix(network.subnets6?.[server] ?? network.subnet6 ?? "");
  return { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
}

/** The gateway is the first host of the prefix; an l2 network has none. */
export function bridgeGateways(network: BridgeNetwork, server: string): Addresses {
  if (modeOf(network) === "l2") return {};
  const { ipv4, ipv6 } = bridgePrefixes(network, server);
  return { ...(ipv4 && { ipv4: hostAddress(ipv4, 1) }), ...(ipv6 && { ipv6: hostAddress(ipv6, 1) }) };
}

export interface RoutedPrefix {
  readonly network: BridgeNetwork;
  readonly server: string;
  readonly path: string;
  readonly prefix: Prefix;
}

/** Every prefix that a server's routing knows, with the path of its declaration. */
export function routedPrefixes(declaration: Declaration): RoutedPrefix[] {
  const networks = declaration.testbed.networks.filter((n: Network): n is BridgeNetwork => n.kind === "bridge" && modeOf(n) !== "l2");
  return networks.flatMap((network) =>
    declaration.servers.flatMap(({ name: server }) =>
      ([4, 6] as const).flatMap((family) => {
        const suffix = family === 4 ? "" : "6";
        const prefix = family === 4 ? bridgePrefixes(network, server).ipv4 : bridgePrefixes(network, server).ipv6;
        if (prefix === undefined) return [];
        const own = (family === 4 ? network.subnets : network.subnets6)?.[server] !== undefined;
        const path = `networks.${network.name}.${own ? `subnets${suffix}.${server}` : `subnet${suffix}`}`;
        return [{ network, server, path, prefix }];
      }),
    ),
  );
}

/** Texts of the prefixes of one family that satisfy a condition, each once. */
export function prefixTexts(routed: readonly RoutedPrefix[], family: 4 | 6, which: (r: RoutedPrefix) => boolean): string[] {
  return [...new Set(routed.filter((r) => r.prefix.family === family && which(r)).map((r) => formatPrefix(r.prefix)))].sort();
}
