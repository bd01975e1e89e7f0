/** `kind: ila`: identifier-locator addressing (reports S0 and S2). Servers translate; nothing is put around packets. */
import { type Declaration, firstHub, type ServerDeclaration, serversOf } from "../../config/declaration";
import type { IlaNetwork, Network } from "../../config/types.gen";
import type { IlaSite } from "../../host/contract/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { leafBundle } from "../../host/objects/certificates";
import { ownAddresses } from "../../host/objects/attachSpec";
import { parsePrefix } from "../../net/cidr";
import { isHalf, networkPrefix } from "../../net/ila";
import { byHandPorts, portName } from "../../net/names";
import type { KindContext, NetworkContext, Prefixes } from "../contexts";
import { etcdAuthority, etcdClient, etcdEndpoints } from "../etcd";
import type { NetworkGuard, NetworkKind } from "../kind";
import type { SharedParts } from "../parts";
import { acrossServers, portOf } from "../path";
import type { Requirement } from "../requirement";
import { backendOn, checksumOf, isTranslated, offloadsOn } from "./backends";
import { observations } from "./observations";
import { ilaRules } from "./rules";

const { ilaRegistered, ilaSite, neighbours, route, unreachable } = objectTypes;

type Context = NetworkContext<IlaNetwork>;

const client = etcdClient("ila");
const bundlePath = "/etc/flipflap/ila.pem";

/** Systems route by it; their server's end answers. */
const nextHop = "fe80::1";

/** bpf/abi/ila.h: what the server's own stack sends to SIR addresses is known by this MAC. */
const exit = { address: "fe80::f1:1a", mac: "02:ff:11:a0:00:01" };

const defaultLeaseSeconds = 4;
const defaultCapacity = 131072;

function prefixes({ sir, vn }: IlaNetwork): Prefixes {
  const prefix = parsePrefix(sir);
  return prefix !== undefined && isHalf(prefix) ? { ipv6: networkPrefix(prefix, vn) } : {};
}

const addressOf = (server: ServerDeclaration): string => server.underlay.ipv6?.split("/")[0] ?? "";

/** All that can take part: where a system goes next, the others know the way already. */
const reachable = (declaration: Declaration): ServerDeclaration[] =>
  declaration.servers.filter((server) => server.locator !== undefined && server.underlay.ipv6 !== undefined);

function siteOf({ declaration, server, networks }: KindContext<IlaNetwork>): IlaSite {
  const { testbed } = declaration;
  return {
    server: server.name,
    uplink: server.uplink,
    endpoints: etcdEndpoints(declaration),
    root: `/flipflap/${declaration.name}/ila`,
    leaseSeconds: testbed.ila?.leaseSeconds ?? defaultLeaseSeconds,
    capacity: testbed.ila?.capacity ?? defaultCapacity,
    locatorAddresses: testbed.ila?.locatorAddresses ?? false,
    servers: reachable(declaration).map((one) => ({
      name: one.name,
      locator: one.locator ?? "",
      nextHop: addressOf(one),
      ...(one.underlay.mac !== undefined && { mac: one.underlay.mac }),
    })),
    networks: networks.map(({ network, mtuBytes }) => ({
      name: network.name,
      vn: network.vn,
      sir: network.sir,
      backend: backendOn(network, server.name),
      csum: checksumOf(network),
      translate: isTranslated(network),
      mtuBytes,
      checksumOffload: offloadsOn(network, server.name).txChecksum !== false,
    })),
  };
}

/** The ways to the others' locators, and none to what is not there. */
function edge({ declaration, server }: KindContext<IlaNetwork>): HostObject[] {
  const others = reachable(declaration).filter((other) => other !== server);
  return [
    declare(unreachable, "own-locator", { to: server.locator ?? "" }),
    ...others.map((other) =>
      declare(route, `locator-${other.name}`, { to: other.locator ?? "", via: addressOf(other), device: server.uplink }),
    ),
    declare(neighbours, "exit", { device: server.uplink, purpose: "exit", entries: [{ address: exit.address, mac: exit.mac }] }),
  ] as HostObject[];
}

