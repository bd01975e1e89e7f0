/** Systems of a server as data: containers with their interfaces, or namespaces. Pure. */
import type { SystemAddition } from "../capabilities/capability";
import { additionOf, hooksOf } from "../capabilities/registry";
import type { Declaration } from "../config/declaration";
import type { System } from "../config/types.gen";
import type { AttachInterface, AttachPlan } from "../host/contract/types.gen";
import { declare, type HostObject } from "../host/objectType";
import { objectTypes } from "../host/objects";
import type { Member, NetworkContext } from "../kinds/contexts";
import type { AttachPoint } from "../kinds/kind";
import { addressTexts } from "../kinds/members";
import { hasNamespaces, kindOf } from "../kinds/registry";
import { type Family, formatAddress, formatPrefix } from "../net/cidr";
import { macFor, portName, systemContainer } from "../net/names";
import { kernelOffloads, virtualOffloads } from "./contexts";
import { defaultRoute, hostSysctls, routerSysctls, settledRoutes } from "./routers";
import { congestionControl } from "./serverSettings";

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
  readonly attach: HostObject<AttachPlan>;
  /** What its container is beside a system's. */
  readonly addition?: SystemAddition;
}

/** A namespace, of a kind that has these for systems. */
export interface BareSystem extends SystemBase {
  readonly namespace: HostObject;
}

export type SystemPlan = ContainerSystem | BareSystem;

export const isBare = (plan: SystemPlan): plan is BareSystem => "namespace" in plan;

const { attach: attachSpec, namespaceSystem } = objectTypes;

const portMac = ({ network, system }: Member): string => macFor(`port ${network} ${system}`);

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

const defaultProcesses = 4096;

const familyOfText = (address: string): Family => (address.includes(":") ? "ipv6" : "ipv4");

/** The image of a system's container: a name of images/, or an archive. */
export const imageOf = ({ system, addition }: ContainerSystem): string => system.image ?? addition?.image ?? "tools";

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
    hooks: [...hooksOf(context, member), ...point.hooks],
    ...(point.docker !== undefined && { docker: point.docker }),
    ...(point.parent !== undefined && { parent: point.parent }),
    ...(point.parentIdentity !== undefined && { parentIdentity: point.parentIdentity }),
  };
}

export function systemPlan(declaration: Declaration, contexts: ReadonlyMap<string, NetworkContext>, system: System): SystemPlan {
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
  // What is declared comes before what is told.
  const hasDefault = ownDefaults.has("ipv4") || defaults.has("ipv4");
  const asking = interfaces.findIndex(({ dhcp }) => dhcp === true);
  const settled = interfaces.map((one, i) => (i === asking && !hasDefault ? { ...one, dhcpRoute: true } : one));
  const container = systemContainer(system.name);
  const startedByAgent = points.some((point) => point.startedByAgent === true);
  const addition = additionOf(declaration, system);
  // The guard last: a file may begin with "flush ruleset", as those of distributions do.
  const rules = [declaration.nftables[system.nftables ?? ""], addition?.guard].filter((text) => text !== undefined);
  const prohibited = (addition?.prohibited ?? []).map(formatPrefix);
  const spec: AttachPlan = {
    system: system.name,
    container,
    processes: system.limits?.processes ?? defaultProcesses,
    sysctls: {
      "net.ipv4.tcp_congestion_control": congestionControl(declaration),
      // What docker sets up is its own affair.
      ...(system.router === true ? routerSysctls : points.some(({ docker }) => docker !== undefined) ? {} : hostSysctls),
    },
    interfaces: settled,
    ...(rules.length > 0 && { nftables: rules.join("\n") }),
    ...(prohibited.length > 0 && { prohibited }),
    ...(startedByAgent && { startedByAgent }),
  };
  return {
    system,
    container,
    startedByAgent,
    dockerNetworks: interfaces.flatMap(({ docker }) => docker?.network ?? []),
    interfaces,
    attach: declare(attachSpec, "attach", spec),
    ...(addition !== undefined && { addition }),
    members: joined.map(({ member }) => member),
  };
}
