/** What a server lets its tenants' devices do, as tables of nft. Pure. */
import { deviceGroup } from "../../net/names";

/** A device of the server's by which systems' packets come to it. What is not said to be open is closed; so is a device of ours that is not said at all. */
export interface GuardedDevice {
  /** Its name, or the beginning of the names of several and a star. */
  readonly device: string;
  /** Addresses of the server that systems ask for and ping there: their gateways. */
  readonly gateways?: readonly string[];
  /** Addresses that the server has there as a member of the network: all of it is reached at them. */
  readonly own?: readonly string[];
  /** The devices by which the server forwards what comes in here. */
  readonly forwards?: readonly string[];
  /** Prefixes that it forwards to by any other device. */
  readonly reaches?: readonly string[];
  /** By any other device, too, but to none of the testbed's servers and networks. */
  readonly outside?: true;
  /** Nothing is looked at. */
  readonly open?: true;
}

export interface GuardSpec {
  readonly devices: readonly GuardedDevice[];
  /** Ports of systems whose frames a filter looks into, which sees no further than a VLAN tag. */
  readonly untagged: readonly string[];
  /** UDP ports by which tunnels come: to these addresses, over this device, from these others, and from nowhere else. */
  readonly tunnels: {
    readonly ports: readonly number[];
    readonly to: readonly string[];
    readonly by: string;
    readonly from: readonly string[];
  };
  /** Prefixes of the testbed's servers and networks. */
  readonly inside: readonly string[];
}

/** Why something is dropped: a counter each. */
export const dropReasons = {
  tunnel: "tunnel packets that no server has sent",
  advertised: "router advertisements and redirects",
  service: "to the server itself",
  forwarded: "to where the network does not lead",
  inside: "by nat to a server or network of the testbed",
  asked: "ARP for an address that is not the gateway's",
  tagged: "VLAN tags past a filter",
} as const;
export type DropReason = keyof typeof dropReasons;

export const guardFamilies = ["inet", "arp", "bridge"] as const;
export type GuardFamily = (typeof guardFamilies)[number];

/** The counters of each family's table. */
const countersOf: Readonly<Record<GuardFamily, readonly DropReason[]>> = {
  inet: ["tunnel", "advertised", "service", "forwarded", "inside"],
  arp: ["asked"],
  bridge: ["tagged"],
};

const drop = (reason: DropReason): string => `counter name "${reason}" drop`;
const isV6 = (text: string): boolean => text.includes(":");
const set = (items: readonly (string | number)[]): string => `{ ${items.join(", ")} }`;
const quoted = (names: readonly string[]): string => set(names.map((name) => `"${name}"`));

/** One rule a family that has any of the addresses. */
const by = (addresses: readonly string[], field: "saddr" | "daddr", rest: (family: 4 | 6) => string): string[] =>
  ([4, 6] as const).flatMap((family) => {
    const own = addresses.filter((text) => isV6(text) === (family === 6));
    return own.length === 0 ? [] : [`${family === 4 ? "ip" : "ip6"} ${field} ${set(own)} ${rest(family)}`];
  });

/** Leads each device's packets to its own chain: by one look-up for the names, a rule for each that stands for several, and one for ours that are not told. */
function dispatch(devices: readonly GuardedDevice[], chain: (index: number) => string, untold: string): string[] {
  const verdict = ({ open }: GuardedDevice, i: number): string => (open === true ? "accept" : `goto ${chain(i)}`);
  const named = devices.flatMap((one, i) => (one.device.endsWith("*") ? [] : [`"${one.device}" : ${verdict(one, i)}`]));
  const several = devices.flatMap((one, i) => (one.device.endsWith("*") ? [`iifname "${one.device}" ${verdict(one, i)}`] : []));
  return [...(named.length > 0 ? [`iifname vmap { ${named.join(", ")} }`] : []), ...several, `iifgroup ${deviceGroup} goto ${untold}`];
}

/** A chain for each device that is not open, by its place in the list. */
const chainsOf = (
  devices: readonly GuardedDevice[],
  name: (index: number) => string,
  rules: (device: GuardedDevice) => string[],
): string[] => devices.flatMap((one, i) => (one.open === true ? [] : chainText(name(i), rules(one))));

const chainText = (name: string, rules: readonly string[]): string[] => [`chain ${name} {`, ...rules, "}"];

/** A device of ours of which nothing was said. */
const untold: GuardedDevice = { device: "" };

const pingRequest = (family: 4 | 6): string => (family === 4 ? "icmp type echo-request accept" : "icmpv6 type echo-request accept");

/** Answers to what the server asks, and errors of what it sends. */
const answers = [
  "icmp type { echo-reply, destination-unreachable, time-exceeded, parameter-problem } accept",
  "icmpv6 type { echo-reply, destination-unreachable, packet-too-big, time-exceeded, parameter-problem, nd-neighbor-solicit, nd-neighbor-advert } accept",
];

