/** Frames as a hostile system would send them, byte by byte; and the words that send them from a system's own raw socket. Pure. */
import { parseAddress } from "../../components/net/cidr";

const bytes = (...parts: readonly (Buffer | readonly number[])[]): Buffer => Buffer.concat(parts.map((part) => Buffer.from(part)));
const u16 = (value: number): number[] => [(value >> 8) & 255, value & 255];

export const macBytes = (mac: string): Buffer => Buffer.from(mac.replaceAll(":", ""), "hex");

export function addressBytes(text: string): Buffer {
  const { family, value } = parseAddress(text) ?? { family: 4, value: 0n };
  return Buffer.from(value.toString(16).padStart(family === 4 ? 8 : 32, "0"), "hex");
}

function checksum(data: Buffer): number[] {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += (data[i] ?? 0) * 256 + (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return u16(~sum & 0xffff);
}

/** `tags`: 802.1Q, each with its VLAN id. */
export const ethernet = (to: string, from: string, type: number, payload: Buffer, tags: readonly number[] = []): Buffer =>
  bytes(macBytes(to), macBytes(from), ...tags.map((id) => [0x81, 0x00, ...u16(id)]), u16(type), payload);

/** `fragment`: the offset in bytes, and whether more follow. */
export function ipv4(
  from: string,
  to: string,
  protocol: number,
  payload: Buffer,
  fragment: { readonly offset: number; readonly more: boolean } = { offset: 0, more: false },
): Buffer {
  const flags = u16((fragment.more ? 0x2000 : 0) | (fragment.offset / 8));
  const head = bytes([0x45, 0, ...u16(20 + payload.length), 0, 1, ...flags, 64, protocol, 0, 0], addressBytes(from), addressBytes(to));
  return bytes(head.subarray(0, 10), checksum(head), head.subarray(12), payload);
}

/** `protocol`: of what follows, which may be an extension header. */
export const ipv6 = (from: string, to: string, protocol: number, payload: Buffer, hopLimit = 64): Buffer =>
  bytes([0x60, 0, 0, 0, ...u16(payload.length), protocol, hopLimit], addressBytes(from), addressBytes(to), payload);

/** Options to every hop, then to the destination, all padding: what follows is two headers further. */
export const behindExtensions = (protocol: number, payload: Buffer): Buffer =>
  bytes([60, 0, 1, 4, 0, 0, 0, 0], [protocol, 0, 1, 4, 0, 0, 0, 0], payload);

/** The first fragment of many. */
export const firstFragment6 = (protocol: number, payload: Buffer): Buffer => bytes([protocol, 0, ...u16(1), 0, 0, 0, 7], payload);

/** What goes by IPv6 has a checksum over its addresses, at this place. */
export function summed6(from: string, to: string, protocol: number, at: number, data: Buffer): Buffer {
  const sum = checksum(bytes(addressBytes(from), addressBytes(to), [0, 0], u16(data.length), [0, 0, 0, protocol], data));
  return bytes(data.subarray(0, at), sum, data.subarray(at + 2));
}

/** By which our own pings are known. */
export const hostile = Buffer.from("hostile!");

export function ping(payload: Buffer = hostile): Buffer {
  const body = bytes([8, 0, 0, 0, 0x77, 0x77, 0, 1], payload);
  return bytes(body.subarray(0, 2), checksum(body), body.subarray(4));
}

export const ping6 = (from: string, to: string, payload: Buffer): Buffer =>
  summed6(from, to, 58, 2, bytes([128, 0, 0, 0, 0x77, 0x77, 0, 1], payload));

const flags = { syn: 0x02, rst: 0x04, ack: 0x10 } as const;

/** A segment of TCP, with data. */
export const segment = (flag: keyof typeof flags, from: number, to: number, payload: Buffer): Buffer =>
  bytes(u16(from), u16(to), [0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags[flag], 0xff, 0xff, 0, 0, 0, 0], payload);

/** That a packet was too large for the rest of its way, which it quotes. */
export function tooLarge(quoted: Buffer): Buffer {
  const body = bytes([3, 4, 0, 0, 0, 0, ...u16(552)], quoted);
  return bytes(body.subarray(0, 2), checksum(body.length % 2 === 0 ? body : bytes(body, [0])), body.subarray(4));
}

/** Without a checksum, as IPv4 allows. */
export const udp = (from: number, to: number, payload: Buffer): Buffer =>
  bytes(u16(from), u16(to), u16(8 + payload.length), [0, 0], payload);

/** The last byte of the head is nobody's. */
export const vxlan = (vni: number, frame: Buffer, last = 0): Buffer =>
  bytes([8, 0, 0, 0, (vni >> 16) & 255, (vni >> 8) & 255, vni & 255, last], frame);

export const arpRequest = (mac: string, from: string, asked: string): Buffer =>
  ethernet(
    "ff:ff:ff:ff:ff:ff",
    mac,
    0x0806,
    bytes([0, 1, 8, 0, 6, 4, 0, 1], macBytes(mac), addressBytes(from), [0, 0, 0, 0, 0, 0], addressBytes(asked)),
  );

/** A router that wants all packets, and tells a prefix to have addresses of. */
export function routerAdvertisement(mac: string, from: string, prefix: string, more: Buffer = Buffer.alloc(0)): Buffer {
  const option = bytes([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 0, 0, 0], addressBytes(prefix));
  const body = bytes([134, 0, 0, 0, 64, 0, ...u16(1800), 0, 0, 0, 0, 0, 0, 0, 0], option, [1, 1], macBytes(mac), more);
  return toAll6(mac, from, body);
}

/** ICMPv6 to all nodes of the link, which nobody has forwarded. */
const toAll6 = (mac: string, from: string, body: Buffer): Buffer =>
  ethernet("33:33:00:00:00:01", mac, 0x86dd, ipv6(from, "ff02::1", 58, summed6(from, "ff02::1", 58, 2, body), 255));

/** That an address is at this MAC now, whatever was known. */
export const neighbourAdvertisement = (mac: string, from: string, told: string, more: Buffer): Buffer =>
  toAll6(mac, from, bytes([136, 0, 0, 0, 0x20, 0, 0, 0], addressBytes(told), [2, 1], macBytes(mac), more));

/** A DHCP server's offer to whoever asked. */
export function dhcpOffer(mac: string, from: string, offered: string, more: Buffer): Buffer {
  const head = bytes(
    [2, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0],
    addressBytes(offered),
    addressBytes(from),
    Buffer.alloc(4 + 16 + 64 + 128),
  );
  const body = bytes(head, [0x63, 0x82, 0x53, 0x63, 53, 1, 2, 54, 4], addressBytes(from), [12, more.length], more, [255]);
  return ethernet("ff:ff:ff:ff:ff:ff", mac, 0x0800, ipv4(from, "255.255.255.255", 17, udp(67, 68, body)));
}

/** Sends each frame three times by the interface; the tools image has perl. */
export const sendWords = (device: string, ...frames: readonly Buffer[]): string[] => [
  "perl",
  "-e",
  'my $d=shift; open(my $i,"/sys/class/net/$d/ifindex"); my $x=<$i>+0; socket(my $s,17,3,0) or die $!; for my $f (@ARGV) { for (1..3) { send($s,pack("H*",$f),0,pack("SnLSCCa8",17,0,$x,1,0,6,"")) or die $!; select(undef,undef,undef,0.05); } }',
  device,
  ...frames.map((frame) => frame.toString("hex")),
];
