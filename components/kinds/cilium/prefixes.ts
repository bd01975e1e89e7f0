/** Which prefix a cilium network has where, and what of it is not for systems. Pure. */
import type { CiliumNetwork } from "../../config/types.gen";
import { type Address, hostAddress, hostOffsets, type Prefix, parsePrefix } from "../../net/cidr";
import type { Prefixes } from "../kind";

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
