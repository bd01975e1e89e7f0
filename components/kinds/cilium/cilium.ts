/** `kind: cilium`: the real Cilium on each server, without Kubernetes, with its docker plugin and the hub's etcd. */
import { type Declaration, firstHub, isGuarded, linksOf, type ServerDeclaration, serversOf } from "../../config/declaration";
import type { CiliumNetwork } from "../../config/types.gen";
import { awaitAddresses } from "../../host/awaitAddresses";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { leafBundle } from "../../host/objects/certificates";
import { cgroupFile, ciliumHost, ciliumRun, pluginSockets } from "../../host/objects/ciliumSite";
import { bpffs } from "../../host/objects/programs";
import { formatAddress, formatPrefix } from "../../net/cidr";
import { dockerNetwork, ownContainers } from "../../net/names";
import type { KindContext, NetworkContext } from "../contexts";
import { etcdAuthority, etcdClient, etcdEndpoints } from "../etcd";
import type { NetworkKind } from "../kind";
import type { ContainerPlan, Part, SharedParts } from "../parts";
import { acrossServers, onServer, type Waypoint } from "../path";
import type { Requirement } from "../requirement";
import { observations } from "./observations";
import { ciliumEnforcer, importedBy, isPoliced, selectorsOf } from "./policies";
import { ciliumNetworks, gatewayOf, nobodyOf, prefixes, prefixOf, rangeOf } from "./prefixes";
import { ciliumRules } from "./rules";

const { ciliumNetwork, ciliumParting, ciliumPolicy, ciliumSite } = objectTypes;

type Context = NetworkContext<CiliumNetwork>;

const client = etcdClient("cilium");
const vxlanBytes = 50;

/** Policies are of the server, not of a network. */
const guardLeaf = "cilium.sh";

/** Cilium's own port of VXLAN. */
const tunnelPort = 8472;

const isNative = ({ routing }: CiliumNetwork): boolean => routing === "native";

/** The ranges of the other servers. */
const othersOf = (declaration: Declaration, server: ServerDeclaration): string[] =>
  declaration.servers.flatMap((other) => {
    const range = other === server ? undefined : rangeOf(ciliumNetworks(declaration), other.name);
    return range === undefined ? [] : [formatPrefix(range)];
  });

const rangeText = (declaration: Declaration, server: ServerDeclaration): string => {
  const range = rangeOf(ciliumNetworks(declaration), server.name);
  return range === undefined ? "" : formatPrefix(range);
};

const gatewayText = (declaration: Declaration, server: ServerDeclaration): string => {
  const range = rangeOf(ciliumNetworks(declaration), server.name);
  return range === undefined ? "" : formatAddress(gatewayOf(range));
};

/** Only what is of the network may be written of /proc/sys: Cilium would change settings of the whole machine, one of which no command puts back. */
const ownSysctls = "mount -t proc proc /mnt && mount --bind /mnt/sys/net /proc/sys/net && umount -l /mnt";

