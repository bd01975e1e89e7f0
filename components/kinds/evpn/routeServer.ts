/** The route server of a hub: GoBGP, which reflects the routes of every server to every other. It is on no packet's way. */
import type { Declaration, ServerDeclaration } from "../../config/declaration";
import { awaitAddresses } from "../../host/awaitAddresses";
import { declare } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { sh } from "../../host/sh";
import { formatPrefix, parseInterfaceAddress } from "../../net/cidr";
import { ownContainers } from "../../net/names";
import type { ContainerPlan, Part } from "../parts";
import { freeTcpPort, type Requirement } from "../requirement";
import { asnOf } from "./identifiers";
import { holdSecondsOf, keepaliveSecondsOf, passwordSecret } from "./speaker";

/** A socket inside the container: who may not enter it has no way to the API. */
const socket = "/run/gobgp.sock";
const api = `unix://${socket}`;

const daemonWords = ["-f", "/etc/gobgpd.toml", "--api-hosts", api, "--pprof-disable", "--metrics-path", "", "--log-level", "info"];

/** A gobgp command, for `docker exec`. */
export const gobgpWords: readonly string[] = ["gobgp", "--target", api];

/** Prints every EVPN route as JSON. */
export const ribCommand = sh`docker exec ${ownContainers.routeServer} ${[...gobgpWords]} global rib -a evpn -j`;

function containerPlan(declaration: Declaration, address: string, servers: string): ContainerPlan {
  const asn = asnOf(declaration);
  return {
    container: ownContainers.routeServer,
    image: "gobgp",
    // A socket that a killed one left behind keeps the next from its API, and so from its configuration (3.37).
    command: ["sh", "-c", `${awaitAddresses([address]).text}\n${sh`rm -f ${socket}; exec gobgpd ${daemonWords}`.text}`],
    capabilities: [],
    folders: [],
    files: [
      {
        path: "/etc/gobgpd.toml",
        content: [
          `[global.config]
  as = ${asn}
  router-id = "${address}"
  port = ${bgpPort}
  local-address-list = ["${address}"]
[[peer-groups]]
  [peer-groups.config]
    peer-group-name = "servers"
    peer-as = ${asn}
    auth-password = "`,
          { secret: passwordSecret },
          `"
  [peer-groups.timers.config]
    hold-time = ${holdSecondsOf(declaration)}
    keepalive-interval = ${keepaliveSecondsOf(declaration)}
  [peer-groups.route-reflector.config]
    route-reflector-client = true
    route-reflector-cluster-id = "${address}"
  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = "l2vpn-evpn"
[[dynamic-neighbors]]
  [dynamic-neighbors.config]
    prefix = "${servers}"
    peer-group = "servers"
`,
        ],
      },
    ],
  };
}

const bgpPort = 179;

export const routeServerRequirements: readonly Requirement[] = [
  freeTcpPort(bgpPort, ownContainers.routeServer, "the route server of kind evpn"),
  { tool: "ss", why: "seeing who listens on the BGP port (package iproute2)" },
];

export function routeServerParts(declaration: Declaration, hub: ServerDeclaration): Part[] {
  const address = hub.underlay.routeServer;
  const underlay = parseInterfaceAddress(hub.underlay.ipv4)?.prefix;
  if (address === undefined || underlay === undefined) return [];
  return [declare(objectTypes.serviceAddress, "address", { address }) as Part, containerPlan(declaration, address, formatPrefix(underlay))];
}
