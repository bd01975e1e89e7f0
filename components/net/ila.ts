/**
 * The addresses of ILA (draft-herbert-intarea-ila), 64 bits and 64 bits: a SIR prefix (what systems see) or a locator
 * (where they are), then the identifier: type (3 bits), C bit, VNID (28 bits), the system's number (32 bits). Pure.
 */
import type { Address, Prefix } from "./cidr";

const half = 64n;
const halfMask = (1n << half) - 1n;

/** Locally unique: the one type that the kernel's ILA translates. */
export const luid = 1;
export const vnidMost = 0x0fff_ffff;
const numberMost = 0xffff_ffffn;

export interface Identifier {
  /** 3 bits. */
  readonly type: number;
  /** The low 16 bits make up for the locator: only between servers. */
  readonly checksumNeutral: boolean;
  /** 28 bits. */
  readonly vnid: number;
  /** 32 bits: which system of the network. */
  readonly number: bigint;
}

export const isHalf = (prefix: Prefix): boolean => prefix.family === 6 && prefix.length === 64;

export function identifierValue({ type, checksumNeutral, vnid, number }: Identifier): bigint {
  if (type < 0 || type > 7) throw new RangeError(`identifier type ${type} is not of 3 bits`);
  if (!Number.isInteger(vnid) || vnid < 0 || vnid > vnidMost) throw new RangeError(`VNID ${vnid} is not of 28 bits`);
  if (number < 0n || number > numberMost) throw new RangeError(`number ${number} is not of 32 bits`);
  return (BigInt(type) << 61n) | ((checksumNeutral ? 1n : 0n) << 60n) | (BigInt(vnid) << 32n) | number;
}

export function identifierOf(address: Address): Identifier {
  const value = address.value & halfMask;
  return {
    type: Number(value >> 61n),
    checksumNeutral: ((value >> 60n) & 1n) === 1n,
    vnid: Number((value >> 32n) & BigInt(vnidMost)),
    number: value & numberMost,
  };
}

/** SIR prefix or locator with an identifier. */
export function joined(prefix: Prefix, identifier: Identifier): Address {
  if (!isHalf(prefix)) throw new RangeError("SIR prefixes and locators are of 64 bits");
  return { family: 6, value: prefix.network | identifierValue(identifier) };
}

/** All addresses of a network: its SIR prefix, type LUID, its VNID. */
export function networkPrefix(sir: Prefix, vnid: number): Prefix {
  return { family: 6, network: joined(sir, { type: luid, checksumNeutral: false, vnid, number: 0n }).value, length: 96 };
}

/** The same system's address at another prefix: its locator address, by the server's locator. */
export function atPrefix(prefix: Prefix, address: Address): Address {
  return joined(prefix, identifierOf(address));
}

/**
 * In the neutral modes the low 16 bits come back from the wire by a one's complement sum, where 0 and ffff are the same
 * number: no identifier may end so.
 */
export function survivesNeutral(address: Address): boolean {
  const low = address.value & 0xffffn;
  return low !== 0n && low !== 0xffffn;
}
