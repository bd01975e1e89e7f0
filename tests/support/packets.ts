/** IPv6 packets out of a capture (pcap, Ethernet), with their checksums looked at anew. */
import { formatAddress } from "../../components/net/cidr";

export interface Packet {
  readonly source: string;
  readonly destination: string;
  /** Of a segment that was not cut by the capture. */
  readonly isWhole: boolean;
  /** Whether TCP's checksum is right for the addresses of this very packet. */
  readonly checksumFits: boolean;
}

const sumOf = (...parts: readonly Buffer[]): number => {
  let sum = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i += 2) {
      sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
      if (sum > 0xffff) sum = (sum & 0xffff) + 1;
    }
  return sum;
};

const addressAt = (packet: Buffer, offset: number): string =>
  formatAddress({ family: 6, value: BigInt(`0x${packet.subarray(offset, offset + 16).toString("hex")}`) });

/** TCP without extension headers; the file's numbers are in this machine's order, as tcpdump writes them here. */
export function readPackets(pcap: Buffer): Packet[] {
  const packets: Packet[] = [];
  for (let at = 24; at + 16 <= pcap.length;) {
    const [captured, length] = [pcap.readUInt32LE(at + 8), pcap.readUInt32LE(at + 12)];
    const frame = pcap.subarray(at + 16, at + 16 + captured);
    at += 16 + captured;
    if (frame.length < 74 || frame.readUInt16BE(12) !== 0x86dd || frame[20] !== 6) continue;
    const transport = frame.subarray(54);
    const pseudo = Buffer.alloc(8);
    pseudo.writeUInt32BE(transport.length, 0);
    pseudo[7] = 6;
    packets.push({
      source: addressAt(frame, 22),
      destination: addressAt(frame, 38),
      isWhole: captured === length && frame.readUInt16BE(18) === transport.length,
      checksumFits: sumOf(frame.subarray(22, 54), pseudo, transport) === 0xffff,
    });
  }
  return packets;
}
