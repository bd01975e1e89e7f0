/** How a swarm network's subnet is shared between its systems and docker. Pure. */
import { type Address, formatPrefix, hostAddress, type Prefix, parsePrefix } from "../../net/cidr";

/** Docker's quarter must hold an address for each server's own end. */
export const longestSubnetLength = 26;

/** The half from which systems get addresses that nobody declared. */
export const systemsHalf = (subnet: Prefix): Prefix => ({ ...subnet, length: subnet.length + 1 });

/** The last quarter: what the swarm gives to itself. */
export function ownQuarter(subnet: Prefix): Prefix {
  const quarter = 1n << BigInt(30 - subnet.length);
  return { family: 4, network: subnet.network + 3n * quarter, length: subnet.length + 2 };
}

export const gatewayOf = (subnet: Prefix): Address => hostAddress(subnet, 1);

export const ownRangeText = (subnet: string): string => {
  const prefix = parsePrefix(subnet);
  return prefix === undefined ? "" : formatPrefix(ownQuarter(prefix));
};