function agentContainer(context: Context): ContainerPlan {
  const { declaration, network, server, mtuBytes } = context;
  const endpoints = etcdEndpoints(declaration);
  const bundle = "/etc/cilium/etcd.pem";
  const authority = "/etc/cilium/ca.pem";
  const etcd = [
    "endpoints:",
    ...endpoints.map((url) => `  - ${url}`),
    ...["cert-file", "key-file"].map((key) => `${key}: ${bundle}`),
    `trusted-ca-file: ${authority}`,
  ];
  const routing = isNative(network)
    ? [
        ...["--routing-mode=native", "--auto-direct-node-routes=true", "--kube-proxy-replacement=true"],
        `--ipv4-native-routing-cidr=0.0.0.0/0`,
        // Else packets go from a system to the wire past all that the server filters.
        ...(isGuarded(declaration) ? ["--enable-host-legacy-routing=true"] : []),
      ]
    : ["--routing-mode=tunnel", "--tunnel-protocol=vxlan", "--kube-proxy-replacement=false"];
  // What Cilium hangs at a cgroup is hung at an empty one of ours, and not at the server's root.
  const underlay = server.underlay.ipv4.split("/")[0] ?? "";
  const start = `export K8S_NODE_NAME=${server.name} PATH=/usr/lib/llvm-14/bin:$PATH
${awaitAddresses([underlay]).text}
until [ -s ${cgroupFile} ]; do sleep 0.05; done
${ownSysctls}
awk '/BEGIN CERTIFICATE/ { n++ } n == 2' ${bundle} >${authority}
exec cilium-agent --cgroup-root="/host/cgroup/$(cat ${cgroupFile})" "$@"`;
  return {
    container: ownContainers.cilium,
    image: "cilium",
    command: [
      ...["sh", "-c", start, "cilium-agent"],
      ...["--enable-k8s=false", "--kvstore=etcd", "--kvstore-opt=etcd.config=/etc/cilium/etcd.yaml", "--identity-allocation-mode=kvstore"],
      ...routing,
      ...["--enable-ipv4=true", "--enable-ipv6=false", `--ipv4-node=${underlay}`],
      `--ipv4-range=${rangeText(declaration, server)}`,
      `--devices=${server.uplink}`,
      `--mtu=${mtuBytes}`,
      "--enable-sctp=true",
      ...["--enable-l7-proxy=false", "--enable-ipv4-masquerade=false", "--install-iptables-rules=false", "--enable-hubble=false"],
      ...["--enable-health-checking=false", "--enable-endpoint-health-checking=false"],
      // Measured: 3% of the transactions.
      ...["--bpf-events-trace-enabled=false", "--bpf-events-policy-verdict-enabled=false"],
      // A Cilium that was started anew knows no policies: without this it would let all pass until it is told them again.
      `--enable-policy=${isPoliced(declaration) ? "always" : "default"}`,
      // What tells our containers from others is no label of systems.
      "--labels=!flipflap\\.",
      ...["--lib-dir=/var/lib/cilium", `--state-dir=${ciliumRun}`, `--socket-path=${ciliumRun}/cilium.sock`],
    ],
    capabilities: ["NET_ADMIN", "SYS_ADMIN"],
    files: [
      { path: "/etc/cilium/etcd.yaml", content: [`${etcd.join("\n")}\n`] },
      { path: bundle, content: [{ secret: client }] },
    ],
    folders: [
      { server: bpffs, container: bpffs, mountsFollow: true, isWritten: true },
      { server: "/sys/fs/cgroup", container: "/host/cgroup" },
      { server: ciliumRun, container: ciliumRun, isWritten: true },
    ],
  };
}

const pluginContainer: ContainerPlan = {
  container: ownContainers.ciliumPlugin,
  image: "cilium",
  command: [
    ...["sh", "-c", `${ownSysctls}\nexec cilium-docker "$@"`, "cilium-docker"],
    ...["--cilium-api", `unix://${ciliumRun}/cilium.sock`, "--docker-host-path", "unix:///run/docker.sock"],
  ],
  capabilities: ["NET_ADMIN", "SYS_ADMIN"],
  files: [],
  folders: [
    { server: ciliumRun, container: ciliumRun, isWritten: true },
    { server: "/run/docker.sock", container: "/run/docker.sock", isWritten: true },
    { server: pluginSockets, container: pluginSockets, isWritten: true },
  ],
};

function nve(context: Context): Part[] {
  const { network, server } = context;
  const prefix = prefixOf(network, server.name);
  if (prefix === undefined) return [];
  const joined = declare(ciliumNetwork, "network", {
    dockerNetwork: dockerNetwork(network.name),
    subnet: formatPrefix(prefix),
    nobody: formatAddress(nobodyOf(prefix)),
  });
  return [joined as HostObject];
}

