/** `kind: evpn`: VXLAN between servers, BGP EVPN to tell them where the systems are (report S0, RFC 8365). */
import type { EvpnNetwork } from "../../config/types.gen";
import { type HostObject, declare } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { ownAddresses } from "../../host/objects/attachSpec";
import type { RouterLeg } from "../../host/objects/tenantRouter";
import { vrfDevices } from "../../host/objects/tenantVrf";
import { formatAddress, hostAddress, parsePrefix } from "../../net/cidr";
import { deviceName, macFor, ownContainers } from "../../net/names";
import type { Addresses, KindContext, NetworkContext, Prefixes } from "../contexts";
import type { NetworkKind } from "../kind";
import type { SharedParts } from "../parts";
import { acrossServers, type End, onServer, portOf, type Waypoint } from "../path";
import { noRoutesOf, type Requirement } from "../requirement";
import { asnOf, evpnServers, gatewayMac, isRouted, routeDistinguisher, routerVns, routeTarget, vxlanPort } from "./identifiers";
import { observations } from "./observations";
import { routeServerParts, routeServerRequirements } from "./routeServer";
import { evpnRules } from "./rules";
import { passwordSecret, routeServers, speakerFolders, speakerPlan, vtepOf } from "./speaker";

const { bgpSessions, bridge, bridgeGuard, folder, speakerVni, tenantRouter, tenantVrf, vxlan } = objectTypes;

type Context = NetworkContext<EvpnNetwork>;

const namespaceOf = (tenant: string): string => `ff-tenant-${tenant}`;
const bridgeDevice = (network: EvpnNetwork): string => deviceName("br-", network.name);
const tunnelDevice = (network: EvpnNetwork): string => deviceName("vx-", network.name);
const routerPort = (network: EvpnNetwork): string => deviceName("rp-", network.name);
const routerDevice = (network: EvpnNetwork): string => deviceName("vn", String(network.vn));

function prefixes(network: EvpnNetwork): Prefixes {
  const [ipv4, ipv6] = [parsePrefix(network.subnet ?? ""), parsePrefix(network.subnet6 ?? "")];
  return { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) };
}

/** The gateway is the first host of the prefix, on every server the same. */
function gateways(network: EvpnNetwork): Addresses {
  if (!isRouted(network)) return {};
  const { ipv4, ipv6 } = prefixes(network);
  return { ...(ipv4 && { ipv4: hostAddress(ipv4, 1) }), ...(ipv6 && { ipv6: hostAddress(ipv6, 1) }) };
}

function nve({ declaration, network, server, mtuBytes }: Context): HostObject[] {
  const device = bridgeDevice(network);
  return [
    declare(bridge, "bridge", {
      device,
      mac: macFor(`bridge ${network.name} ${server.name}`),
      mtuBytes,
      addresses: [],
      entriesAreTold: true,
    }),
    declare(bridgeGuard, "guard", { bridge: device }),
    // Before the device: the speaker never advertises the VN by numbers of its own choice.
    declare(speakerVni, "vni", {
      vni: network.vn,
      asn: asnOf(declaration),
      routeDistinguisher: routeDistinguisher(declaration, network.vn, vtepOf(server)),
      routeTarget: routeTarget(declaration, network.vn),
    }),
    declare(vxlan, "vxlan", {
      device: tunnelDevice(network),
      vni: network.vn,
      local: vtepOf(server),
      port: vxlanPort,
      bridge: device,
      mac: macFor(`vxlan ${network.name} ${server.name}`),
      mtuBytes,
      gro: declaration.testbed.tuning?.tunnelGro ?? false,
    }),
  ] as HostObject[];
}

function legOf({ network, mtuBytes }: Context): RouterLeg {
  const [own, all] = [gateways(network), prefixes(network)];
  return {
    port: routerPort(network),
    device: routerDevice(network),
    bridge: bridgeDevice(network),
    mtuBytes,
    addresses: (["ipv4", "ipv6"] as const).flatMap((family) => {
      const [gateway, prefix] = [own[family], all[family]];
      return gateway === undefined || prefix === undefined ? [] : [`${formatAddress(gateway)}/${prefix.length}`];
    }),
  };
}

/** What joins a tenant's router to its others, where they are routed symmetrically. */
function vrfOf(tenant: string, { declaration, server, mtuBytes }: Context): HostObject[] {
  const vni = routerVns(declaration).get(tenant);
  if (vni === undefined) return [];
  return [
    declare(tenantVrf, `vrf-${tenant}`, {
      namespace: namespaceOf(tenant),
      vni,
      local: vtepOf(server),
      port: vxlanPort,
      mac: macFor(`router ${tenant} ${server.name}`),
      mtuBytes,
      asn: asnOf(declaration),
      routeDistinguisher: routeDistinguisher(declaration, vni, vtepOf(server)),
      routeTarget: routeTarget(declaration, vni),
    }) as HostObject,
  ];
}

function tenantRouters(contexts: readonly Context[]): HostObject[] {
  const routed = contexts.filter(({ network }) => isRouted(network));
  const tenants = [...new Set(routed.map(({ network }) => network.tenant))];
  return tenants.flatMap((tenant) => {
    const own = routed.filter(({ network }) => network.tenant === tenant);
    const router = { namespace: namespaceOf(tenant), mac: gatewayMac, legs: own.map(legOf) };
    return [
      declare(tenantRouter, `router-${tenant}`, router) as HostObject,
      ...own.slice(0, 1).flatMap((context) => vrfOf(tenant, context)),
    ];
  });
}

