/**
 * The cells of the leak matrix: what every system sends, in every way, to every other system, gateway and server. Each frame
 * carries the number of its cell, so that all are sent at once and whoever gets one can say which. Pure.
 */
import {
  addressBytes,
  behindExtensions,
  dhcpOffer,
  ethernet,
  firstFragment6,
  ipv4,
  ipv6,
  neighbourAdvertisement,
  ping,
  ping6,
  routerAdvertisement,
  summed6,
  segment,
  tooLarge,
  udp,
  vxlan,
} from "../frames";
import type { TriedNetwork } from "./samples";

export interface Station {
  readonly name: string;
  readonly network: TriedNetwork;
  readonly server: string;
  /** A policy lets nobody in. */
  readonly isShut: boolean;
  readonly mac: string;
  readonly addresses: readonly string[];
  /** MACs of what may forward for it: its gateway, and the server's own devices of its network. */
  readonly nextHops: readonly string[];
}

export interface Host {
  readonly server: string;
  /** All addresses that it has, of whatever device. */
  readonly addresses: readonly string[];
  readonly underlay: readonly string[];
}

export interface Lab {
  readonly stations: readonly Station[];
  readonly hosts: readonly Host[];
  /** Each network's own gateways on a server: "NETWORK SERVER". */
  readonly gateways: ReadonlyMap<string, readonly string[]>;
  /** Addresses that a server has as a member of a network: "NETWORK SERVER". */
  readonly served: ReadonlyMap<string, readonly string[]>;
  /** Numbers that segments have in tunnels. */
  readonly vnis: readonly number[];
}

/** What a frame is for. A station that no cell is for may get it as little. */
export interface Cell {
  readonly from: Station;
  readonly place: "same server" | "other server" | "all servers";
  readonly target: string;
  readonly what: string;
  readonly way: string;
  readonly frames: readonly Buffer[];
  /** Who may have it, beside the sender's own network. */
  readonly mayReach: readonly string[];
  /** Who has it, or the matrix sees nothing. */
  readonly mustReach?: string;
}

const forgedMac = "02:66:66:66:66:66";
const everybody = "ff:ff:ff:ff:ff:ff";
/** In a byte of VXLAN's head that says nothing: what we forged, among what servers send one another. */
export const forgedTunnelByte = 0x66;
export const tunnelPorts = [4789, 4788, 8472] as const;

const isV6 = (text: string): boolean => text.includes(":");

/** Another address of the same network, whose nobody is. */
function neighbourOf(text: string): string {
  const bytes = [...addressBytes(text)];
  bytes[bytes.length - 1] = 0xfa;
  if (!isV6(text)) return bytes.join(".");
  return Array.from({ length: 8 }, (_, i) => (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16)).join(":");
}

/** By the number of its cell, a frame is known wherever it arrives. */
export const tagOf = (number: number): Buffer => Buffer.from(`ff!${number.toString(16).padStart(6, "0")}!`);

/** The same number, of a cell that is an error by itself. */
const errorOf = (tag: Buffer): Buffer => Buffer.from(tag.toString().replace("ff!", "fe!"));

type Way = readonly [name: string, frames: (tag: Buffer) => Buffer[]];

const datagram6 = (from: string, to: string, tag: Buffer): Buffer => summed6(from, to, 17, 6, udp(5555, 7777, tag));

