/** `kind: bridge`: a Linux bridge a server, in report S3's modes. */
import type { ServerDeclaration } from "../../config/declaration";
import { linkDevice, linksOf, serversOf } from "../../config/declaration";
import type { BridgeNetwork, Link } from "../../config/types.gen";
import { type HostObject, declare } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { ownAddresses } from "../../host/objects/attachSpec";
import { transitRouterAddress, transitServerAddress } from "../../host/objects/router";
import { formatAddress, formatPrefix, type Prefix } from "../../net/cidr";
import { deviceName, macFor } from "../../net/names";
import { announce } from "../announce";
import { type Member, type NetworkContext } from "../contexts";
import { type NetworkGuard, type NetworkKind } from "../kind";
import { nothingShared } from "../parts";
import { acrossServers, type End, onServer, portOf, type Waypoint } from "../path";
import { filtersBesideIptables, type Requirement } from "../requirement";
import { bridgeDevice, bridgeEnforcer, filterChain, filterVariant, policyOf } from "./policies";
import { bridgeGateways, bridgePrefixes, modeOf, prefixTexts, routedPrefixes } from "./prefixes";
import { bridgeRules } from "./rules";

const { bridge, bridgePort, filter, route, router } = objectTypes;

type Context = NetworkContext<BridgeNetwork>;

/** The kernel's own. */
const defaultAgeingSeconds = 300;

const routerNamespace = (network: BridgeNetwork): string => `ff-router-${network.name}`;
const routerPort = (network: BridgeNetwork): string => deviceName("rp-", network.name);
const transitDevice = (network: BridgeNetwork): string => deviceName("rt-", network.name);

/** The device by which the server itself sees the systems: what it routes to and filters at. */
function serverDevice(network: BridgeNetwork): string {
  return modeOf(network) === "router" ? transitDevice(network) : bridgeDevice(network);
}

function gatewayTexts(network: BridgeNetwork, server: string): string[] {
  const prefixes = bridgePrefixes(network, server);
  const gateways = bridgeGateways(network, server);
  return (["ipv4", "ipv6"] as const).flatMap((family) => {
    const [prefix, gateway] = [prefixes[family], gateways[family]];
    return prefix === undefined || gateway === undefined ? [] : [`${formatAddress(gateway)}/${prefix.length}`];
  });
}

function bridgeObject(context: Context): HostObject {
  const { network, server, mtuBytes } = context;
  const ownsGateway = modeOf(network) === "routed" || modeOf(network) === "nat";
  return declare(bridge, "bridge", {
    device: bridgeDevice(network),
    mac: macFor(`bridge ${network.name} ${server.name}`),
    mtuBytes,
    addresses: ownsGateway ? gatewayTexts(network, server.name) : [],
    ...(policyOf(context) !== undefined && { isFiltered: true }),
    ageingSeconds: network.ageingSeconds ?? defaultAgeingSeconds,
  }) as HostObject;
}

function routerObject({ network, server, mtuBytes }: Context): HostObject {
  return declare(router, "router", {
    namespace: routerNamespace(network),
    bridge: bridgeDevice(network),
    transitDevice: transitDevice(network),
    portDevice: routerPort(network),
    mtuBytes,
    addresses: gatewayTexts(network, server.name),
  }) as HostObject;
}

/** From the server to its own router namespace. */
function routerRoutes({ network, server }: Context): HostObject[] {
  return Object.values(bridgePrefixes(network, server.name)).map(
    (prefix: Prefix) =>
      declare(route, `route-${formatPrefix(prefix)}`, {
        to: formatPrefix(prefix),
        via: transitRouterAddress,
        device: transitDevice(network),
      }) as HostObject,
  );
}

function underlayAddress(server: ServerDeclaration, family: 4 | 6): string | undefined {
  return (family === 4 ? server.underlay.ipv4 : server.underlay.ipv6)?.split("/")[0];
}

/** The way to the bridges of the other servers. */
function peerRoutes({ declaration, network, server }: Context): HostObject[] {
  const peers = serversOf(declaration, network).filter((peer) => peer.name !== server.name);
  return peers.flatMap((peer) =>
    Object.values(bridgePrefixes(network, peer.name)).flatMap((prefix: Prefix) => {
      const via = underlayAddress(peer, prefix.family);
      // A rule wants both where both have systems.
      if (via === undefined || underlayAddress(server, prefix.family) === undefined) return [];
      return [declare(route, `route-${formatPrefix(prefix)}`, { to: formatPrefix(prefix), via, device: server.uplink }) as HostObject];
    }),
  );
}

const isRoutedAcross = (network: BridgeNetwork): boolean => modeOf(network) === "routed" || modeOf(network) === "router";

