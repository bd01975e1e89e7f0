/** IP addresses and prefixes of both families, as integers. Pure. */

export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

export interface Prefix {
  readonly family: 4 | 6;
  /** The network address: host bits are 0. */
  readonly network: bigint;
  readonly length: number;
}

/** How declarations and plans call what is 4 and 6 here. */
export type Family = "ipv4" | "ipv6";
export const families: readonly Family[] = ["ipv4", "ipv6"];

export const widthBits = { 4: 32, 6: 128 } as const;

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

function parseIpv6(text: string): bigint | undefined {
  let source = text;
  const tail = /(?:^|:)(\d+\.\d+\.\d+\.\d+)$/.exec(text)?.[1];
  if (tail !== undefined) {
    const ipv4 = parseIpv4(tail);
    if (ipv4 === undefined) return undefined;
    source = `${text.slice(0, -tail.length)}${(ipv4 >> 16n).toString(16)}:${(ipv4 & 0xffffn).toString(16)}`;
  }
  const halves = source.split("::");
  if (halves.length > 2) return undefined;
  const groupsOf = (half: string): string[] => (half === "" ? [] : half.split(":"));
  const head = groupsOf(halves[0] ?? "");
  const rest = halves.length === 2 ? groupsOf(halves[1] ?? "") : [];
  const missing = 8 - head.length - rest.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array<string>(missing).fill("0"), ...rest]) {
    if (!/^[0-9a-fA-F]{1,4}$/.test(group)) return undefined;
    value = (value << 16n) | BigInt(`0x${group}`);
  }
  return value;
}

export function parseAddress(text: string): Address | undefined {
  const family = text.includes(":") ? 6 : 4;
  const value = family === 6 ? parseIpv6(text) : parseIpv4(text);
  return value === undefined ? undefined : { family, value };
}

/** RFC 5952: lower case, the longest run of two or more zero groups (the first of equals) shortened. */
function formatIpv6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(112 - 16 * i)) & 0xffffn));
  let start = -1;
  let longest = 1;
  for (let i = 0; i < 8; i++) {
    let run = 0;
    while (i + run < 8 && groups[i + run] === 0) run++;
    if (run > longest) [start, longest] = [i, run];
  }
  const hex = (part: number[]): string => part.map((g) => g.toString(16)).join(":");
  return start < 0 ? hex(groups) : `${hex(groups.slice(0, start))}::${hex(groups.slice(start + longest))}`;
}

export function formatAddress(address: Address): string {
  if (address.family === 6) return formatIpv6(address.value);
  return [24n, 16n, 8n, 0n].map((shift) => (address.value >> shift) & 0xffn).join(".");
}

function hostMask(family: 4 | 6, length: number): bigint {
  return (1n << BigInt(widthBits[family] - length)) - 1n;
}

/** "10.0.0.1/24" -> the address and the prefix it sits in. */
export function parseInterfaceAddress(text: string): { address: Address; prefix: Prefix } | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (address === undefined || !/^\d{1,3}$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  if (length > widthBits[address.family]) return undefined;
  const network = address.value & ~hostMask(address.family, length);
  return { address, prefix: { family: address.family, network, length } };
}

/** A prefix whose host bits are 0; "10.0.0.1/24" is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const parsed = parseInterfaceAddress(text);
  return parsed !== undefined && parsed.address.value === parsed.prefix.network ? parsed.prefix : undefined;
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress({ family: prefix.family, value: prefix.network })}/${prefix.length}`;
}

export const hostPrefix = ({ family, value }: Address): Prefix => ({ family, network: value, length: widthBits[family] });

export function contains(prefix: Prefix, address: Address): boolean {
  return prefix.family === address.family && (address.value & ~hostMask(prefix.family, prefix.length)) === prefix.network;
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  const [wide, narrow] = a.length <= b.length ? [a, b] : [b, a];
  return contains(wide, { family: narrow.family, value: narrow.network });
}

/** The address at `offset` from the start of the prefix: 1 is the first host. */
export function hostAddress(prefix: Prefix, offset: number | bigint): Address {
  return { family: prefix.family, value: prefix.network + BigInt(offset) };
}

/** Addresses that a host may have: without network and broadcast address in IPv4, without the anycast one in IPv6. */
export function hostOffsets(prefix: Prefix): { first: bigint; last: bigint } {
  const mask = hostMask(prefix.family, prefix.length);
  return prefix.family === 4 ? { first: 1n, last: mask - 1n } : { first: 1n, last: mask };
}

export function isHostOf(prefix: Prefix, address: Address): boolean {
  const { first, last } = hostOffsets(prefix);
  const offset = address.value - prefix.network;
  return contains(prefix, address) && offset >= first && offset <= last;
}

/** The one spelling by which two texts can be compared; the text itself where it is no address. */
export function canonicalAddress(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : formatAddress(address);
}

/** The same of an address with prefix length: as `ip` prints it. */
export function canonicalInterfaceAddress(text: string): string {
  const parsed = parseInterfaceAddress(text);
  return parsed === undefined ? text : `${formatAddress(parsed.address)}/${parsed.prefix.length}`;
}
