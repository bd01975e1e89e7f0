/** `kind: macvlan`: one Ethernet segment, each system with an interface of its own on a parent device (report S4). */
import { findServer, linkDevice, linksOf, type ServerDeclaration, serversOf } from "../../config/declaration";
import type { Link, MacvlanNetwork } from "../../config/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { formatAddress, parseAddress, parsePrefix } from "../../net/cidr";
import { deviceName, macFor } from "../../net/names";
import { announce } from "../announce";
import { type Addresses, type Member, type NetworkContext, type Prefixes } from "../contexts";
import { type NetworkGuard, type NetworkKind } from "../kind";
import { nothingShared } from "../parts";
import { crossing, onServer, type Waypoint } from "../path";
import { type Requirement } from "../requirement";
import { driverOf, modeOf, parentDevice, parentOf } from "./parents";
import { macvlanRules } from "./rules";

const { segment, serverInterface } = objectTypes;

type Context = NetworkContext<MacvlanNetwork>;

/** VXLAN's own port; frames of other kinds have other VNIDs there. */
const vxlanPort = 4789;

function prefixes({ subnet, subnet6 }: MacvlanNetwork): Prefixes {
  const [ipv4, ipv6] = [parsePrefix(subnet ?? ""), parsePrefix(subnet6 ?? "")];
  return { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
}

/** The server's own address in the network: no system's. */
function ownAddresses({ serverAddresses }: MacvlanNetwork, server: string): Addresses {
  const address = parseAddress(serverAddresses?.[server] ?? "");
  if (address === undefined) return {};
  return address.family === 4 ? { ipv4: address } : { ipv6: address };
}

const underlayOf = ({ underlay }: ServerDeclaration): string => underlay.ipv4.split("/")[0] ?? "";

function segmentObject({ declaration, network, server, mtuBytes }: Context): HostObject[] {
  const parent = parentOf(network);
  if (parent.sort === "uplink" || parent.sort === "nic") return [];
  const ways = {
    local: { sort: "local", peer: deviceName("mw-", network.name) },
    vlan: { sort: "vlan", uplink: server.uplink, id: parent.sort === "vlan" ? parent.id : 0 },
    vxlan: {
      sort: "vxlan",
      id: parent.sort === "vxlan" ? parent.id : 0,
      local: underlayOf(server),
      port: vxlanPort,
      others: serversOf(declaration, network)
        .filter((other) => other !== server)
        .map(underlayOf)
        .sort(),
    },
  } as const;
  return [
    declare(segment, "segment", {
      device: parentDevice(network, server),
      mac: macFor(`segment ${network.name} ${server.name}`),
      mtuBytes,
      way: ways[parent.sort],
    }) as HostObject,
  ];
}

/** What tells the parent from another device of its name; none where the parent is not ours. */
function parentIdentity(context: Context): string | undefined {
  const [own] = segmentObject(context);
  return own?.type.identity(own.spec).join(" ");
}

function serverInterfaceObject(context: Context): HostObject[] {
  const { network, server, mtuBytes } = context;
  const own = ownAddresses(network, server.name);
  const addresses = (["ipv4", "ipv6"] as const).flatMap((family) => {
    const [address, prefix] = [own[family], prefixes(network)[family]];
    return address === undefined || prefix === undefined ? [] : [`${formatAddress(address)}/${prefix.length}`];
  });
  if (addresses.length === 0) return [];
  return [
    declare(serverInterface, "server-interface", {
      device: deviceName("ms-", network.name),
      parent: parentDevice(network, server),
      parentIdentity: parentIdentity(context) ?? "",
      driver: driverOf(network),
      mode: modeOf(network),
      mac: driverOf(network) === "ipvlan" ? "" : macFor(`server ${network.name} ${server.name}`),
      mtuBytes,
      addresses,
    }) as HostObject,
  ];
}

/** The server hears its systems at the other end of a device of its own, and those of other servers at what comes over the wire. */
function guard(context: Context): NetworkGuard {
  const { network, server } = context;
  const parent = parentOf(network);
  const own = Object.values(ownAddresses(network, server.name)).map(formatAddress);
  const isWire = parent.sort === "uplink" || parent.sort === "nic";
  const heard = { local: [deviceName("mw-", network.name)], vlan: [parentDevice(network, server)], vxlan: [parentDevice(network, server)] };
  return {
    guarded: [
      ...(isWire ? [] : [{ devices: heard[parent.sort] }]),
      ...(own.length === 0 ? [] : [{ devices: [deviceName("ms-", network.name)], own, ...(isWire && { isOnWire: true as const }) }]),
    ],
  };
}

function links({ testbed, servers }: Context["declaration"], network: MacvlanNetwork, own: readonly ServerDeclaration[]): Link[] {
  const parent = parentOf(network);
  if (parent.sort === "local") return [];
  if (parent.sort !== "nic") return linksOf({ testbed, servers } as Context["declaration"], own);
  // Also where one server alone has systems: the NIC's MTU is the link's.
  return testbed.links.filter((link) =>
    own.some((server) => link.between.includes(server.name) && linkDevice(link, server) === parent.device),
  );
}

function requires(network: MacvlanNetwork): Requirement[] {
  const parent = parentOf(network);
  const why = `kind: macvlan (${network.name})`;
  return [
    driverOf(network) === "ipvlan"
      ? { kernelOption: "CONFIG_IPVLAN", why: `driver: ipvlan (${network.name}); driver: macvlan does without` }
      : { kernelOption: "CONFIG_MACVLAN", why },
    ...(parent.sort === "vlan" ? [{ kernelOption: "CONFIG_VLAN_8021Q", why: `parent: vlan ${parent.id} (${network.name})` }] : []),
    ...(parent.sort === "vxlan" ? [{ kernelOption: "CONFIG_VXLAN", why: `parent: vxlan ${parent.id} (${network.name})` }] : []),
  ];
}

/** The default routes of a member, by the system that its network names. */
function gatewayRoutes({ network, members }: Context, member: Member): { to: string; via: string }[] {
  const gateway = members.find(({ system }) => system === network.gateway);
  if (gateway === undefined || gateway.system === member.system) return [];
  return Object.values(gateway.addresses).map((address) => ({ to: "default", via: formatAddress(address) }));
}

export const macvlanKind: NetworkKind<MacvlanNetwork> = {
  kind: "macvlan",
  rules: macvlanRules,
  variant: (network) =>
    [driverOf(network) === "macvlan" ? "" : driverOf(network), modeOf(network), "on", network.parent ?? "uplink"].filter(Boolean).join(" "),
  servers: serversOf,
  links: (declaration, network) => links(declaration, network, serversOf(declaration, network)),
  isOnUnderlay: (network) => ["uplink", "nic"].includes(parentOf(network).sort),
  routesOnServer: false,
  isSegment: ({ driver }) => driver !== "ipvlan",
  hasParentsMac: (network) => driverOf(network) === "ipvlan" || modeOf(network) === "passthru",
  secrets: [],
  sysctls: {},
  overhead: (network) => (parentOf(network).sort === "vxlan" ? [{ name: "VXLAN", bytes: 50 }] : []),
  prefixes,
  gateways: () => ({}),
  ownAddresses,
  requires,
  nve: (context) => [...segmentObject(context), ...serverInterfaceObject(context)],
  tunnelPorts: (network) => (parentOf(network).sort === "vxlan" ? [vxlanPort] : []),
  guard,
  shared: () => nothingShared,
  observations: () => [],
  moved: (_, member, moment) => (moment === "alone" ? announce(member) : undefined),
  // A parent hands frames to the interfaces on it past the kernel's points, as a redirect does.
  redirects: () => true,
  path: (declaration, { network, member: from }, { network: other, member: to }) => {
    if (other !== network) return undefined;
    const parent = parentOf(network);
    const onParent = (name: string): Waypoint[] => {
      const server = findServer(declaration, name);
      return server === undefined ? [] : [onServer(name, parentDevice(network, server))];
    };
    // What stays on a server is handed to the parent as if it had come by it.
    if (from.server === to.server) return modeOf(network) === "bridge" ? onParent(from.server) : undefined;
    const across = crossing(declaration, from.server, to.server);
    if (across === undefined || parent.sort === "local" || parent.sort === "vlan" || parent.sort === "nic") return undefined;
    return parent.sort === "uplink" ? across : [...onParent(from.server), ...across, ...onParent(to.server)];
  },
  attach: (context, member) => ({
    parentIdentity: parentIdentity(context),
    parent: { device: parentDevice(context.network, context.server), driver: driverOf(context.network), mode: modeOf(context.network) },
    learns: false,
    routes: gatewayRoutes(context, member),
    hooks: [],
  }),
  experimentRules: () => ({ nowhere: "its packets go by no place where servers filter" }),
  // A switch that sends frames back where they came from is not ours to promise.
  reaches: ({ network }, from, to) => from.server !== to.server || modeOf(network) === "bridge",
};