/** In how many ways a packet from an address can look like one from elsewhere, or hide what it is. */
function waysTo({ mac }: Station, own: string, to: string, nextHop: string, peer: string | undefined): Way[] {
  const type = isV6(to) ? 0x86dd : 0x0800;
  const by =
    (packet: (tag: Buffer) => Buffer, tags: readonly number[] = [], from = mac) =>
    (tag: Buffer): Buffer[] => [ethernet(nextHop, from, type, packet(tag), tags)];
  const datagram = (source: string) => (tag: Buffer) =>
    isV6(to) ? ipv6(source, to, 17, datagram6(source, to, tag)) : ipv4(source, to, 17, udp(5555, 7777, tag));
  const both: Way[] = [
    ["plain", by(datagram(own))],
    ["source of the target's network", by(datagram(neighbourOf(to)))],
    ...(peer === undefined ? [] : [["source of another server", by(datagram(peer))] as Way]),
    ["forged MAC", by(datagram(own), [], forgedMac)],
    ["VLAN tag 0", by(datagram(own), [0])],
    ["VLAN tag 7", by(datagram(own), [7])],
    ["two VLAN tags", by(datagram(own), [0, 0])],
  ];
  if (isV6(to))
    return [
      ...both,
      ["ping", by((tag) => ipv6(own, to, 58, ping6(own, to, tag)))],
      ["extension headers", by((tag) => ipv6(own, to, 0, behindExtensions(17, datagram6(own, to, tag))))],
      ["fragment", by((tag) => ipv6(own, to, 44, firstFragment6(17, datagram6(own, to, Buffer.concat([tag, Buffer.alloc(6)])))))],
    ];
  return [
    ...both,
    ["ping", by((tag) => ipv4(own, to, 1, ping(tag)))],
    ["connection", by((tag) => ipv4(own, to, 6, segment("syn", 5555, 22, tag)))],
    // By ports of its own: none is an answer to what another cell has sent.
    ["segment of no connection", by((tag) => ipv4(own, to, 6, segment("ack", 6001, 6002, tag)))],
    ...(peer === undefined
      ? []
      : [
          ["another server's reset", by((tag) => ipv4(peer, to, 6, segment("rst", 179, 6003, tag)))] as Way,
          // Its own tag: others' errors quote what they could not deliver.
          ["error of a server's packet", by((tag) => ipv4(own, to, 1, tooLarge(ipv4(to, peer, 17, udp(4789, 6004, errorOf(tag))))))] as Way,
        ]),
    [
      "fragments",
      (tag) => {
        const whole = udp(5555, 7777, Buffer.concat([tag, Buffer.alloc(6), tag]));
        const part = (data: Buffer, offset: number): Buffer =>
          ethernet(nextHop, mac, type, ipv4(own, to, 17, data, { offset, more: offset === 0 }));
        return [part(whole.subarray(0, 24), 0), part(whole.subarray(24), 24)];
      },
    ],
  ];
}

/** Where nobody forwards, everybody is asked to. */
const hopsOf = ({ nextHops }: Station): readonly string[] => (nextHops.length > 0 ? nextHops : [everybody]);

const sharesNetwork = (a: Station, b: Station): boolean => a.network.network === b.network.network;
const isJoined = (a: Station, b: Station): boolean => {
  if (sharesNetwork(a, b)) return true;
  const words = ({ joined, joinedHere }: TriedNetwork): (string | undefined)[] => [joined, ...(a.server === b.server ? [joinedHere] : [])];
  return a.network.tenant === b.network.tenant && words(a.network).some((word) => word !== undefined && words(b.network).includes(word));
};

const isRelated = (way: string, { network }: Station): boolean => way === "error of a server's packet" && network.relatesErrors === true;
const forgedSources = ["source of the target's network", "source of another server", "another server's reset"];

/** Whether a packet of one gets to the other when nothing is wrong with it. */
const reaches = (a: Station, b: Station): boolean => isJoined(a, b) && (a.server === b.server || (a.network.spans && b.network.spans));

