/** The BGP speaker of a server: FRR, which takes what the kernel's bridges hold to the route servers, and what those tell to the kernel. */
import type { Declaration, ServerDeclaration } from "../../config/declaration";
import { tenantsFolder } from "../../host/objects/tenantVrf";
import { sh } from "../../host/sh";
import { ownContainers } from "../../net/names";
import type { ContainerPlan, SecretText } from "../parts";
import { asnOf, defaultHoldSeconds, gatewayMac, routerVns } from "./identifiers";

export const passwordSecret = "evpn-bgp";

export const vtepOf = (server: ServerDeclaration): string => server.underlay.ipv4.split("/")[0] ?? "";

/** The route servers' addresses, in the order of their hubs. */
export function routeServers(declaration: Declaration): string[] {
  return declaration.servers.flatMap((server) => (server.hub ? (server.underlay.routeServer ?? []) : []));
}

export const holdSecondsOf = (declaration: Declaration): number => declaration.testbed.bgp?.holdSeconds ?? defaultHoldSeconds;
export const keepaliveSecondsOf = (declaration: Declaration): number => Math.max(1, Math.floor(holdSecondsOf(declaration) / 3));

/** The VNs' own lines come from files beside: they change without a restart. */
function configuration(declaration: Declaration, server: ServerDeclaration): SecretText {
  const neighbours = routeServers(declaration);
  const timers = `${keepaliveSecondsOf(declaration)} ${holdSecondsOf(declaration)}`;
  return [
    [
      "log stdout warnings",
      // The gateways' MAC is the same everywhere: what is everywhere has no place to be advertised.
      `mac access-list gateways seq 5 permit ${gatewayMac}`,
      "route-map own deny 10",
      " match mac address gateways",
      "exit",
      "route-map own permit 20",
      "exit",
      `router bgp ${asnOf(declaration)}`,
      ` bgp router-id ${vtepOf(server)}`,
      " no bgp default ipv4-unicast",
      "",
    ].join("\n"),
    ...neighbours.flatMap((address) => [
      ` neighbor ${address} remote-as ${asnOf(declaration)}\n neighbor ${address} password `,
      { secret: passwordSecret },
      [
        "",
        ` neighbor ${address} update-source ${vtepOf(server)}`,
        ` neighbor ${address} timers ${timers}`,
        ` neighbor ${address} timers connect 2`,
        "",
      ].join("\n"),
    ]),
    [
      " address-family l2vpn evpn",
      ...neighbours.flatMap((address) => [`  neighbor ${address} activate`, `  neighbor ${address} route-map own out`]),
      "  advertise-all-vni",
      " exit-address-family",
      "exit",
      "",
    ].join("\n"),
  ];
}

/**
 * Both daemons or none: docker starts the container again where one ends. No port is listened on: sessions are opened to
 * the route servers, and vtysh comes by docker exec. zebra -s: large batches of routes need a large netlink buffer;
 * zebra -n: a VRF is a namespace, of those in the folder. A VRF and its VN are zebra's to know, the rest is bgpd's.
 */
const start = sh`
  set -u
  mkdir -p /run/frr
  # Of a life that was killed: bgpd would find a socket without zebra, and try again after ten seconds.
  rm -f /run/frr/*.api
  cat /etc/frr/speaker.conf /vni/*.conf >/etc/frr/all.conf 2>/dev/null
  sed -n '/^vrf /,/^exit-vrf/p' /etc/frr/all.conf >/etc/frr/zebra.conf
  sed '/^vrf /,/^exit-vrf/d' /etc/frr/all.conf >/etc/frr/bgpd.conf
  : >/etc/frr/vtysh.conf
  chown -R frr:frr /run/frr /etc/frr
  /usr/lib/frr/zebra "$@" -A 127.0.0.1 -P 0 -s 33554432 -f /etc/frr/zebra.conf & zebra=$!
  until [ -S /run/frr/zserv.api ]; do kill -0 "$zebra" || exit 1; sleep 0.02; done
  /usr/lib/frr/bgpd -A 127.0.0.1 -P 0 -p 0 -f /etc/frr/bgpd.conf & bgpd=$!
  trap 'kill "$bgpd"; wait "$bgpd"; kill "$zebra"; wait "$zebra"; exit 0' TERM INT
  while kill -0 "$zebra" && kill -0 "$bgpd"; do sleep 1 & wait $!; done
  exit 1
`;

const hasVrfs = (declaration: Declaration): boolean => routerVns(declaration).size > 0;

/** Both always: a folder that goes with the last VRF would go before it, since the speaker between them stays. */
export const speakerFolders = ["speaker", tenantsFolder];

export function speakerPlan(declaration: Declaration, server: ServerDeclaration): ContainerPlan {
  return {
    container: ownContainers.speaker,
    image: "frr",
    command: ["sh", "/etc/frr/start", ...(hasVrfs(declaration) ? ["-n"] : [])],
    capabilities: ["NET_ADMIN", "NET_RAW", "SYS_ADMIN"],
    files: [
      { path: "/etc/frr/speaker.conf", content: configuration(declaration, server) },
      { path: "/etc/frr/start", content: [`${start.text}\n`] },
    ],
    folders: [
      { server: "speaker", container: "/vni" },
      ...(hasVrfs(declaration) ? [{ server: tenantsFolder, container: "/run/netns", mountsFollow: true }] : []),
    ],
  };
}
