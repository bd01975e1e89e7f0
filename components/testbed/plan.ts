/** What a server must hold for the testbed, as data. Components render it; tests and the CLI read it. Pure. */
import { createHash } from "node:crypto";
import { type Declaration, type ServerDeclaration, systemsOn } from "../config/declaration";
import type { Network, Offloads, System } from "../config/types.gen";
import { declare, type HostObject } from "../host/objectType";
import { objectTypes } from "../host/objects";
import type { AttachInterface, AttachSpec } from "../host/objects/attachSpec";
import { offloadFeatures, type OffloadName, offloadNames } from "../host/objects/offloads";
import {
  type AttachPoint,
  isContainer,
  type KindContext,
  type Member,
  type NetworkContext,
  type NetworkKind,
  type Part,
  type Requirement,
  type SecretText,
  type SharedParts,
} from "../kinds/kind";
import { allKinds, hasNamespaces, kindOf } from "../kinds/registry";
import { type Family, formatAddress, formatPrefix } from "../net/cidr";
import { deviceName, hash32, macFor, ownContainers, systemContainer } from "../net/names";
import { gatewayOf, type GatewayPlan, type VpnPlan, vpnPlan } from "../vpn";
import { addressTexts, resolveMembers } from "./members";
import { networkMtuBytes } from "./mtu";
import { networkPolicies } from "./policies";
import { defaultRoute, routerSysctls, settledRoutes } from "./routers";
import { congestionControl, impairmentRequirements, serverSettings, serverSysctls } from "./serverSettings";

const { agentFolders, attach: attachSpec, attached, namespaceSystem } = objectTypes;

export interface NetworkPlan {
  readonly network: Network;
  readonly mtuBytes: number;
  readonly nve: readonly Part[];
}

/** What the networks of a kind share on the server. */
export interface KindPlan {
  readonly kind: Network["kind"];
  readonly shared: SharedParts;
}

interface SystemBase {
  readonly system: System;
  readonly members: readonly Member[];
  /** Of all its interfaces, with prefix length. */
  readonly interfaces: readonly {
    readonly network: string;
    readonly name: string;
    readonly mac: string;
    readonly addresses: readonly string[];
  }[];
}

/** A container, joined to its networks by the agent. */
export interface ContainerSystem extends SystemBase {
  readonly container: string;
  readonly startedByAgent: boolean;
  /** Of docker's networks: those that it is joined to. */
  readonly dockerNetworks: readonly string[];
  readonly attach: HostObject<AttachSpec>;
  /** What its container is beside a system's. */
  readonly gateway?: GatewayPlan;
}

/** A namespace, of a kind that has these for systems. */
export interface BareSystem extends SystemBase {
  readonly namespace: HostObject;
}

export type SystemPlan = ContainerSystem | BareSystem;

export const isBare = (plan: SystemPlan): plan is BareSystem => "namespace" in plan;

export interface ServerPlan {
  readonly server: ServerDeclaration;
  readonly requirements: readonly Requirement[];
  readonly routing: { readonly prefixes: readonly string[]; readonly forwardsIpv6: boolean };
  /** The server's own settings. */
  readonly settings: readonly HostObject[];
  readonly agentFolders: HostObject;
  readonly kinds: readonly KindPlan[];
  readonly networks: readonly NetworkPlan[];
  readonly vpn: VpnPlan;
  /** Names of the secrets that it uses. */
  readonly secrets: readonly string[];
  readonly systems: readonly SystemPlan[];
  /** Names of images/, and archives. */
  readonly images: readonly string[];
  readonly attached: HostObject;
}

/** The reports' settings, all on. */
const virtualOffloadDefaults: Offloads = { tso: true, gso: true, gro: true, txChecksum: true, rxChecksum: true };

export function networkContext(declaration: Declaration, network: Network, server: ServerDeclaration): NetworkContext {
  return {
    declaration,
    network,
    server,
    mtuBytes: networkMtuBytes(declaration, network),
    members: resolveMembers(declaration, network).members,
    policies: networkPolicies(declaration, network),
    offloads: Object.fromEntries(Object.entries(kernelOffloads(virtualOffloads(declaration))).filter(([, on]) => !on)),
  };
}

