/** What strongSwan is told: files of swanctl's syntax. Pure. */
import type { Vpn } from "../../config/types.gen";
import { awaitAddresses } from "../../host/awaitAddresses";
import type { SecretText } from "../../kinds/parts";
import { formatAddress, formatPrefix } from "../../net/cidr";
import { hash32 } from "../../net/names";
import { type OwnConnection, pskOf } from "./tunnels";

const defaults = {
  auth: "psk",
  ike: ["aes128gcm16-prfsha256-x25519"],
  esp: ["aes128gcm16-x25519"],
  dpdSeconds: 2,
  rekeySeconds: 3600,
} as const;

export const authOf = (vpn: Vpn | undefined): NonNullable<Vpn["auth"]> => vpn?.auth ?? defaults.auth;

/** Where a gateway's container has what follows; the first is a folder of the server. */
export const configFolder = "/etc/flipflap-vpn";
export const pskFile = "/etc/flipflap-psk.conf";
export const bundleFile = "/etc/flipflap-bundle.pem";

/** A gateway's name to others. With certificates: the subject of its own. */
const identity = (vpn: Vpn | undefined, gateway: string): string => (authOf(vpn) === "psk" ? gateway : `"O=flipflap, CN=${gateway}"`);

type Section = readonly (string | { readonly title: string; readonly lines: Section })[];

function render(section: Section, indent = ""): string[] {
  return section.flatMap((line) =>
    typeof line === "string" ? [`${indent}${line}`] : [`${indent}${line.title} {`, ...render(line.lines, `${indent}  `), `${indent}}`],
  );
}

export function connectionText(connection: OwnConnection, gateway: string, vpn: Vpn | undefined): string {
  const side = (name: string): string[] =>
    authOf(vpn) === "psk" ? ["auth = psk", `id = ${identity(vpn, name)}`] : ["auth = pubkey", `id = ${identity(vpn, name)}`];
  const children = connection.children.map(({ carried, starts, local, remote }) => ({
    title: carried.name,
    lines: [
      `local_ts = ${local.map(formatPrefix).join(", ")}`,
      `remote_ts = ${remote.map(formatPrefix).join(", ")}`,
      `esp_proposals = ${(carried.tunnel.esp ?? defaults.esp).join(", ")}`,
      "mode = tunnel",
      // Those that strongSwan (5.9.8) gives a tunnel that it makes anew may be another's, and packets are dropped for that.
      `reqid = ${1 + (hash32(carried.name) % 0xfffffff)}`,
      `rekey_time = ${carried.tunnel.rekeySeconds ?? defaults.rekeySeconds}s`,
      // Both ends at once would make two of each: one starts, and starts again; the other answers.
      ...(starts
        ? ["start_action = start", "close_action = start", "dpd_action = restart"]
        : ["start_action = none", "dpd_action = clear"]),
    ],
  }));
  const section: Section = [
    {
      title: "connections",
      lines: [
        {
          title: connection.name,
          lines: [
            "version = 2",
            `local_addrs = ${formatAddress(connection.own)}`,
            `remote_addrs = ${formatAddress(connection.peer.address)}`,
            `proposals = ${(vpn?.ike ?? defaults.ike).join(", ")}`,
            `dpd_delay = ${vpn?.dpdSeconds ?? defaults.dpdSeconds}s`,
            "keyingtries = 0",
            "unique = replace",
            "mobike = no",
            { title: "local", lines: [...side(gateway), ...(authOf(vpn) === "psk" ? [] : ["certs = gateway.pem"])] },
            { title: "remote", lines: side(connection.peer.gateway) },
            { title: "children", lines: children },
          ],
        },
      ],
    },
  ];
  return [...render(section), ""].join("\n");
}

export function pskText(connections: readonly OwnConnection[], gateway: string): SecretText {
  return connections.flatMap((connection) => [
    `secrets {\n  ike-${connection.name} {\n    id-1 = ${gateway}\n    id-2 = ${connection.peer.gateway}\n    secret = "`,
    { secret: pskOf(connection) },
    '"\n  }\n}\n',
  ]);
}

/** The answers of a peer that was cut off are awaited for three and a half seconds, not for the minutes of strongSwan's own. */
const retransmission = ["retransmit_tries = 3", "retransmit_timeout = 0.5", "retransmit_base = 1.4"];

/** They listen, forward multicast or answer for others on their own account. */
const unwanted = ["bypass-lan", "dhcp", "eap-radius", "farp", "forecast", "ha"];

export const planeFile = "/run/flipflap-plane";