export function cellsOf(lab: Lab): Cell[] {
  const cells: Cell[] = [];
  const placeOf = (from: Station, server: string): Cell["place"] => (from.server === server ? "same server" : "other server");
  for (const from of lab.stations) {
    // Whom it has sent something may answer a system that a policy shuts: those send nothing.
    if (from.network.unpromised !== undefined || from.isShut) continue;
    const ownOf = (to: string): string | undefined => from.addresses.find((text) => isV6(text) === isV6(to));
    const peerOf = (to: string): string | undefined =>
      lab.hosts.find(({ server }) => server !== from.server)?.underlay.find((text) => isV6(text) === isV6(to));
    const own = lab.gateways.get(`${from.network.network} ${from.server}`) ?? [];

    for (const target of lab.stations) {
      if (target === from) continue;
      const relation = target.isShut
        ? "a system that a policy shuts"
        : sharesNetwork(from, target)
          ? "its own network"
          : target.network.tenant === from.network.tenant
            ? "its tenant's other network"
            : "another tenant";
      for (const to of target.addresses) {
        const source = ownOf(to);
        if (source === undefined) continue;
        const natural = [...from.nextHops.slice(0, 1), ...(sharesNetwork(from, target) ? [target.mac] : [])];
        for (const nextHop of new Set([...from.nextHops, target.mac])) {
          for (const [way, frames] of waysTo(from, source, to, nextHop, peerOf(to))) {
            cells.push({
              from,
              place: placeOf(from, target.server),
              target: `${target.name} ${to}`,
              what: relation,
              way,
              frames: frames(tagOf(cells.length)),
              // A source is that of its network.
              mayReach:
                isJoined(from, target) && (!target.isShut || isRelated(way, target)) && !forgedSources.includes(way) ? [target.name] : [],
              ...(way === "plain" &&
                !target.isShut &&
                reaches(from, target) &&
                natural.includes(nextHop) && { mustReach: `${from.name} > ${target.name} ${to}` }),
            });
          }
        }
      }
    }

    for (const { server, addresses, underlay } of lab.hosts) {
      for (const to of addresses) {
        const source = ownOf(to);
        if (source === undefined) continue;
        // A gateway's address may be another server's, too; it is asked of its own.
        const isOwnGateway = own.includes(to);
        const isMember = (lab.served.get(`${from.network.network} ${server}`) ?? []).includes(to);
        // Of the networks that it may reach.
        const isTheirs = lab.stations.some(
          (one) =>
            one.server === server && isJoined(from, one) && (lab.gateways.get(`${one.network.network} ${server}`) ?? []).includes(to),
        );
        for (const nextHop of hopsOf(from)) {
          for (const [way, frames] of waysTo(from, source, to, nextHop, peerOf(to))) {
            // A segment that opens no connection may be an answer to its server.
            const isAnswered = ((isOwnGateway || isTheirs) && way === "ping") || (isOwnGateway && way === "segment of no connection");
            cells.push({
              from,
              place: placeOf(from, server),
              target: `${server} ${to}`,
              what: isMember
                ? "the server as a member"
                : isOwnGateway
                  ? "its gateway"
                  : isTheirs
                    ? "a gateway that it reaches"
                    : underlay.includes(to)
                      ? "a server's underlay address"
                      : "an address of a server",
              way,
              frames: frames(tagOf(cells.length)),
              mayReach: isAnswered ? [from.server, server] : isMember ? [server] : [],
              ...(way === "ping" &&
                isOwnGateway &&
                server === from.server &&
                from.network.hasGateway === true &&
                nextHop === from.nextHops[0] && { mustReach: `${from.name} > ${to}` }),
            });
          }
        }
      }
      for (const to of underlay.filter((text) => !isV6(text))) {
        const source = ownOf(to) ?? neighbourOf(peerOf(to) ?? to);
        const victims = lab.stations.filter((one) => !sharesNetwork(one, from) && one.server === server);
        for (const port of tunnelPorts) {
          for (const vni of lab.vnis) {
            for (const [way, outer] of [
              ["inside VXLAN", source],
              ["inside VXLAN, from another server", peerOf(to) ?? source],
            ] as const) {
              const tag = tagOf(cells.length);
              const inner = victims.flatMap(({ mac, addresses: [first = ""] }) =>
                isV6(first) ? [] : [ethernet(mac, forgedMac, 0x0800, ipv4(neighbourOf(first), first, 17, udp(5555, 7777, tag)))],
              );
              const flood = ethernet(everybody, forgedMac, 0x0800, ipv4("10.66.0.1", "10.66.0.255", 17, udp(5555, 7777, tag)));
              cells.push({
                from,
                place: placeOf(from, server),
                target: `${server} ${to}:${port} VNI ${vni}`,
                what: "a tunnel's port",
                way,
                frames: hopsOf(from).flatMap((nextHop) =>
                  [flood, ...inner.slice(0, 2)].map((frame) =>
                    ethernet(nextHop, from.mac, 0x0800, ipv4(outer, to, 17, udp(5555, port, vxlan(vni, frame, forgedTunnelByte)))),
                  ),
                ),
                mayReach: [],
              });
            }
          }
        }
      }
    }

    const [v4, v6] = [ownOf("") ?? "10.66.0.1", ownOf("::") ?? "fe80::bad"];
    const option = (tag: Buffer): Buffer => Buffer.concat([Buffer.from([253, 2]), tag, Buffer.alloc(14 - tag.length)]);
    const announcements: Way[] = [
      ["router advertisement", (tag) => [routerAdvertisement(from.mac, "fe80::bad", "fd66:6666::", option(tag))]],
      ["neighbour advertisement", (tag) => [neighbourAdvertisement(forgedMac, v6, "fd66:6666::1", option(tag))]],
      ["DHCP offer", (tag) => [dhcpOffer(from.mac, v4, "10.66.0.66", tag)]],
    ];
    for (const [way, frames] of announcements) {
      cells.push({
        from,
        place: "all servers",
        target: "everybody",
        what: "all that hear it",
        way,
        frames: frames(tagOf(cells.length)),
        // By these a server knows where its neighbours are; what it believes is looked at beside.
        mayReach: way === "neighbour advertisement" ? lab.hosts.map(({ server }) => server) : [],
      });
    }
  }
  return cells;
}