function kernelOffloads(wanted: Offloads): Record<string, boolean> {
  return Object.fromEntries(
    offloadNames.flatMap((name: OffloadName) => {
      const on = wanted[name];
      return on === undefined ? [] : offloadFeatures[name].kernel.map((feature) => [feature, on] as const);
    }),
  );
}

const portName = ({ network, system }: Member): string => deviceName("ffv-", hash32(`${network} ${system}`).toString(16).padStart(8, "0"));

const portMac = ({ network, system }: Member): string => macFor(`port ${network} ${system}`);

const virtualOffloads = (declaration: Declaration): Offloads => ({
  ...virtualOffloadDefaults,
  ...declaration.testbed.tuning?.virtualOffloads,
});

function bareSystem(declaration: Declaration, context: NetworkContext, member: Member, system: System): BareSystem {
  const gateways = kindOf(context.network).gateways(context.network, member.server);
  const addresses = (["ipv4", "ipv6"] as const).flatMap((family) => {
    const [address, gateway] = [member.addresses[family], gateways[family]];
    return address === undefined || gateway === undefined ? [] : [{ address: formatAddress(address), gateway: formatAddress(gateway) }];
  });
  const { network, interface: name, mac } = member;
  const namespace = declare(namespaceSystem, "namespace", {
    namespace: systemContainer(system.name),
    device: name,
    port: portName(member),
    mac,
    portMac: portMac(member),
    mtuBytes: context.mtuBytes,
    addresses,
    offloads: virtualOffloads(declaration),
    sysctls: { "net.ipv4.tcp_congestion_control": congestionControl(declaration) },
  }) as HostObject;
  return { system, members: [member], interfaces: [{ network, name, mac, addresses: addressTexts(member, formatAddress) }], namespace };
}

const familyOfText = (address: string): Family => (address.includes(":") ? "ipv6" : "ipv4");

/** The image of a system's container: a name of images/, or an archive. */
export const imageOf = ({ system, gateway }: ContainerSystem): string => system.image ?? gateway?.image ?? "tools";

function attachPoint(context: NetworkContext, member: Member): AttachPoint {
  const point = kindOf(context.network).attach?.(context, member);
  if (point === undefined) throw new Error(`${member.system}: a namespace and no container cannot be in ${member.network} at once`);
  return point;
}

function attachInterface(declaration: Declaration, context: NetworkContext, member: Member, point: AttachPoint): AttachInterface {
  return {
    network: member.network,
    name: member.interface,
    hostName: portName(member),
    mac: member.mac,
    portMac: portMac(member),
    mtuBytes: context.mtuBytes,
    addresses: addressTexts(member, formatAddress),
    ...(member.asksForAddress === true && { dhcp: true }),
    // Without a prefix of the family there is no gateway to go by.
    routes: point.routes,
    // An interface on a device of the server has that one's.
    offloads: point.parent === undefined ? kernelOffloads({ ...virtualOffloads(declaration), ...point.offloads }) : {},
    portOffloads: kernelOffloads(virtualOffloads(declaration)),
    neighbours: (point.nextHops ?? []).map((address) => ({ address, mac: portMac(member) })),
    bridge: point.bridge ?? "",
    learns: point.learns,
    ...(point.floods === false && { floods: false as const }),
    hooks: point.hooks,
    ...(point.docker !== undefined && { docker: point.docker }),
    ...(point.parent !== undefined && { parent: point.parent }),
  };
}

