/**
 * What makes a tenant's router one of several that BGP joins (symmetric routing): a VN of its own between the routers,
 * and a VRF of the speaker. The VRF is the router's namespace, so the kernel needs no VRF devices.
 */
import { type IpLink, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { sh } from "../sh";
import { askSpeaker, giveToSpeaker, type ShownVni, shownVni, speakerSections, takeFromSpeaker, tellSpeaker } from "./speakerFile";

export interface TenantVrfSpec {
  /** The router's. */
  readonly namespace: string;
  readonly vni: number;
  /** The underlay address that its packets are sent from. */
  readonly local: string;
  readonly port: number;
  /** The router's as the other routers know it. */
  readonly mac: string;
  readonly mtuBytes: number;
  readonly asn: number;
  readonly routeDistinguisher: string;
  readonly routeTarget: string;
}

/** Where the speaker looks for namespaces: below the stack's folder. */
export const tenantsFolder = "tenants";

/** In the router's namespace, in the order in which packets leave by them. */
export const vrfDevices = ["l3-bridge", "l3-vxlan"] as const;
const [bridge, tunnel] = vrfDevices;

const file = (spec: TenantVrfSpec): string => `vrf-${spec.namespace}.conf`;

function lines({ namespace, vni, asn, local, routeDistinguisher, routeTarget }: TenantVrfSpec): string[] {
  const families = ["ipv4", "ipv6"];
  return [
    `vrf ${namespace}`,
    ` vni ${vni}`,
    "exit-vrf",
    `router bgp ${asn} vrf ${namespace}`,
    ` bgp router-id ${local}`,
    " no bgp default ipv4-unicast",
    ...families.flatMap((family) => [` address-family ${family} unicast`, "  redistribute connected", " exit-address-family"]),
    " address-family l2vpn evpn",
    ...families.map((family) => `  advertise ${family} unicast`),
    `  rd ${routeDistinguisher}`,
    `  route-target import ${routeTarget}`,
    `  route-target export ${routeTarget}`,
    " exit-address-family",
    "exit",
  ];
}

const untoldWords = ({ namespace, asn, vni }: TenantVrfSpec): string[] => [
  `no router bgp ${asn} vrf ${namespace}`,
  `vrf ${namespace}`,
  `no vni ${vni}`,
  "exit-vrf",
];

interface ShownVrfVni extends ShownVni {
  readonly state?: string;
}

/** Lazily: the speaker holds what it was shown. */
const hide = sh`hide() { umount -l "$shown" 2>/dev/null || :; }`;

export const tenantVrf: ObjectType<TenantVrfSpec> = {
  type: "tenantVrf",
  identity: ({ namespace, vni, local, port, asn }) => [namespace, String(vni), local, String(port), String(asn)],
  ensure: (spec, owner, name) => sh`
    namespace=${spec.namespace}
    ${tellSpeaker}
    ${hide}
    inside() { ip -n "$namespace" "$@"; }
    has() { inside link show dev "$1" >/dev/null 2>&1; }
    shown="$folder/${tenantsFolder}/$namespace"
    [ -e "/run/netns/$namespace" ] || fail "$namespace: the router's namespace is missing; flipflap repair makes it"
    # A namespace that was made anew is shown anew: the speaker looks at what appears.
    if [ "$(stat -Lc %i "/run/netns/$namespace")" != "$(stat -c %i "$shown" 2>/dev/null)" ]; then
      hide
      rm -f "$shown"
      touch "$shown"
      mount --bind "/run/netns/$namespace" "$shown"
    fi
    ${giveToSpeaker(file(spec), lines(spec), ownerMark(owner, name))}
    if ! inside -d -o link show dev ${tunnel} 2>/dev/null | grep -q ${`vxlan id ${spec.vni} .*local ${spec.local} .*dstport ${spec.port} .*nolearning`}; then
      if has ${tunnel}; then inside link del ${tunnel}; fi
      other=$(ip -d -o link show type vxlan | sed -n ${`s/^[0-9]*: \\([^:@]*\\).* vxlan id ${spec.vni} .*/\\1/p`})
      [ -z "$other" ] || fail "$namespace: this server has another VXLAN device with VNID ${spec.vni} ($other)"
    fi
    has ${bridge} || inside link add ${bridge} type bridge
    set_mac ${bridge} inside ${spec.mac}
    inside link set dev ${bridge} mtu ${spec.mtuBytes} addrgenmode none
    inside link set dev ${bridge} up
    # Born in the router's namespace; its packets are this server's.
    has ${tunnel} || ip link add ${tunnel} netns "$namespace" type vxlan id ${spec.vni} local ${spec.local} dstport ${spec.port} nolearning
    inside link set dev ${tunnel} mtu ${spec.mtuBytes} addrgenmode none master ${bridge}
    ip netns exec "$namespace" bridge link set dev ${tunnel} learning off neigh_suppress on
    inside link set dev ${tunnel} up
    left=60
    until tell -c ${`show evpn vni ${spec.vni} json`} 2>/dev/null | grep -q '"state":"Up"'; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || fail "$namespace: the BGP speaker does not take VNID ${spec.vni} for the router's: docker exec ff-speaker vtysh -c 'show evpn vni ${spec.vni}'"
      # zebra (8.4) may see the tunnel before its bridge, and then looks for the bridge no more; a change makes it look.
      case $left in 50 | 40 | 20) inside link set dev ${bridge} down; inside link set dev ${bridge} up ;; esac
      sleep 0.1
    done
  `,
  remove: (spec, owner, name) => sh`
    namespace=${spec.namespace}
    shown="$folder/${tenantsFolder}/$namespace"
    ${tellSpeaker}
    ${hide}
    ${takeFromSpeaker(file(spec), untoldWords(spec), ownerMark(owner, name))}
    if [ -e "$folder/saved/netns.$namespace" ] && [ -e "/run/netns/$namespace" ]; then
      for device in ${tunnel} ${bridge}; do ip -n "$namespace" link del "$device" 2>/dev/null || :; done
    fi
    hide
    rm -f "$shown"
  `,
  check: ({ namespace, vni }, owner) => sh`
    if ip -n ${namespace} link show dev ${tunnel} >/dev/null 2>&1; then
      echo "=== links"; ip -n ${namespace} -d -j link show
      echo "=== shown"; stat -Lc %i /run/netns/${namespace} "/var/lib/flipflap/"${owner.stack}/${tenantsFolder}/${namespace} 2>/dev/null | uniq | wc -l
      ${askSpeaker({ vni: `show evpn vni ${vni} json`, vnis: speakerSections.vnis })}
    fi
  `,
  wanted: (spec) => ({
    vni: spec.vni,
    local: spec.local,
    port: spec.port,
    learning: false,
    mac: spec.mac,
    mtuBytes: spec.mtuBytes,
    up: true,
    shownToSpeaker: true,
    state: "Up",
    routeDistinguisher: spec.routeDistinguisher,
    importTargets: [spec.routeTarget],
    exportTargets: [spec.routeTarget],
  }),
  found: (output, spec) => {
    const parts = sections(output);
    const links = jsonList<IpLink>(parts.get("links"));
    const [inner, outer] = [links.find((link) => link.ifname === bridge), links.find((link) => link.ifname === tunnel)];
    if (outer === undefined) return undefined;
    const data = outer.linkinfo?.info_data ?? {};
    const vni = JSON.parse(parts.get("vni") || "{}") as ShownVrfVni;
    const vrf = shownVni(parts.get("vnis"), spec.vni);
    return {
      vni: Number(data.id),
      local: String(data.local),
      port: Number(data.port),
      learning: data.learning === true,
      mac: inner?.address ?? "",
      mtuBytes: Math.min(outer.mtu, inner?.mtu ?? 0),
      up: [inner, outer].every((link) => link?.flags.includes("UP") === true) && outer.master === bridge,
      shownToSpeaker: parts.get("shown") === "1",
      state: vni.state ?? "not known",
      routeDistinguisher: vrf?.rd ?? "",
      importTargets: vrf?.importRTs ?? [],
      exportTargets: vrf?.exportRTs ?? [],
    };
  },
};
