/** Which prefix a cilium network has where, and what of it is not for systems. Pure. */
import type { Declaration } from "../../config/declaration";
import type { CiliumNetwork, Network } from "../../config/types.gen";
import { type Address, hostAddress, hostOffsets, overlaps, type Prefix, parsePrefix } from "../../net/cidr";
import type { Prefixes } from "../contexts";

export function prefixOf({ subnets }: CiliumNetwork, server: string): Prefix | undefined {
  const prefix = parsePrefix(subnets[server] ?? "");
  return prefix?.family === 4 ? prefix : undefined;
}

export const prefixes = (network: CiliumNetwork, server: string): Prefixes => {
  const ipv4 = prefixOf(network, server);
  return ipv4 === undefined ? {} : { ipv4 };
};

export const gatewayOf = (prefix: Prefix): Address => hostAddress(prefix, 1);
/** Docker's own idea of a gateway, which nobody has. */
export const nobodyOf = (prefix: Prefix): Address => hostAddress(prefix, hostOffsets(prefix).last);

const isCilium = (network: Network): network is CiliumNetwork => network.kind === "cilium";

export const ciliumNetworks = ({ testbed }: Declaration): CiliumNetwork[] => testbed.networks.filter(isCilium);

/** One Cilium a server has one range: the smallest prefix that holds the server's part of every network. */
export function rangeOf(networks: readonly CiliumNetwork[], server: string): Prefix | undefined {
  const own = networks.flatMap((network) => prefixOf(network, server) ?? []);
  const [first] = own;
  if (first === undefined) return undefined;
  for (let length = Math.min(...own.map((prefix) => prefix.length)); length > 0; length--) {
    const network = (first.network >> BigInt(32 - length)) << BigInt(32 - length);
    const range: Prefix = { family: 4, network, length };
    if (own.every((prefix) => overlaps(range, prefix))) return range;
  }
  return { family: 4, network: 0n, length: 0 };
}
