/** What gateways and tunnels come to on their servers. Pure. */
import { createHash } from "node:crypto";
import { type Declaration, firstHub, type ServerDeclaration, systemsOn } from "../../config/declaration";
import type { System } from "../../config/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { type Leaf, leafBundle } from "../../host/objects/certificates";
import type { Observation } from "../../kinds/observation";
import type { KindSecret } from "../../kinds/parts";
import type { Requirement } from "../../kinds/requirement";
import { formatAddress, formatPrefix } from "../../net/cidr";
import { systemContainer } from "../../net/names";
import type { ServerAddition, SystemAddition } from "../capability";
import { guardText, prohibited } from "./guard";
import { gatewayFolder, vpnGateway } from "./objects/gateway";
import { vpnTunnels } from "./objects/tunnels";
import { vpnObservation } from "./observations";
import {
  againText,
  authOf,
  bundleFile,
  configFolder,
  connectionText,
  daemonText,
  pskFile,
  pskText,
  startsText,
  startText,
  swanctlText,
} from "./swanctl";
import {
  addressesOf,
  certificateOf,
  connectionsOf,
  connectionsOfGateway,
  gatewaysOf,
  isGateway,
  type OwnConnection,
  pskOf,
  sitesOf,
} from "./tunnels";

const { certificates } = objectTypes;

/** A folder of its own: who is let in by it is no client of the other authority's stores. */
const authorityFolder = "vpn-ca";

function gatewayPlan(declaration: Declaration, system: System, connections: readonly OwnConnection[]): SystemAddition {
  const { vpn } = declaration.testbed;
  const isCertified = authOf(vpn) === "certificates";
  // A site may have no tunnel yet.
  const hasPsks = !isCertified && connections.length > 0;
  const addresses = addressesOf(declaration, system);
  const own = sitesOf(declaration).filter(({ gateway }) => gateway === system.name);
  const config = declare(vpnGateway, "gateway", {
    system: system.name,
    container: systemContainer(system.name),
    files: {
      start: startText(vpn?.dataPlane ?? "auto", addresses.map(formatAddress)),
      again: againText,
      starts: startsText(connections),
      "strongswan.conf": daemonText(),
      "swanctl.conf": swanctlText(hasPsks),
    },
    connections: Object.fromEntries(connections.map((connection) => [connection.name, connectionText(connection, system.name, vpn)])),
  });
  return {
    // Called as its site, or where it is the gateway of none or of several as itself.
    component: { type: "flipflap:vpn:VpnSite", name: `${own.length === 1 && own[0] !== undefined ? own[0].name : system.name}-site` },
    system: system.name,
    before: config as HostObject,
    after: tunnelsObject(declaration, system, connections),
    guard: guardText(connections),
    prohibited: prohibited(connections, addresses),
    image: system.image ?? "strongswan",
    command: ["sh", `${configFolder}/start`],
    capabilities: ["NET_ADMIN", "NET_RAW", "NET_BIND_SERVICE"],
    devices: ["/dev/net/tun"],
    folder: { server: gatewayFolder(system.name), container: configFolder },
    files: [
      ...(hasPsks ? [{ path: pskFile, content: pskText(connections, system.name) }] : []),
      ...(isCertified ? [{ path: bundleFile, content: [{ secret: certificateOf(system.name) }] }] : []),
    ],
  };
}

/** Undefined where a system is no gateway. */
export function gatewayOf(declaration: Declaration, system: System): SystemAddition | undefined {
  if (!isGateway(declaration, system.name)) return undefined;
  return gatewayPlan(declaration, system, connectionsOfGateway(connectionsOf(declaration), system.name));
}

function tunnelsObject(declaration: Declaration, system: System, connections: readonly OwnConnection[]): HostObject {
  const serverOf = (name: string): string | undefined => declaration.testbed.systems.find((one) => one.name === name)?.server;
  const texts = connections.map((connection) => connectionText(connection, system.name, declaration.testbed.vpn));
  return declare(vpnTunnels, "tunnels", {
    container: systemContainer(system.name),
    tunnels: connections.flatMap(({ name, peer, children }) =>
      children.map(({ carried, local, remote }) => ({
        name: carried.name,
        connection: name,
        local: local.map(formatPrefix),
        remote: remote.map(formatPrefix),
        isAwaited: serverOf(peer.gateway) === system.server,
      })),
    ),
    planHash: createHash("sha256").update(texts.join("")).digest("hex").slice(0, 16),
  }) as HostObject;
}

function authority(declaration: Declaration, gateways: readonly System[]): ServerAddition["authority"] {
  if (authOf(declaration.testbed.vpn) === "psk") return undefined;
  const leaves = gateways.map(({ name }): Leaf => ({ name, addresses: [], uses: ["serverAuth", "clientAuth"] }));
  return {
    component: "VpnAuthority",
    parts: [declare(certificates, "certificates", { folder: authorityFolder, leaves }) as HostObject],
  };
}

export function serverAddition(declaration: Declaration, server: ServerDeclaration): ServerAddition {
  const gateways = gatewaysOf(declaration);
  const here = gateways.filter((gateway) => gateway.server === server.name);
  const made = firstHub(declaration) === server ? authority(declaration, gateways) : undefined;
  const needsKernel = declaration.testbed.vpn?.dataPlane === "kernel";
  return {
    settings: [],
    ...(made !== undefined && { authority: made }),
    requirements: [
      ...(here.length === 0 ? [] : vpnRequirements),
      ...(here.length > 0 && needsKernel ? kernelRequirements : []),
      ...(made === undefined ? [] : [{ tool: "openssl", why: "the gateways' certificates" }]),
    ],
  };
}

export const vpnRequirements: readonly Requirement[] = [
  { kernelOption: "CONFIG_TUN", why: "gateways of tunnels" },
  { kernelOption: "CONFIG_XFRM_USER", why: "gateways of tunnels" },
];

export const kernelRequirements: readonly Requirement[] = ["CONFIG_INET_ESP", "CONFIG_INET6_ESP"].map((kernelOption) => ({
  kernelOption,
  why: "vpn.dataPlane: kernel; dataPlane: user does without",
}));

/** Random words for each pair of gateways, or what their authority made. */
export function vpnSecrets(declaration: Declaration): KindSecret[] {
  if (authOf(declaration.testbed.vpn) === "psk")
    return connectionsOf(declaration).map((connection) => ({ name: pskOf(connection), length: 48 }));
  return gatewaysOf(declaration).map(({ name }) => ({ name: certificateOf(name), file: leafBundle(name, authorityFolder) }));
}

export function vpnObservations(declaration: Declaration, server: ServerDeclaration): Observation[] {
  const here = systemsOn(declaration, server.name).filter(({ name }) => isGateway(declaration, name));
  const connections = connectionsOf(declaration);
  return here.length === 0
    ? []
    : [vpnObservation(here.map(({ name }) => ({ gateway: name, connections: connectionsOfGateway(connections, name) })))];
}