export function daemonText(): string {
  return [
    "charon-systemd {",
    ...[
      ...retransmission,
      "make_before_break = yes",
      // Not stdout, which is written by the block. What each packet holds is for who sets enc or net to 1.
      "filelog {",
      "  stderr {",
      "    path = stderr",
      "    default = 1",
      "    enc = 0",
      "    net = 0",
      "    ike_name = yes",
      "  }",
      "}",
      "start-scripts {",
      "  load = /usr/sbin/swanctl --load-all --noprompt",
      "}",
      "plugins {",
      ...unwanted.map((plugin) => `  ${plugin} {\n      load = no\n    }`),
      `  include ${planeFile}.conf`,
      "}",
    ].map((line) => `  ${line}`),
    "}",
    // Of its own list Debian has half in other packages, and it complains of each.
    "swanctl {",
    "  load = random openssl pem pkcs1 pkcs8 x509 pubkey",
    "}",
    "",
  ].join("\n");
}

/** strongSwan's own ESP: what it sends itself must not go into its tunnel, nor may it refuse a gateway's own address for a tunnel's end. */
const userPlane = `kernel-libipsec {
  load = yes
  allow_peer_ts = yes
}
kernel-netlink {
  fwmark = !0x42
}
socket-default {
  fwmark = 0x42
}`;

/**
 * What a gateway's container runs: it waits for its interfaces, sees what the kernel can, and becomes strongSwan. With an
 * address missing, kernel-libipsec (5.9.8) brings a tunnel up and makes no route to it, for good.
 */
export function startText(wanted: NonNullable<Vpn["dataPlane"]>, addresses: readonly string[]): string {
  return `set -eu
${awaitAddresses(addresses).text}
esp() {
  for family in "127.0.0.77" "::77"; do
    ip xfrm state add src "$family" dst "$family" proto esp spi 0x77 mode tunnel aead "rfc4106(gcm(aes))" 0x0102030405060708090a0b0c0d0e0f1011121314 128 2>/dev/null || return 1
    ip xfrm state delete src "$family" dst "$family" proto esp spi 0x77
  done
}
plane=${wanted}
if [ "$plane" = auto ]; then if esp; then plane=kernel; else plane=user; fi; fi
if [ "$plane" = kernel ] && ! esp; then echo "vpn.dataPlane is kernel, and this kernel has no ESP (CONFIG_INET_ESP, CONFIG_INET6_ESP)" >&2; exit 1; fi
echo "$plane" >${planeFile}
if [ "$plane" = user ]; then cat >${planeFile}.conf <<'EOF'
${userPlane}
EOF
else : >${planeFile}.conf; fi
if [ -e ${bundleFile} ]; then
  umask 077
  awk '/-----BEGIN/ { n++ } { print > ("/tmp/part" n ".pem") }' ${bundleFile}
  mv /tmp/part1.pem /etc/swanctl/x509/gateway.pem
  mv /tmp/part2.pem /etc/swanctl/private/gateway.pem
  mv /tmp/part3.pem /etc/swanctl/x509ca/authority.pem
fi
cp ${configFolder}/strongswan.conf /etc/strongswan.d/zz-flipflap.conf
cp ${configFolder}/swanctl.conf /etc/swanctl/swanctl.conf
while sleep ${againSeconds}; do sh ${configFolder}/again; done >/dev/null 2>&1 &
exec charon-systemd
`;
}

/** How soon a tunnel is tried again that its peer has refused, which strongSwan does not do by itself. */
const againSeconds = 3;

/** One look at the tunnels that this gateway starts: those that are not there, nor on their way, are started. */
export const againText = `[ -s ${configFolder}/starts ] || exit 0
sas=$(swanctl --list-sas) || exit 0
while read -r connection child; do
  case $sas in
    "$connection: #"*) ;;
    *"
$connection: #"*) ;;
    *) swanctl --initiate --child "$child" --timeout 2; continue ;;
  esac
  if printf '%s\\n' "$sas" | grep -qE "^$connection: #[0-9]+, CONNECTING|^  $child: #"; then continue; fi
  swanctl --initiate --child "$child" --timeout 2
done <${configFolder}/starts
`;

/** "CONNECTION CHILD" a line. */
export const startsText = (connections: readonly OwnConnection[]): string =>
  connections
    .flatMap(({ name, children }) => children.flatMap(({ starts, carried }) => (starts ? [`${name} ${carried.name}\n`] : [])))
    .join("");

export const swanctlText = (hasPsks: boolean): string =>
  [`include ${configFolder}/connections/*.conf`, ...(hasPsks ? [`include ${pskFile}`] : []), ""].join("\n");