/** Those with systems of the tenant's routed networks. */
function tenantsServers(declaration: Context["declaration"], { tenant }: BridgeNetwork): ReadonlySet<ServerDeclaration> {
  const own = declaration.testbed.networks.filter((one) => one.kind === "bridge" && one.tenant === tenant && isRoutedAcross(one));
  return new Set(own.flatMap((one) => serversOf(declaration, one)));
}

/**
 * Where the tenant has another network, the way to this one is needed too, though it has no system there: `peerRoutes`, and nothing else.
 * As far as a link by which all servers of this network route leads.
 */
function servers(declaration: Context["declaration"], network: BridgeNetwork): ServerDeclaration[] {
  const own = serversOf(declaration, network);
  if (!isRoutedAcross(network) || own.length === 0) return own;
  const { links } = declaration.testbed;
  const routes = (link: Link, server: ServerDeclaration): boolean =>
    link.between.includes(server.name) && linkDevice(link, server) === server.uplink;
  const shared = links.find((link) => own.every((server) => routes(link, server)));
  if (shared === undefined) return own;
  const others = tenantsServers(declaration, network);
  return declaration.servers.filter((server) => own.includes(server) || (others.has(server) && routes(shared, server)));
}

const hasSystems = ({ declaration, network, server }: Context): boolean => serversOf(declaration, network).includes(server);

/** The devices by which the tenant's packets come to a network from its others, and go there. */
function waysOf(context: Context): string[] {
  return [context.server.uplink, ...siblings(context).map(serverDevice).sort()];
}

/** The tenant's other networks that this server routes. */
function siblings({ declaration, network, server }: Context): BridgeNetwork[] {
  const here = new Set(
    routedPrefixes(declaration)
      .filter((r) => r.server === server.name)
      .map((r) => r.network),
  );
  return [...here].filter((other) => other !== network && other.tenant === network.tenant);
}

function guard(context: Context): NetworkGuard {
  if (!hasSystems(context)) return { guarded: [] };
  const { network, server } = context;
  const device = bridgeDevice(network);
  const untagged = policyOf(context) !== undefined;
  const prefixes = Object.values(bridgePrefixes(network, server.name)).map(formatPrefix);
  const gateways = gatewayTexts(network, server.name).map((text) => text.split("/")[0] ?? "");
  switch (modeOf(network)) {
    case "l2":
      return { guarded: [{ devices: [device] }], untagged, wires: network.port === undefined ? [] : [network.port] };
    case "routed":
      return { guarded: [{ devices: [device], prefixes, gateways, forwards: waysOf(context) }], untagged };
    case "nat":
      return {
        guarded: [
          { devices: [device], prefixes, gateways, forwards: waysOf(context).filter((out) => out !== server.uplink), outside: true },
        ],
        untagged,
      };
    case "router":
      // Systems are on the bridge, and come to the server by their router alone.
      return {
        guarded: [
          { devices: [device] },
          { devices: [transitDevice(network)], prefixes, gateways: [transitServerAddress], forwards: waysOf(context) },
        ],
        untagged,
      };
  }
}

function filterObject(context: Context): HostObject {
  const { declaration, network, server } = context;
  const policy = policyOf(context);
  const routed = routedPrefixes(declaration);
  const others = siblings(context);
  const routers = isRoutedAcross(network) ? [...tenantsServers(declaration, network)].filter((peer) => peer !== server) : [];
  const family = (number: 4 | 6, own: Prefix | undefined) => ({
    own: own === undefined ? null : formatPrefix(own),
    tenant: prefixTexts(routed, number, (r) => r.network.tenant === network.tenant),
    foreign: prefixTexts(routed, number, (r) => r.network.tenant !== network.tenant),
    routers: routers.flatMap((peer) => underlayAddress(peer, number) || []),
  });
  // An l2 bridge is in the server's routing too, by its MAC: what is not for the segment itself is dropped.
  const { ipv4, ipv6 } = modeOf(network) === "l2" ? {} : bridgePrefixes(network, server.name);
  return declare(filter, "filter", {
    chain: filterChain(network),
    variant: filterVariant(network),
    device: serverDevice(network),
    uplink: server.uplink,
    inputs: waysOf(context),
    sources: Object.fromEntries(
      others.map((other) => [serverDevice(other), Object.values(bridgePrefixes(other, server.name)).map(formatPrefix)]),
    ),
    decided: others
      .filter((other) => filterVariant(other) === filterVariant(network))
      .map(serverDevice)
      .sort(),
    ipv4: family(4, ipv4),
    ipv6: family(6, ipv6),
    masquerade: modeOf(network) === "nat",
    ...(policy !== undefined && { policy: { bridge: bridgeDevice(network), ...policy } }),
  }) as HostObject;
}