function systemPlan(declaration: Declaration, contexts: ReadonlyMap<string, NetworkContext>, system: System): SystemPlan {
  const joined = system.networks.flatMap((membership) => {
    const context = contexts.get(membership.name);
    const member = context?.members.find((m) => m.system === system.name);
    return context === undefined || member === undefined ? [] : [{ context, member }];
  });
  const [first] = joined;
  if (first !== undefined && hasNamespaces(first.context.network)) return bareSystem(declaration, first.context, first.member, system);
  // One interface holds the default route of each family: the first that has one.
  const defaults = new Set<string>();
  const declared = settledRoutes(
    system,
    joined.map(({ context, member }) => ({ member, members: context.members })),
  );
  const ownDefaults = new Set(declared.filter(({ to }) => to === defaultRoute).map(({ via }) => familyOfText(via)));
  const points = joined.map(({ context, member }) => attachPoint(context, member));
  const interfaces = joined.map(({ context, member }, i) => {
    const iface = attachInterface(declaration, context, member, points[i] as AttachPoint);
    const isSpoken = (family: Family): boolean => ownDefaults.has(family) || defaults.has(family) || !defaults.add(family);
    const told = iface.routes.filter(({ to, via }) => to !== defaultRoute || !isSpoken(familyOfText(via)));
    const own = declared.filter(({ network }) => network === context.network.name).map(({ to, via }) => ({ to, via }));
    return { ...iface, routes: [...told, ...own] };
  });
  const container = systemContainer(system.name);
  const startedByAgent = points.some((point) => point.startedByAgent === true);
  const gateway = gatewayOf(declaration, system);
  const rules = [gateway?.guard, declaration.nftables[system.nftables ?? ""]].filter((text) => text !== undefined);
  const spec: AttachSpec = {
    system: system.name,
    container,
    sysctls: {
      "net.ipv4.tcp_congestion_control": congestionControl(declaration),
      ...(system.router === true ? routerSysctls : {}),
    },
    interfaces,
    ...(rules.length > 0 && { nftables: rules.join("\n") }),
    ...(startedByAgent && { startedByAgent }),
  };
  return {
    system,
    container,
    startedByAgent,
    dockerNetworks: interfaces.flatMap(({ docker }) => docker?.network ?? []),
    interfaces,
    attach: declare(attachSpec, "attach", spec),
    ...(gateway !== undefined && { gateway }),
    members: joined.map(({ member }) => member),
  };
}

/** The prefixes that a server routes for a network: those that have a gateway. */
function routedPrefixTexts(network: Network, server: string): string[] {
  const kind = kindOf(network);
  if (!kind.routesOnServer) return [];
  const [prefixes, gateways] = [kind.prefixes(network, server), kind.gateways(network, server)];
  return (["ipv4", "ipv6"] as const).flatMap((family) => {
    const prefix = prefixes[family];
    return prefix === undefined || gateways[family] === undefined ? [] : [formatPrefix(prefix)];
  });
}

/** What every server needs, whatever the kinds. */
export const commonRequirements: readonly Requirement[] = [
  { tool: "docker", why: "containers" },
  { tool: "ip", why: "links, addresses and routes (package iproute2)" },
  { tool: "ethtool", why: "offloads" },
  { tool: "ping", why: "testing reachability (package iputils-ping)" },
  { tool: "nsenter", why: "looking into containers (package util-linux)" },
  { kernelOption: "CONFIG_VETH", why: "the systems' interfaces" },
];

/** Once a network: the addresses of all its members are settled together. */
export function networkContexts(declaration: Declaration, server: ServerDeclaration): Map<string, NetworkContext> {
  const joined = declaration.testbed.networks.filter((network) => kindOf(network).servers(declaration, network).includes(server));
  return new Map(joined.map((network) => [network.name, networkContext(declaration, network, server)]));
}

/** Each kind of the testbed with its context on a server; also one that the server has no network of. */
export function kindContexts(
  declaration: Declaration,
  server: ServerDeclaration,
  contexts = networkContexts(declaration, server),
): { kind: NetworkKind; context: KindContext }[] {
  const used = allKinds.filter((kind) => declaration.testbed.networks.some((network) => network.kind === kind.kind));
  return used.map((kind) => {
    const networks = [...contexts.values()].filter(({ network }) => network.kind === kind.kind);
    return { kind, context: { declaration, server, networks, mtuOf: (network) => networkMtuBytes(declaration, network) } };
  });
}