function shared(context: KindContext<CiliumNetwork>): SharedParts {
  const { declaration, server, networks } = context;
  const authority = firstHub(declaration) === server ? etcdAuthority(declaration, "cilium") : undefined;
  const both = authority === undefined ? {} : { authority };
  const [first] = networks;
  if (first === undefined) return { ...both, edge: [], joints: [], settled: [] };
  const site = declare(ciliumSite, "site", {
    uplink: server.uplink,
    gateway: gatewayText(declaration, server),
    others: othersOf(declaration, server),
  }) as HostObject;
  const policy = declare(ciliumPolicy, "policy", { leaf: guardLeaf, policies: importedBy(declaration) }) as HostObject;
  return {
    ...both,
    edge: [site, agentContainer(first), pluginContainer],
    joints: isPoliced(declaration) ? [policy] : [],
    settled: [],
    parting: declare(ciliumParting, "parting", {}) as HostObject,
  };
}

const requirements: readonly Requirement[] = [
  { kernelOption: "CONFIG_BPF_SYSCALL", why: "kind: cilium" },
  { kernelOption: "CONFIG_NET_CLS_BPF", why: "kind: cilium" },
  { kernelOption: "CONFIG_NET_CLS_ACT", why: "kind: cilium" },
  { kernelOption: "CONFIG_VXLAN", why: "kind: cilium" },
];

export const ciliumKind: NetworkKind<CiliumNetwork> = {
  kind: "cilium",
  rules: ciliumRules,
  variant: (network) => (isNative(network) ? "native" : "tunnel"),
  overhead: (network) => (isNative(network) ? [] : [{ name: "VXLAN", bytes: vxlanBytes }]),
  servers: serversOf,
  links: (declaration, network) => linksOf(declaration, serversOf(declaration, network)),
  prefixes,
  redirects: () => true,
  // Docker's network has the first of its own, whether or not that is what Cilium's systems route by.
  gateways: (network, server) => {
    const prefix = prefixOf(network, server);
    return prefix === undefined ? {} : { ipv4: gatewayOf(prefix) };
  },
  docker: { interface: "cilium0", mac: () => "" },
  routesOnServer: true,
  needsHub: true,
  tunnelPorts: (network) => (isNative(network) ? [] : [tunnelPort]),
  guard: ({ declaration, server }) => ({
    guarded: [
      // What came from another server and is no system's.
      { devices: [ciliumHost], gateways: [gatewayText(declaration, server)], forwards: ["lxc*"] },
      // Its systems' own: Cilium names them. LXC's bridge is somebody else's.
      {
        devices: ["lxc*"],
        isOthers: true,
        gateways: [gatewayText(declaration, server)],
        prefixes: [rangeText(declaration, server)],
        forwards: [ciliumHost],
        reaches: othersOf(declaration, server),
      },
      { devices: ["lxcbr*"], isOthers: true, open: true },
    ],
  }),
  requires: () => requirements,
  secrets: [{ name: client, file: leafBundle(client) }],
  sysctls: {},
  nve,
  shared,
  attach: (context) => ({
    learns: false,
    routes: [],
    hooks: [{ type: "cilium", args: {}, wanted: {} }],
    docker: {
      network: dockerNetwork(context.network.name),
      guard: isPoliced(context.declaration) ? guardLeaf : "",
      guardedBy: ownContainers.cilium,
    },
    // Docker gives up on a container that starts while Cilium does.
    startedByAgent: true,
  }),
  reaches: () => true,
  path: (declaration, { network, member: from }, { network: other, member: to }) => {
    if (other.kind !== "cilium") return undefined;
    // Cilium's short way from the wire into a system: past devices that nobody names.
    if (isNative(network) && !isGuarded(declaration)) return undefined;
    const across = acrossServers(declaration, from, to);
    const tunnel = (server: string): Waypoint[] => (across?.length === 0 || isNative(network) ? [] : [onServer(server, "cilium_vxlan")]);
    return across && [onServer(from.server, "lxc*"), ...tunnel(from.server), ...across, ...tunnel(to.server), onServer(to.server, "lxc*")];
  },
  experimentRules: (network, declaration) => ({ selectors: selectorsOf(declaration, network) }),
  policies: ciliumEnforcer,
  observations,
};
