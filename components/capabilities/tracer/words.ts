/** What packets are called, and where they were. Pure. */
import type { TracePacket, TraceStep } from "../../host/contract/types.gen";

const etherTypes: Readonly<Record<number, string>> = { 2048: "IPv4", 2054: "ARP", 34525: "IPv6" };
const protocols: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 50: "ESP", 58: "ICMPv6" };
const icmp: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  1: { 0: "reply", 3: "unreachable", 5: "redirect", 8: "request", 11: "time exceeded" },
  58: {
    1: "unreachable",
    2: "too big",
    3: "time exceeded",
    128: "request",
    129: "reply",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbour solicitation",
    136: "neighbour advertisement",
    143: "multicast report",
  },
};
const tcpFlags = ["fin", "syn", "rst", "push", "ack", "urg"] as const;

/** "request", "reply", "tcp syn ack": what a packet is, without the tunnel that it may be in. */
export function kindOfPacket(packet: TracePacket): string {
  const { type, protocol, sourcePort, sequence } = packet;
  if (packet.flags?.includes("later fragment") === true) return "fragment";
  if (type === 2054) return sequence === 1 ? "arp request" : "arp reply";
  const messages = icmp[protocol];
  if (messages !== undefined) return messages[sourcePort >> 8] ?? `icmp ${sourcePort >> 8}`;
  if (packet.tunnel?.kind === "esp") return "esp";
  if (protocol === 6) {
    const flags = tcpFlags.filter((_, bit) => (packet.tcpFlags & (1 << bit)) !== 0).filter((flag) => flag !== "push");
    // Not cut into segments yet, or merged of them.
    return `tcp ${flags.join(" ")}${packet.flags?.includes("super") === true ? " super" : ""}`;
  }
  return protocols[protocol]?.toLowerCase() ?? etherTypes[type] ?? `type 0x${type.toString(16)}`;
}

/** As report S3 has it: what is inside a tunnel is one more word. */
export const typeOf = (packet: TracePacket): string =>
  packet.tunnel === undefined ? kindOfPacket(packet) : `tunnel (${kindOfPacket(packet)})`;

const hasPorts = ({ protocol, flags }: TracePacket): boolean =>
  (protocol === 6 || protocol === 17) && flags?.includes("later fragment") !== true;

function ends(packet: TracePacket): string {
  const end = (address: string, port: number): string =>
    !hasPorts(packet) ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
  return `${end(packet.source, packet.sourcePort)} -> ${end(packet.target, packet.targetPort)}`;
}

/** "198.18.0.1 -> 198.18.0.2 (10.0.0.1 -> 10.0.0.2)" in a tunnel. */
export function addressesOf(packet: TracePacket): string {
  const { tunnel } = packet;
  if (tunnel === undefined) return packet.source === "" ? "" : ends(packet);
  const outside = `${tunnel.source} -> ${tunnel.target}`;
  return tunnel.kind === "esp" ? `${outside} spi 0x${tunnel.number.toString(16)}` : `${outside} vni ${tunnel.number} (${ends(packet)})`;
}

/** The namespace's name: a server's own is the server's. */
export const placeOf = ({ server, namespace }: Pick<TraceStep, "namespace"> & { readonly server: string }): string =>
  namespace === "" ? server : namespace;

/** What the kernel's reasons come to (6.18), those that a testbed meets. */
const reasons: Readonly<Record<string, string>> = {
  IP_INHDR: "its hop limit ended, or its header is wrong",
  IP_INNOROUTES: "no route leads there",
  IP_OUTNOROUTES: "no route leads there",
  IP_RPFILTER: "its source is not behind the device that it came by (rp_filter)",
  NEIGH_FAILED: "the next hop does not answer ARP or neighbour discovery",
  NETFILTER_DROP: "a rule of iptables or nft",
  NO_SOCKET: "nobody listens",
  NO_TX_TARGET: "the bridge has no port to send it to",
  OTHERHOST: "it has another one's MAC",
  PKT_TOO_BIG: "longer than the MTU ahead, and not to be cut",
  QDISC_DROP: "the device's queue is full, or the device is down",
  TC_INGRESS: "an eBPF program where it came in",
  TC_EGRESS: "an eBPF program where it was to go out",
  UDP_CSUM: "its checksum is wrong",
  TCP_CSUM: "its checksum is wrong",
  ICMP_CSUM: "its checksum is wrong",
  VXLAN_VNI_NOT_FOUND: "this server has no tunnel with that VN",
};

/** The kernel's word, and what it comes to. */
export const reasonText = (reason: string): string => (reasons[reason] === undefined ? reason : `${reason}, ${reasons[reason]}`);
