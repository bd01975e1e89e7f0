/** What a server lets its tenants' devices do, as tables of nft. Pure. */

/**
 * Devices of the server's by which systems' packets come to it, which may all do the same. What is not said to be open is closed; so
 * is a device of ours that is not said at all.
 */
export interface GuardedDevices {
  /** Their names, or the beginning of the names of several and a star. */
  readonly devices: readonly string[];
  /** Where their systems' addresses are from: what comes from elsewhere is not answered. */
  readonly prefixes?: readonly string[];
  /** Addresses of the server that systems ask for and ping there: their gateways. */
  readonly gateways?: readonly string[];
  /** Addresses that the server has there as a member of the network: all of it is reached at them. */
  readonly own?: readonly string[];
  /** The devices by which the server forwards what comes in here, beside themselves. */
  readonly forwards?: readonly string[];
  /** Prefixes that it forwards to by any other device. */
  readonly reaches?: readonly string[];
  /** By any other device, too, but to none of the testbed's servers and networks. */
  readonly outside?: true;
  /** Its own addresses there are on a wire, by which others come to them too. */
  readonly isOnWire?: true;
  /** Somebody else makes them: they are not in our group. */
  readonly isOthers?: true;
  /** Nothing is looked at. */
  readonly open?: true;
}

export interface GuardSpec {
  readonly guarded: readonly GuardedDevices[];
  /** Devices into networks whose frames a filter looks into, which sees no further than a VLAN tag; at systems' ports a program does it. */
  readonly untagged: readonly string[];
  /** UDP ports by which tunnels come: to these addresses, over the uplink, from these others, and from nowhere else. */
  readonly tunnels: {
    readonly ports: readonly number[];
    readonly to: readonly string[];
    readonly from: readonly string[];
  };
  /** The server's NIC on the underlay. */
  readonly uplink: string;
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
  mac: "from a MAC that is not the system's",
  address: "from an address that is not the system's",
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
const ofFamily = (texts: readonly string[], family: 4 | 6): string[] => texts.filter((text) => isV6(text) === (family === 6));
/** Frames with a tag: another one's, too. */
export const tagged = "ether type { 8021q, 8021ad, 0x9100 }";
const quoted = (names: readonly string[]): string => set(names.map((name) => `"${name}"`));

/** One rule a family that has any of the addresses. */
const by = (addresses: readonly string[], field: "saddr" | "daddr", rest: (family: 4 | 6) => string): string[] =>
  ([4, 6] as const).flatMap((family) => {
    const own = ofFamily(addresses, family);
    return own.length === 0 ? [] : [`${family === 4 ? "ip" : "ip6"} ${field} ${set(own)} ${rest(family)}`];
  });

const isSeveral = (device: string): boolean => device.endsWith("*");

/** Leads the packets of each device to the chain of its like: by one look-up for the names, and a rule for each that stands for several. */
function dispatch(guarded: readonly GuardedDevices[], chain: (index: number) => string, openTo = "accept"): string[] {
  const verdicts = guarded.flatMap(({ devices, open }, i) =>
    devices.map((device) => [device, open === true ? openTo : `goto ${chain(i)}`] as const),
  );
  const named = verdicts.flatMap(([device, verdict]) => (isSeveral(device) ? [] : [`"${device}" : ${verdict}`]));
  // The longer beginning is the nearer.
  const several = verdicts
    .filter(([device]) => isSeveral(device))
    .sort(([a], [b]) => b.length - a.length)
    .map(([device, verdict]) => `iifname "${device}" ${verdict}`);
  return [...(named.length > 0 ? [`iifname vmap { ${named.join(", ")} }`] : []), ...several];
}

/** Those of our group or those of others, each in its place in the list. */
const only = (guarded: readonly GuardedDevices[], others: boolean): GuardedDevices[] =>
  guarded.map((one) => ((one.isOthers === true) === others ? one : { ...one, devices: [] }));

/** A chain for all that are not open, by their place in the list. */
const chainsOf = (
  guarded: readonly GuardedDevices[],
  name: (index: number) => string,
  rules: (devices: GuardedDevices) => string[],
): string[] => guarded.flatMap((one, i) => (one.open === true ? [] : chainText(name(i), rules(one))));

const chainText = (name: string, rules: readonly string[]): string[] => [`chain ${name} {`, ...rules, "}"];

/** A device of ours of which nothing was said. */
const untold: GuardedDevices = { devices: [] };

const pings = (family: 4 | 6): string =>
  family === 4 ? "icmp type { echo-request, echo-reply } accept" : "icmpv6 type { echo-request, echo-reply } accept";

/** How neighbours are found, on each device by itself. */
const neighbours = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept";

/**
 * What the server takes for itself. Without connection tracking, which would cost every packet that it forwards: the segments of TCP
 * that open no connection are answers to what the server has opened, from its address there. Errors of ICMP are taken from nobody:
 * they may tell of any other's packets.
 */
function inputRules({ gateways = [], own = [], prefixes = [] }: GuardedDevices): string[] {
  const answered = ([4, 6] as const).flatMap((family) =>
    by(ofFamily(gateways, family), "daddr", () => "").flatMap((to) =>
      by(ofFamily(prefixes, family), "saddr", () => "tcp flags & (syn | ack) != syn accept").map((from) => `${to}${from}`),
    ),
  );
  return [
    // Systems ask for routers when they start: nobody answers.
    "icmpv6 type nd-router-solicit drop",
    `icmpv6 type { nd-router-advert, nd-redirect } ${drop("advertised")}`,
    neighbours,
    ...by(gateways, "daddr", pings),
    ...answered,
    ...by(own, "daddr", () => "accept"),
    // What every station says to all is no attempt at anything.
    "meta pkttype { broadcast, multicast } drop",
    drop("service"),
  ];
}

/** A rule for the names, and one for each that stands for several. */
const outBy = (devices: readonly string[], verdict: string): string[] => {
  const named = devices.filter((device) => !isSeveral(device));
  return [
    ...(named.length > 0 ? [`oifname ${quoted(named)} ${verdict}`] : []),
    ...devices.filter(isSeveral).map((device) => `oifname "${device}" ${verdict}`),
  ];
};

function forwardRules({ devices, forwards = [], reaches = [], outside }: GuardedDevices, { tunnels, inside, uplink }: GuardSpec): string[] {
  // What stays on a bridge passes here too where bridged packets are filtered.
  const ways = [...new Set([...devices, ...forwards])];
  // Behind the server's own address it would be one of the servers'.
  const forged = outside === true && tunnels.ports.length > 0 ? [`udp dport ${set(tunnels.ports)} ${drop("tunnel")}`] : [];
  // Nor to what the server publishes of others, nor to another bridge on it: those are its own networks.
  const rest =
    outside === true
      ? [
          ...by(inside, "daddr", () => drop("inside")),
          `ct status dnat ${drop("inside")}`,
          `oifname "${uplink}" accept`,
          `meta oifkind "bridge" ${drop("inside")}`,
        ]
      : [drop("forwarded")];
  return [...outBy(ways, "accept"), ...forged, ...by(reaches, "daddr", () => "accept"), ...rest];
}

/** Most packets go from one device to another that it may go to: one look-up for all such pairs, where there are not too many. */
function pairs(guarded: readonly GuardedDevices[]): string[] {
  const all = guarded.flatMap(({ devices, forwards = [], open }) => {
    const ways = [...new Set([...devices, ...forwards])].filter((device) => !isSeveral(device));
    const from = devices.filter((device) => !isSeveral(device));
    return open === true || from.length * ways.length > 64 ? [] : from.flatMap((one) => ways.map((out) => `"${one}" . "${out}"`));
  });
  return all.length > 0 ? [`iifname . oifname { ${all.join(", ")} } accept`] : [];
}

/** Each expression costs every packet that the server forwards or takes: what passes most is asked first. */
function inetTable(spec: GuardSpec, group: number): string[] {
  const { ports, to, from } = spec.tunnels;
  const { guarded, uplink } = spec;
  const members = [
    ...new Set(guarded.flatMap(({ gateways = [], own = [], isOnWire }) => [...gateways, ...(isOnWire === true ? [] : own)])),
  ];
  const [into, out] = [(i: number) => `to-server-${i}`, (i: number) => `forwarded-${i}`];
  const hasTunnels = ports.length > 0 && to.length > 0;
  return [
    ...chainsOf(guarded, into, inputRules),
    ...chainsOf(guarded, out, (devices) => forwardRules(devices, spec)),
    ...(members.length > 0
      ? chainText("to-member", ["iifname lo accept", neighbours, ...by(members, "daddr", pings), drop("service")])
      : []),
    // What is open forges no server's tunnels either.
    ...(ports.length > 0 ? chainText("open", [`udp dport ${set(ports)} ${drop("tunnel")}`, "accept"]) : []),
    ...chainText("input-ours", [...dispatch(only(guarded, false), into), ...inputRules(untold)]),
    ...chainText("input", [
      "type filter hook input priority filter - 10; policy accept;",
      ...(hasTunnels
        ? [
            ...by(from, "saddr", () => `udp dport ${set(ports)} iifname "${uplink}" accept`),
            ...by(to, "daddr", () => `udp dport ${set(ports)} ${drop("tunnel")}`),
          ]
        : []),
      ...dispatch(only(guarded, true), into),
      `iifgroup ${group} goto input-ours`,
      // What the server is to one network, it is to nobody else: other servers route their systems here.
      ...by(members, "daddr", () => "goto to-member"),
    ]),
    ...chainText("forward", [
      "type filter hook forward priority filter - 10; policy accept;",
      ...dispatch(only(guarded, true), out),
      `iifgroup != ${group} accept`,
      ...pairs(guarded),
      ...dispatch(only(guarded, false), out, ports.length > 0 ? "goto open" : "accept"),
      drop("forwarded"),
    ]),
  ];
}

/** Stations of a segment ask one another, and all hear it: that is not counted. */
function arpRules({ gateways = [], own = [] }: GuardedDevices): string[] {
  const answered = ofFamily([...gateways, ...own], 4);
  return [
    "arp operation reply accept",
    ...(answered.length > 0 ? [`arp daddr ip ${set(answered)} accept`] : []),
    "meta pkttype broadcast drop",
    drop("asked"),
  ];
}

function arpTable({ guarded }: GuardSpec, group: number): string[] {
  const chain = (i: number): string => `asked-${i}`;
  return [
    ...chainsOf(guarded, chain, arpRules),
    ...chainText("input", [
      "type filter hook input priority filter - 10; policy accept;",
      ...dispatch(only(guarded, true), chain),
      `iifgroup != ${group} accept`,
      ...dispatch(only(guarded, false), chain),
      ...arpRules(untold),
    ]),
  ];
}

/** Before the bridge looks at a frame; a tag may be another one's, twice. */
function bridgeTable({ untagged }: GuardSpec): string[] {
  return chainText("prerouting", [
    "type filter hook prerouting priority dstnat - 10; policy accept;",
    ...(untagged.length > 0 ? [`iifname ${quoted(untagged)} ${tagged} ${drop("tagged")}`] : []),
  ]);
}

/** The tables that a guard has: bridges' frames are looked at only where a filter is. */
export const familiesOf = ({ untagged }: GuardSpec): readonly GuardFamily[] =>
  guardFamilies.filter((family) => family !== "bridge" || untagged.length > 0);

/** The whole table of a family. */
export function tableText(spec: GuardSpec, family: GuardFamily, table: string, group: number): string[] {
  const chains = { inet: inetTable, arp: arpTable, bridge: bridgeTable }[family](spec, group);
  return [`table ${family} ${table} {`, ...countersOf[family].map((reason) => `counter ${reason} { }`), ...chains, "}"];
}
