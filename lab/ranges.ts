/** The address ranges of a lab: a slot of 198.18.0.0/15 (set aside for benchmarks, RFC 2544) and of one ULA prefix. Pure. */
import { createHash } from "node:crypto";
import { formatAddress, formatPrefix, hostAddress, overlaps, type Prefix, parsePrefix } from "../components/net/cidr";

export const slotCount = 128;

export interface LabRanges {
  readonly slot: number;
  /** The machine to the servers: ssh. */
  readonly management: Prefix;
  /** Server to server. */
  readonly underlayIpv4: Prefix;
  readonly underlayIpv6: Prefix;
  /** A /48 of which every server has a /64 (ILA). */
  readonly locators: Prefix;
}

function mustParse(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new Error(`${text} is no prefix`);
  return prefix;
}

export function rangesOfSlot(slot: number): LabRanges {
  const hex = slot.toString(16);
  return {
    slot,
    management: mustParse(`198.18.${slot}.0/24`),
    underlayIpv4: mustParse(`198.19.${slot}.0/24`),
    underlayIpv6: mustParse(`fdf1:f1a9:${hex}::/64`),
    locators: mustParse(`fdf1:f1aa:${hex}::/48`),
  };
}

/** The slots in the order in which a lab tries them: its own by name first. */
export function slotsOf(lab: string): number[] {
  const first = createHash("sha256").update(lab).digest().readUInt16BE(0) % slotCount;
  return Array.from({ length: slotCount }, (_, i) => (first + i) % slotCount);
}

export interface MachineRoute {
  readonly destination: string;
  readonly device: string;
}

export interface Overlap {
  readonly range: string;
  readonly route: MachineRoute;
}

export function findOverlaps(ranges: LabRanges, routes: readonly MachineRoute[]): Overlap[] {
  const own = [ranges.management, ranges.underlayIpv4, ranges.underlayIpv6, ranges.locators];
  const found: Overlap[] = [];
  for (const route of routes) {
    const text = route.destination.includes("/") ? route.destination : `${route.destination}/${route.destination.includes(":") ? 128 : 32}`;
    const prefix = parsePrefix(text);
    // A default route overlaps everything and says nothing.
    if (prefix === undefined || prefix.length === 0) continue;
    for (const range of own) {
      if (overlaps(range, prefix)) found.push({ range: formatPrefix(range), route });
    }
  }
  return found;
}

/** Management links are /30s: the machine has .1 and the server .2 of the server's own. */
export function managementAddresses(ranges: LabRanges, serverIndex: number): { machine: string; server: string } {
  const base = serverIndex * 4;
  return {
    machine: formatAddress(hostAddress(ranges.management, base + 1)),
    server: formatAddress(hostAddress(ranges.management, base + 2)),
  };
}

export function underlayAddresses(
  ranges: LabRanges,
  serverIndex: number,
): { ipv4: string; ipv6: string; locator: string; routeServer: string } {
  const of = (prefix: Prefix): string => `${formatAddress(hostAddress(prefix, serverIndex + 1))}/${prefix.length}`;
  // From the end of the range: as a hub, the server has a route server there.
  const routeServer = formatAddress(hostAddress(ranges.underlayIpv4, 254 - serverIndex));
  const locator: Prefix = {
    family: 6,
    network: ranges.locators.network | (BigInt(serverIndex + 1) << 64n),
    length: 64,
  };
  return { ipv4: of(ranges.underlayIpv4), ipv6: of(ranges.underlayIpv6), locator: formatPrefix(locator), routeServer };
}
