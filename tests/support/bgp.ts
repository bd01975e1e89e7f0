/** BGP UPDATE messages out of a capture (RFC 4271, 4760, 7432): for checking what is on the wire, not what a daemon says of it. */

export interface MacIpRoute {
  /** Type, length and value as sent, in hex. */
  readonly routeDistinguisher: string;
  readonly segment: string;
  readonly ethernetTag: number;
  readonly mac: string;
  readonly ip: string;
  /** All 24 bits of the label field: VXLAN puts the VNID there (RFC 8365, 5.1.3). */
  readonly label: number;
}

export interface Update {
  readonly origin?: number;
  readonly asPath?: string;
  readonly localPreference?: number;
  readonly extendedCommunities: readonly string[];
  readonly reach?: { readonly afi: number; readonly safi: number; readonly nextHop: string; readonly macIp: readonly MacIpRoute[] };
  /** How many bytes of routes it takes back. */
  readonly unreachBytes: number;
}

const hex = (bytes: Buffer): string => bytes.toString("hex");
const dotted = (bytes: Buffer): string => [...bytes].join(".");

function readMacIp(value: Buffer): MacIpRoute {
  const ipBytes = value.readUInt8(29) / 8;
  return {
    routeDistinguisher: hex(value.subarray(0, 8)),
    segment: hex(value.subarray(8, 18)),
    ethernetTag: value.readUInt32BE(18),
    mac: hex(value.subarray(23, 29)).replace(/(..)(?=.)/g, "$1:"),
    ip: ipBytes === 4 ? dotted(value.subarray(30, 34)) : hex(value.subarray(30, 30 + ipBytes)),
    label: value.readUIntBE(30 + ipBytes, 3),
  };
}

function readReach(value: Buffer): NonNullable<Update["reach"]> {
  const nextHopBytes = value.readUInt8(3);
  const macIp: MacIpRoute[] = [];
  for (let at = 4 + nextHopBytes + 1; at < value.length; at += 2 + value.readUInt8(at + 1)) {
    if (value.readUInt8(at) === 2) macIp.push(readMacIp(value.subarray(at + 2, at + 2 + value.readUInt8(at + 1))));
  }
  return { afi: value.readUInt16BE(0), safi: value.readUInt8(2), nextHop: dotted(value.subarray(4, 4 + nextHopBytes)), macIp };
}

function readUpdate(body: Buffer): Update {
  const withdrawn = body.readUInt16BE(0);
  let at = 2 + withdrawn;
  const end = at + 2 + body.readUInt16BE(at);
  const attributes = new Map<number, Buffer>();
  for (at += 2; at < end;) {
    const extended = (body.readUInt8(at) & 0x10) !== 0;
    const length = extended ? body.readUInt16BE(at + 2) : body.readUInt8(at + 2);
    const start = at + (extended ? 4 : 3);
    attributes.set(body.readUInt8(at + 1), body.subarray(start, start + length));
    at = start + length;
  }
  const communities = attributes.get(16) ?? Buffer.alloc(0);
  const reach = attributes.get(14);
  return {
    ...(attributes.has(1) && { origin: attributes.get(1)?.readUInt8(0) }),
    ...(attributes.has(2) && { asPath: hex(attributes.get(2) ?? Buffer.alloc(0)) }),
    ...(attributes.has(5) && { localPreference: attributes.get(5)?.readUInt32BE(0) }),
    extendedCommunities: Array.from({ length: communities.length / 8 }, (_, i) => hex(communities.subarray(i * 8, i * 8 + 8))),
    ...(reach && { reach: readReach(reach) }),
    unreachBytes: attributes.get(15)?.length ?? 0,
  };
}

/** The payload of TCP segments by their sender, in the order of capture (Ethernet, IPv4). */
function payloads(pcap: Buffer): Map<string, Buffer[]> {
  const little = pcap.readUInt32LE(0) === 0xa1b2c3d4;
  const found = new Map<string, Buffer[]>();
  for (let at = 24; at + 16 <= pcap.length;) {
    const length = little ? pcap.readUInt32LE(at + 8) : pcap.readUInt32BE(at + 8);
    const frame = pcap.subarray(at + 16, at + 16 + length);
    at += 16 + length;
    if (frame.length < 54 || frame.readUInt16BE(12) !== 0x0800 || frame.readUInt8(23) !== 6) continue;
    const ip = 14;
    const tcp = ip + (frame.readUInt8(ip) & 15) * 4;
    const data = frame.subarray(tcp + (frame.readUInt8(tcp + 12) >> 4) * 4, ip + frame.readUInt16BE(ip + 2));
    const key = `${dotted(frame.subarray(ip + 12, ip + 16))} ${dotted(frame.subarray(ip + 16, ip + 20))}`;
    if (data.length > 0) found.set(key, [...(found.get(key) ?? []), data]);
  }
  return found;
}

const marker = Buffer.alloc(16, 0xff);

/** Every UPDATE from one address to another. */
export function updatesBetween(pcap: Buffer, from: string, to: string): Update[] {
  const stream = Buffer.concat(payloads(pcap).get(`${from} ${to}`) ?? []);
  const updates: Update[] = [];
  for (let at = stream.indexOf(marker); at >= 0 && at + 19 <= stream.length;) {
    const length = stream.readUInt16BE(at + 16);
    if (stream.readUInt8(at + 18) === 2) updates.push(readUpdate(stream.subarray(at + 19, at + length)));
    at = stream.indexOf(marker, at + length);
  }
  return updates;
}
