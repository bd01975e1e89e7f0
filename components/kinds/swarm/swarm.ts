/** `kind: swarm`: attachable overlay networks of Docker Swarm (report S0), with policies in the overlay's own namespace. */
import { type Declaration, firstHub, linksOf, serversOf } from "../../config/declaration";
import type { SwarmNetwork } from "../../config/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { guardLeaf, swarmMark } from "../../host/objects/swarm";
import { joinFile, swarmPort } from "../../host/objects/swarmManager";
import { sh } from "../../host/sh";
import { formatAddress, parsePrefix } from "../../net/cidr";
import { dockerNetwork } from "../../net/names";
import type { KindContext, NetworkContext, Prefixes } from "../contexts";
import type { NetworkKind } from "../kind";
import type { ContainerPlan, Part, SharedParts } from "../parts";
import { acrossServers, type Waypoint } from "../path";
import type { Requirement } from "../requirement";
import { netfilterOf, setPrefix, variantOf } from "./netfilter";
import { observations } from "./observations";
import { overlayEnforcer } from "./policies";
import { swarmRules } from "./rules";
import { gatewayOf, ownRangeText, systemsHalf } from "./subnet";

const { overlay, swarmJoined, swarmManager, swarmNetwork, swarmNode } = objectTypes;

type Context = NetworkContext<SwarmNetwork>;

const joinSecret = "swarm-join";
const joinPath = "/etc/flipflap/swarm-join";

/** VXLAN of docker's overlays, beside that of other kinds (4789). */
const dataPort = 4788;

/** A name that no system's container has. */
const holderOf = (network: SwarmNetwork): string => `ff_holder_${network.name}`;

const hubAddress = (declaration: Declaration): string => firstHub(declaration)?.underlay.ipv4.split("/")[0] ?? "";

function prefixes({ subnet }: SwarmNetwork): Prefixes {
  const ipv4 = parsePrefix(subnet);
  return ipv4 === undefined ? {} : { ipv4 };
}

function holder(network: SwarmNetwork): ContainerPlan {
  return {
    container: holderOf(network),
    image: "agent",
    // Nothing but to be there: a namespace lives as long as somebody is in its network.
    command: ["/agent", "hold"],
    capabilities: [],
    files: [],
    folders: [],
    dockerNetwork: dockerNetwork(network.name),
  };
}

function nve(context: Context): Part[] {
  const { network, offloads } = context;
  const policy = netfilterOf(context);
  const object = declare(overlay, "overlay", {
    dockerNetwork: dockerNetwork(network.name),
    variant: variantOf(network),
    setPrefix: setPrefix(network),
    ...(policy !== undefined && { policy }),
    offloads,
  });
  return [object as HostObject, holder(network)];
}

function authority({ declaration, server, mtuOf }: KindContext<SwarmNetwork>): SharedParts["authority"] {
  const all = declaration.testbed.networks.filter((network): network is SwarmNetwork => network.kind === "swarm");
  const parts = all.map((network) => {
    const spec = {
      dockerNetwork: dockerNetwork(network.name),
      subnet: network.subnet,
      ownRange: ownRangeText(network.subnet),
      mtuBytes: mtuOf(network),
    };
    return declare(swarmNetwork, `network-${network.name}`, spec) as HostObject;
  });
  const manager = declare(swarmManager, "manager", { address: server.underlay.ipv4.split("/")[0] ?? "", dataPort }) as HostObject;
  return {
    component: "SwarmManager",
    parts: [manager, ...parts],
    requires: [noForeignSwarm],
  };
}

const noForeignSwarm: Requirement = {
  probe: sh`
    if [ ! -e "$folder/saved/${swarmMark}" ] && [ "$(docker info -f '{{.Swarm.LocalNodeState}}' 2>/dev/null)" != inactive ]; then
      lacks docker "it is in a swarm that is not ours; leave that (docker swarm leave), or put the systems of kind swarm on other servers"
    fi
  `,
  why: "kind: swarm",
};

function shared(context: KindContext<SwarmNetwork>): SharedParts {
  const { declaration, server, networks } = context;
  const isHub = firstHub(declaration) === server;
  const both = isHub ? { authority: authority(context) } : {};
  if (networks.length === 0) return { ...both, edge: [], joints: [], settled: [] };
  const node = declare(swarmNode, "swarm", {
    manager: `${hubAddress(declaration)}:${swarmPort}`,
    address: server.underlay.ipv4.split("/")[0] ?? "",
  }) as HostObject;
  return {
    ...both,
    ...(isHub ? {} : { agent: { parts: [node], files: [{ path: joinPath, content: [{ secret: joinSecret }] }] } }),
    edge: [declare(swarmJoined, "joined", {}) as HostObject],
    joints: [],
    settled: [],
  };
}

export const swarmKind: NetworkKind<SwarmNetwork> = {
  kind: "swarm",
  rules: swarmRules,
  variant: () => "overlay",
  overhead: () => [{ name: "VXLAN", bytes: 50 }],
  servers: serversOf,
  links: (declaration, network) => linksOf(declaration, serversOf(declaration, network)),
  prefixes,
  pools: (network) => {
    const { ipv4 } = prefixes(network);
    return ipv4 === undefined ? {} : { ipv4: systemsHalf(ipv4) };
  },
  gateways: (network) => {
    const { ipv4 } = prefixes(network);
    return ipv4 === undefined ? {} : { ipv4: gatewayOf(ipv4) };
  },
  docker: {
    interface: "eth0",
    mac: (address) =>
      `02:42:${formatAddress(address)
        .split(".")
        .map((byte) => Number(byte).toString(16).padStart(2, "0"))
        .join(":")}`,
  },
  routesOnServer: false,
  needsHub: true,
  // No guard of its own: its systems have no way to the server, an overlay is internal.
  bridges: true,
  tunnelPorts: () => [dataPort],
  requires: () => [{ kernelOption: "CONFIG_VXLAN", why: "kind: swarm" }, noForeignSwarm],
  secrets: [{ name: joinSecret, file: joinFile }],
  sysctls: {},
  nve,
  shared,
  // Docker numbers the ends in an overlay's namespace as systems come.
  path: (declaration, { network, member: from }, { network: other, member: to }) => {
    const across = other === network ? acrossServers(declaration, from, to) : undefined;
    const inOverlay = (server: string, device: string): Waypoint => ({ server, namespace: dockerNetwork(network.name), device });
    const tunnel = (server: string): Waypoint[] => (across?.length === 0 ? [] : [inOverlay(server, "vxlan*")]);
    return (
      across && [inOverlay(from.server, "veth*"), ...tunnel(from.server), ...across, ...tunnel(to.server), inOverlay(to.server, "veth*")]
    );
  },
  attach: ({ network }) => ({
    learns: false,
    routes: [],
    hooks: [],
    docker: { network: dockerNetwork(network.name), guard: guardLeaf(dockerNetwork(network.name)), holder: holderOf(network) },
    // After the rules; and docker gives up on a container that starts before its swarm does.
    startedByAgent: true,
  }),
  reaches: () => true,
  experimentRules: (network) => ({ overlay: dockerNetwork(network.name) }),
  policies: overlayEnforcer,
  observations,
};