function nve(context: Context): HostObject[] {
  if (!hasSystems(context)) return peerRoutes(context);
  const { network } = context;
  if (modeOf(network) === "l2") {
    const port =
      network.port === undefined
        ? []
        : [declare(bridgePort, "port", { device: network.port, bridge: bridgeDevice(network) }) as HostObject];
    return [filterObject(context), bridgeObject(context), ...port];
  }
  const gateway = modeOf(network) === "router" ? [routerObject(context), ...routerRoutes(context)] : [];
  const peers = modeOf(network) === "nat" ? [] : peerRoutes(context);
  // The filter first: there is no moment in which systems are joined and nothing keeps them apart.
  return [filterObject(context), bridgeObject(context), ...gateway, ...peers];
}

function requires(network: BridgeNetwork, server?: string, declaration?: Context["declaration"]): Requirement[] {
  if (declaration !== undefined && !serversOf(declaration, network).some(({ name }) => name === server)) return [];
  const bridges: Requirement = { kernelOption: "CONFIG_BRIDGE", why: "bridges" };
  const variant = network.filter ?? "iptables";
  const filters: Requirement = {
    tool: variant,
    ...(variant !== "iptables" && { probe: filtersBesideIptables }),
    why: `filter: ${variant}`,
  };
  return modeOf(network) === "nat" && variant === "nft"
    ? [bridges, filters, { kernelOption: "CONFIG_NFT_NAT", why: "mode: nat" }]
    : [bridges, filters];
}

function reaches({ network }: Context, from: Member, to: Member): boolean {
  if (from.server === to.server) return true;
  if (modeOf(network) === "l2") return network.port !== undefined;
  return modeOf(network) !== "nat";
}

/** From a member's port to the server's own routing. */
function wayOut({ network, member }: End<BridgeNetwork>): Waypoint[] {
  if (modeOf(network) !== "router") return [portOf(member), onServer(member.server, bridgeDevice(network))];
  const inRouter = (device: string): Waypoint => ({
    server: member.server,
    namespace: routerNamespace(network).slice("ff-".length),
    device,
  });
  return [
    portOf(member),
    onServer(member.server, routerPort(network)),
    inRouter("inner"),
    inRouter("transit"),
    onServer(member.server, transitDevice(network)),
  ];
}

const isBridge = (end: End): end is End<BridgeNetwork> => end.network.kind === "bridge";

/** What stays on a bridge does not meet the bridge's own device; what is routed does. */
function path(declaration: Context["declaration"], from: End<BridgeNetwork>, to: End): readonly Waypoint[] | undefined {
  if (!isBridge(to)) return undefined;
  const isLocal = from.member.server === to.member.server;
  if (from.network === to.network && isLocal) return [portOf(from.member), portOf(to.member)];
  const { port } = from.network;
  if (from.network === to.network && port !== undefined)
    return [portOf(from.member), onServer(from.member.server, port), onServer(to.member.server, port), portOf(to.member)];
  const modes = [modeOf(from.network), modeOf(to.network)];
  if (modes.includes("l2") || (modes.includes("nat") && !isLocal)) return undefined;
  const across = acrossServers(declaration, from.member, to.member);
  return across && [...wayOut(from), ...across, ...wayOut(to).reverse()];
}

export const bridgeKind: NetworkKind<BridgeNetwork> = {
  kind: "bridge",
  rules: bridgeRules,
  variant: modeOf,
  servers,
  links: (declaration, network) => linksOf(declaration, serversOf(declaration, network)),
  routesOnServer: true,
  isSegment: (network) => modeOf(network) === "l2",
  secrets: [],
  sysctls: {},
  overhead: () => [],
  prefixes: bridgePrefixes,
  gateways: bridgeGateways,
  requires,
  nve,
  shared: () => nothingShared,
  observations: () => [],
  moved: ({ network }, member, moment) => (modeOf(network) === "l2" && moment === "alone" ? announce(member) : undefined),
  attach: ({ network, server }) => {
    const gateways = bridgeGateways(network, server.name);
    return {
      bridge: bridgeDevice(network),
      learns: true,
      ...(network.floods === false && { floods: false as const }),
      routes: [
        ...(gateways.ipv4 ? [{ to: "default", via: formatAddress(gateways.ipv4) }] : []),
        ...(gateways.ipv6 ? [{ to: "default", via: formatAddress(gateways.ipv6) }] : []),
      ],
      // The server, where it is the gateway, need not ask for its systems.
      hooks:
        modeOf(network) === "routed" || modeOf(network) === "nat"
          ? [{ type: "neighbour", args: { device: bridgeDevice(network) }, wanted: { neighbours: ownAddresses } }]
          : [],
    };
  },
  reachesOutside: (network) => modeOf(network) === "nat",
  bridges: true,
  guard,
  policies: bridgeEnforcer,
  reaches,
  path,
};