function fileSecrets(files: readonly { readonly content: SecretText }[]): string[] {
  return files.flatMap((file) => file.content.flatMap((piece) => (typeof piece === "string" ? [] : [piece.secret])));
}

function partSecrets(parts: readonly Part[]): string[] {
  return parts.flatMap((part) => (isContainer(part) ? fileSecrets(part.files) : []));
}

export function planServer(declaration: Declaration, server: ServerDeclaration): ServerPlan {
  const contexts = networkContexts(declaration, server);
  const systems = systemsOn(declaration, server.name).map((system) => systemPlan(declaration, contexts, system));
  const networks = [...contexts.values()].map((context) => {
    const { network, mtuBytes } = context;
    return { network, mtuBytes, nve: kindOf(network).nve(context) };
  });
  const kinds = kindContexts(declaration, server, contexts).map(({ kind, context }): KindPlan => {
    const { authority, ...shared } = kind.shared(context);
    return { kind: kind.kind, shared: server.hub && authority !== undefined ? { ...shared, authority } : shared };
  });
  // A hub has the authority of kinds that it has no systems of.
  const authorities = new Set(kinds.flatMap(({ kind, shared }) => (shared.authority === undefined ? [] : [kind])));
  const requiring = declaration.testbed.networks.filter((network) => contexts.has(network.name) || authorities.has(network.kind));
  const parts = [
    ...kinds.flatMap(({ shared }) => [...(shared.authority?.parts ?? []), ...shared.edge, ...shared.joints]),
    ...networks.flatMap(({ nve }) => nve),
  ];
  const agentSecrets = kinds.flatMap(({ shared }) => fileSecrets(shared.agent?.files ?? []));
  const containers = systems.filter((plan): plan is ContainerSystem => !isBare(plan));
  const hash = createHash("sha256")
    .update(JSON.stringify(containers.map((s) => s.attach.spec)))
    .digest("hex")
    .slice(0, 16);
  const images = ["agent", ...containers.map(imageOf), ...parts.flatMap((part) => (isContainer(part) ? [part.image] : []))];
  const files = systems.flatMap(({ system }) => system.files ?? []);
  const gatewaySecrets = containers.flatMap(({ gateway }) => fileSecrets(gateway?.files ?? []));
  const vpn = vpnPlan(declaration, server);
  const prefixes = networks.flatMap(({ network }) => declaration.servers.flatMap(({ name }) => routedPrefixTexts(network, name)));
  return {
    server,
    routing: { prefixes: [...new Set(prefixes)].sort(), forwardsIpv6: "net.ipv6.conf.all.forwarding" in serverSysctls(declaration) },
    requirements: [
      ...commonRequirements,
      ...impairmentRequirements(declaration, server),
      ...requiring.flatMap((network) => kindOf(network).requires(network, server.name)),
      ...[...contexts.values()].flatMap(({ network, policies }) =>
        policies.resolved.selected.length === 0 ? [] : (kindOf(network).policies?.requires(network) ?? []),
      ),
      ...kinds.flatMap(({ shared }) => shared.authority?.requires ?? []),
      ...vpn.requirements,
      ...(containers.some(({ attach }) => attach.spec.nftables !== undefined)
        ? [{ tool: "nft", why: "rules of routers and gateways (package nftables)" }]
        : []),
    ],
    settings: serverSettings(declaration, server),
    agentFolders: declare(agentFolders, "agent-folders", { container: ownContainers.agent }) as HostObject,
    kinds,
    networks,
    secrets: [
      ...new Set([...files.flatMap((file) => file.secret ?? []), ...partSecrets(parts), ...agentSecrets, ...gatewaySecrets]),
    ].sort(),
    vpn,
    systems,
    images: [...new Set(images)].sort(),
    attached: declare(attached, "attached", { systems: containers.map((s) => s.system.name).sort(), plansHash: hash }) as HostObject,
  };
}