/** What was seen of each cell, by whom. */
export type Seen = ReadonlyMap<number, ReadonlySet<string>>;

export interface Verdict {
  /** Cells that somebody got who must not. */
  readonly leaks: readonly { readonly cell: Cell; readonly by: readonly string[] }[];
  /** What must arrive and did not, by none of the ways that lead there. */
  readonly lost: readonly string[];
  /** Cells whose frames did not leave their sender. */
  readonly unsent: readonly Cell[];
}

export function judge(
  cells: readonly Cell[],
  stations: readonly Station[],
  seen: Seen,
  some: (cell: Cell) => boolean = () => true,
): Verdict {
  const byName = new Map(stations.map((one) => [one.name, one]));
  // Between systems of one network nothing is promised; a policy is, by what is meant for whom it shuts.
  const unpromised = (by: string, { from, target }: Cell): boolean => {
    const hearer = byName.get(by);
    return hearer?.network.network === from.network.network && !(hearer.isShut && target.startsWith(`${by} `));
  };
  const arrived = new Map<string, boolean>();
  const [leaks, unsent]: [Verdict["leaks"][number][], Cell[]] = [[], []];
  for (const [number, cell] of cells.entries()) {
    if (!some(cell)) continue;
    const all = seen.get(number) ?? new Set<string>();
    if (!all.has(`${cell.from.name} sent`)) unsent.push(cell);
    const by = [...all].filter((who) => !who.endsWith(" sent"));
    const wrong = by.filter((who) => who !== cell.from.name && !cell.mayReach.includes(who) && !unpromised(who, cell));
    if (wrong.length > 0) leaks.push({ cell, by: wrong });
    if (cell.mustReach !== undefined) {
      const target = cell.target.split(" ")[0] ?? "";
      arrived.set(cell.mustReach, (arrived.get(cell.mustReach) ?? false) || by.includes(target));
    }
  }
  return { leaks, unsent, lost: [...arrived].filter(([, did]) => !did).map(([what]) => what) };
}