function nve({ network, server }: Context): HostObject[] {
  // By the kernel each system has a route of its own, and the rest is nowhere. The programs take what the stack has to say.
  const rest =
    backendOn(network, server.name) === "kernel"
      ? declare(unreachable, "sir", { to: network.sir })
      : declare(route, "sir", { to: network.sir, via: exit.address, device: server.uplink });
  return [rest as HostObject];
}

function shared(context: KindContext<IlaNetwork>): SharedParts {
  const { declaration, server, networks } = context;
  const authority = firstHub(declaration) === server ? etcdAuthority(declaration, "ila") : undefined;
  const both = authority === undefined ? {} : { authority };
  if (networks.length === 0) return { ...both, edge: [], joints: [], settled: [] };
  return {
    ...both,
    agent: {
      parts: [declare(ilaSite, "ila", siteOf(context)) as HostObject],
      files: [{ path: bundlePath, content: [{ secret: client }] }],
    },
    edge: edge(context),
    joints: [],
    settled: [declare(ilaRegistered, "registered", { endpoints: etcdEndpoints(declaration) }) as HostObject],
  };
}

/** The ports of all networks of the kind: what systems may send, and to which port, is the programs' to say, at each. */
function guard({ declaration, server }: NetworkContext<IlaNetwork>): NetworkGuard {
  const networks = new Set(declaration.testbed.networks.filter(isIla).map(({ name }) => name));
  const ports = declaration.testbed.systems.flatMap((system) =>
    system.server !== server.name
      ? []
      : system.networks.flatMap(({ name }) => (networks.has(name) ? [portName({ network: name, system: system.name })] : [])),
  );
  return { guarded: [{ devices: [...ports, byHandPorts], forwards: [server.uplink] }] };
}

const common: readonly Requirement[] = [
  { kernelOption: "CONFIG_IPV6", why: "kind: ila" },
  { kernelOption: "CONFIG_BPF_SYSCALL", why: "kind: ila, what a system may send" },
  { kernelOption: "CONFIG_NET_CLS_ACT", why: "kind: ila, what a system may send" },
  { tool: "tc", why: "kind: ila on kernels before 6.6 (package iproute2)" },
];

const byKernel: Requirement = {
  kernelOption: "CONFIG_IPV6_ILA",
  why: "kind: ila, backend: kernel; write backend: ebpf, which translates without it",
};

function requires(network: IlaNetwork, server?: string): Requirement[] {
  const isByKernel = server === undefined ? network.backend === "kernel" : backendOn(network, server) === "kernel";
  return [...common, ...(isByKernel && isTranslated(network) ? [byKernel] : [])];
}

export const isIla = (network: Network): network is IlaNetwork => network.kind === "ila";

export const ilaKind: NetworkKind<IlaNetwork> = {
  kind: "ila",
  rules: ilaRules,
  variant: (network) =>
    [
      `vn ${network.vn}`,
      isTranslated(network) ? checksumOf(network) : "not translated",
      ...new Set([network.backend ?? "ebpf", ...Object.values(network.backends ?? {})]),
    ].join(" "),
  overhead: () => [],
  servers: serversOf,
  // All of the testbed: where its systems sit today does not change the MTU, so that they can move.
  links: ({ testbed }) => testbed.links,
  prefixes,
  gateways: () => ({}),
  membersStandAlone: true,
  routesOnServer: true,
  needsHub: true,
  guard,
  requires,
  secrets: [{ name: client, file: leafBundle(client) }],
  sysctls: {},
  nve,
  shared,
  attach: ({ network, server }) => ({
    learns: false,
    nextHops: [nextHop],
    // No default route: a network leads to its own systems only.
    routes: [{ to: network.sir, via: nextHop }],
    hooks: [{ type: "ila", args: {}, wanted: { neighbours: ownAddresses, ila: "on" } }],
    offloads: offloadsOn(network, server.name),
  }),
  guardsPorts: true,
  path: (declaration, { network, member }, to) => {
    if (network !== to.network || declaration.servers.some(({ name }) => backendOn(network, name) === "kernel")) return undefined;
    const across = acrossServers(declaration, member, to.member);
    return across && [portOf(member), ...across];
  },
  reaches: () => true,
  observations,
};