/** What the server takes for itself. Without connection tracking, which would cost every packet that it forwards. */
function inputRules({ gateways = [], own = [] }: GuardedDevice): string[] {
  return [
    // Systems ask for routers when they start: nobody answers.
    "icmpv6 type nd-router-solicit drop",
    `icmpv6 type { nd-router-advert, nd-redirect } ${drop("advertised")}`,
    ...answers,
    ...by(gateways, "daddr", pingRequest),
    ...by(own, "daddr", () => "accept"),
    // What every station says to all is no attempt at anything.
    "meta pkttype { broadcast, multicast } drop",
    drop("service"),
  ];
}

function forwardRules({ device, forwards = [], reaches = [], outside }: GuardedDevice, { tunnels, inside }: GuardSpec): string[] {
  // What stays on a bridge passes here too where bridged packets are filtered.
  const within = `oifname "${device}" accept`;
  const forged = tunnels.ports.length === 0 ? [] : [`udp dport ${set(tunnels.ports)} ${drop("tunnel")}`];
  const rest = outside === true ? by(inside, "daddr", () => drop("inside")) : [drop("forwarded")];
  return [within, ...forged, ...forwards.map((out) => `oifname "${out}" accept`), ...by(reaches, "daddr", () => "accept"), ...rest];
}

function inetTable(spec: GuardSpec): string[] {
  const { ports, to, by: uplink, from } = spec.tunnels;
  const { devices } = spec;
  const members = [...new Set(devices.flatMap(({ gateways = [], own = [] }) => [...gateways, ...own]))];
  const [into, out] = [(i: number) => `to-server-${i}`, (i: number) => `forwarded-${i}`];
  const hasTunnels = ports.length > 0 && to.length > 0;
  return [
    ...(hasTunnels
      ? chainText("tunnels", [`iifname != "${uplink}" ${drop("tunnel")}`, ...by(from, "saddr", () => "return"), drop("tunnel")])
      : []),
    ...chainsOf(devices, into, inputRules),
    ...chainsOf(devices, out, (device) => forwardRules(device, spec)),
    ...chainText("to-server", inputRules(untold)),
    ...(members.length > 0
      ? chainText("to-member", ["iifname lo accept", ...answers, ...by(members, "daddr", pingRequest), drop("service")])
      : []),
    ...chainText("forwarded", [drop("forwarded")]),
    ...chainText("input", [
      "type filter hook input priority filter - 10; policy accept;",
      ...(hasTunnels ? by(to, "daddr", () => `udp dport ${set(ports)} jump tunnels`) : []),
      ...dispatch(devices, into, "to-server"),
      // What the server is to one network, it is to nobody else: other servers route their systems here.
      ...by(members, "daddr", () => "goto to-member"),
    ]),
    ...chainText("forward", ["type filter hook forward priority filter - 10; policy accept;", ...dispatch(devices, out, "forwarded")]),
  ];
}

function arpRules({ gateways = [], own = [] }: GuardedDevice): string[] {
  const answered = [...gateways, ...own].filter((text) => !isV6(text));
  return ["arp operation reply accept", ...(answered.length > 0 ? [`arp daddr ip ${set(answered)} accept`] : []), drop("asked")];
}

function arpTable({ devices }: GuardSpec): string[] {
  const chain = (i: number): string => `asked-${i}`;
  return [
    ...chainsOf(devices, chain, arpRules),
    ...chainText("asked-untold", arpRules(untold)),
    ...chainText("input", ["type filter hook input priority filter - 10; policy accept;", ...dispatch(devices, chain, "asked-untold")]),
  ];
}

/** Before the bridge looks at a frame; a tag may be another one's, twice. */
function bridgeTable({ untagged }: GuardSpec): string[] {
  return chainText("prerouting", [
    "type filter hook prerouting priority dstnat - 10; policy accept;",
    ...(untagged.length > 0 ? [`iifname ${quoted(untagged)} ether type { 8021q, 8021ad, 0x9100 } ${drop("tagged")}`] : []),
  ]);
}

/** The tables that a guard has: bridges' frames are looked at only where a filter is. */
export const familiesOf = ({ untagged }: GuardSpec): readonly GuardFamily[] =>
  guardFamilies.filter((family) => family !== "bridge" || untagged.length > 0);

/** The whole table of a family. */
export function tableText(spec: GuardSpec, family: GuardFamily, table: string): string[] {
  const chains = { inet: inetTable, arp: arpTable, bridge: bridgeTable }[family](spec);
  return [`table ${family} ${table} {`, ...countersOf[family].map((reason) => `counter ${reason} { }`), ...chains, "}"];
}