function shared({ declaration, server, networks }: KindContext<EvpnNetwork>): SharedParts {
  const authority = { component: "RouteServer", parts: routeServerParts(declaration, server), requires: routeServerRequirements };
  if (networks.length === 0) return { authority, edge: [], joints: [], settled: [] };
  return {
    authority,
    edge: [...speakerFolders.map((name) => declare(folder, name, { folder: name }) as HostObject), speakerPlan(declaration, server)],
    joints: tenantRouters(networks),
    settled: [declare(bgpSessions, "sessions", { peers: routeServers(declaration) }) as HostObject],
  };
}

const requirements: readonly Requirement[] = [
  { kernelOption: "CONFIG_VXLAN", why: "kind: evpn" },
  { kernelOption: "CONFIG_BRIDGE", why: "bridges" },
  { kernelOption: "CONFIG_TCP_MD5SIG", why: "passwords of BGP sessions" },
  { kernelOption: "CONFIG_NF_TABLES_NETDEV", why: "keeping the server out of the tenants' bridges" },
  { kernelOption: "CONFIG_NETFILTER_EGRESS", why: "keeping the server out of the tenants' bridges (Linux 5.16)" },
  // FRR takes these for its own of an earlier life (8.4).
  noRoutesOf("bgp|isis|ospf|rip|eigrp|19[0-8]", ownContainers.speaker, "kind evpn runs FRR on the server, which takes them for its own"),
  { tool: "nft", why: "keeping the server out of the tenants' bridges" },
  { tool: "bridge", why: "VXLAN's forwarding entries (package iproute2)" },
];

const isCutShort = ({ shortcut }: EvpnNetwork): boolean => shortcut ?? true;

/** The short cut ends in the system's own interface: no port, and no bridge, is met there. */
const isEvpn = (end: End): end is End<EvpnNetwork> => end.network.kind === "evpn";

function path(declaration: Context["declaration"], from: End<EvpnNetwork>, to: End): readonly Waypoint[] | undefined {
  if (!isEvpn(to)) return undefined;
  const across = acrossServers(declaration, from.member, to.member);
  const [here, there] = [from.member.server, to.member.server];
  const isLocal = here === there;
  if (across === undefined) return undefined;
  const tunnel = tunnelDevice(to.network);
  const tunnelled = isLocal ? across : [onServer(here, tunnel), ...across, onServer(there, tunnel)];
  // What a router hands to the bridge goes by the bridge; short cuts begin at ports and tunnels.
  const isCut = isCutShort(to.network) && !(isLocal && from.network !== to.network);
  const last = isCut ? [] : [portOf(to.member)];
  if (from.network === to.network) return [portOf(from.member), ...tunnelled, ...last];
  if (!isRouted(from.network) || !isRouted(to.network)) return undefined;
  const inRouter = (server: string, device: string): Waypoint => ({
    server,
    namespace: namespaceOf(from.network.tenant).slice("ff-".length),
    device,
  });
  const leg = (server: string, network: EvpnNetwork): Waypoint[] => [
    onServer(server, routerPort(network)),
    inRouter(server, routerDevice(network)),
  ];
  const first = [portOf(from.member), ...leg(here, from.network)];
  // A symmetric router that has no leg in the network hands the packet to one that has.
  const hasLeg = evpnServers(declaration, to.network).some(({ name }) => name === here);
  if (hasLeg) return [...first, ...leg(here, to.network).reverse(), ...tunnelled, ...last];
  const joined = (server: string): Waypoint[] => vrfDevices.map((device) => inRouter(server, device));
  return [...first, ...joined(here), ...across, ...joined(there).reverse(), ...leg(there, to.network).reverse(), portOf(to.member)];
}

export const evpnKind: NetworkKind<EvpnNetwork> = {
  kind: "evpn",
  rules: evpnRules,
  variant: ({ vn, irb }) => `vn ${vn}${irb === undefined || irb === "none" ? "" : ` routed (${irb})`}`,
  // RFC 7348: the inner Ethernet header, VXLAN, UDP, IPv4.
  overhead: () => [
    { name: "Ethernet", bytes: 14 },
    { name: "VXLAN", bytes: 8 },
    { name: "UDP", bytes: 8 },
    { name: "IPv4", bytes: 20 },
  ],
  servers: evpnServers,
  // All of the testbed: where its systems sit today does not change the MTU, so that they can move.
  links: ({ testbed }) => testbed.links,
  prefixes,
  gateways,
  routesOnServer: false,
  needsHub: true,
  tunnelPorts: () => [vxlanPort],
  bridges: true,
  guard: ({ network }) => ({ guarded: [{ devices: [bridgeDevice(network)] }] }),
  requires: () => requirements,
  secrets: [{ name: passwordSecret, length: 32 }],
  // Frames from port to port would otherwise take the way through the server's iptables: a third of the throughput, and
  // where docker manages iptables they would be dropped.
  sysctls: {
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.bridge.bridge-nf-call-arptables": "0",
    // A tunnel's packets have no socket to be found early: looking for one costs 1.5% of the transactions.
    "net.ipv4.udp_early_demux": "0",
  },
  nve,
  shared,
  path,
  attach: ({ network }) => {
    const shortcut = isCutShort(network);
    const { ipv4, ipv6 } = gateways(network);
    return {
      bridge: bridgeDevice(network),
      learns: false,
      routes: [
        ...(ipv4 ? [{ to: "default", via: formatAddress(ipv4) }] : []),
        ...(ipv6 ? [{ to: "default", via: formatAddress(ipv6) }] : []),
      ],
      hooks: [
        {
          type: "advertised",
          args: { device: bridgeDevice(network), tunnel: tunnelDevice(network), shortcut },
          wanted: { neighbours: ownAddresses, forwarding: "told", shortcut: shortcut ? "on" : "off" },
        },
      ],
    };
  },
  reaches: () => true,
  observations,
};
