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

export function ipv4(from: string, to: string, protocol: number, payload: Buffer): Buffer {
  const head = bytes([0x45, 0, ...u16(20 + payload.length), 0, 1, 0, 0, 64, protocol, 0, 0], addressBytes(from), addressBytes(to));
  return bytes(head.subarray(0, 10), checksum(head), head.subarray(12), payload);
}

/** By which our own pings are known. */
export const hostile = Buffer.from("hostile!");

export function ping(): Buffer {
  const body = bytes([8, 0, 0, 0, 0x77, 0x77, 0, 1], hostile);
  return bytes(body.subarray(0, 2), checksum(body), body.subarray(4));
}

/** Without a checksum, as IPv4 allows. */
export const udp = (from: number, to: number, payload: Buffer): Buffer =>
  bytes(u16(from), u16(to), u16(8 + payload.length), [0, 0], payload);

export const vxlan = (vni: number, frame: Buffer): Buffer => bytes([8, 0, 0, 0, (vni >> 16) & 255, (vni >> 8) & 255, vni & 255, 0], frame);

export const arpRequest = (mac: string, from: string, asked: string): Buffer =>
  ethernet(
    "ff:ff:ff:ff:ff:ff",
    mac,
    0x0806,
    bytes([0, 1, 8, 0, 6, 4, 0, 1], macBytes(mac), addressBytes(from), [0, 0, 0, 0, 0, 0], addressBytes(asked)),
  );

/** A router that wants all packets, and tells a prefix to have addresses of. */
export function routerAdvertisement(mac: string, from: string, prefix: string): Buffer {
  const option = bytes([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 0, 0, 0], addressBytes(prefix));
  const body = bytes([134, 0, 0, 0, 64, 0, ...u16(1800), 0, 0, 0, 0, 0, 0, 0, 0], option, [1, 1], macBytes(mac));
  const [source, all] = [addressBytes(from), addressBytes("ff02::1")];
  const sum = checksum(bytes(source, all, [0, 0], u16(body.length), [0, 0, 0, 58], body));
  const icmp = bytes(body.subarray(0, 2), sum, body.subarray(4));
  return ethernet("33:33:00:00:00:01", mac, 0x86dd, bytes([0x60, 0, 0, 0], u16(icmp.length), [58, 255], source, all, icmp));
}

/** Sends each frame three times by the interface; the tools image has perl. */
export const sendWords = (device: string, ...frames: readonly Buffer[]): string[] => [
  "perl",
  "-e",
  'my $d=shift; open(my $i,"/sys/class/net/$d/ifindex"); my $x=<$i>+0; socket(my $s,17,3,0) or die $!; for my $f (@ARGV) { for (1..3) { send($s,pack("H*",$f),0,pack("SnLSCCa8",17,0,$x,1,0,6,"")) or die $!; select(undef,undef,undef,0.05); } }',
  device,
  ...frames.map((frame) => frame.toString("hex")),
];
