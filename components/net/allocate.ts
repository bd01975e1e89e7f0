/** Addresses by name: the same name gets the same address, whatever else is declared, as long as it is free. Pure. */
import { type Address, hostAddress, hostOffsets, type Prefix } from "./cidr";
import { hash32 } from "./names";

/**
 * Large IPv6 prefixes are used at their start, so that addresses stay short. Their low 16 bits are neither 0 nor ffff:
 * ILA's neutral modes cannot tell the two apart.
 */
const spread = (1n << 16n) - 2n;

export function allocate(prefix: Prefix, taken: ReadonlySet<bigint>, name: string): Address | undefined {
  const { first, last } = hostOffsets(prefix);
  const count = last - first + 1n < spread ? last - first + 1n : spread;
  if (count <= 0n) return undefined;
  const start = BigInt(hash32(name)) % count;
  for (let i = 0n; i < count && i <= BigInt(taken.size); i++) {
    const address = hostAddress(prefix, first + ((start + i) % count));
    if (!taken.has(address.value)) return address;
  }
  return undefined;
}
