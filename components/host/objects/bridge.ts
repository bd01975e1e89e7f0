/** A bridge of ours. */
import { addressesOf, type IpAddresses, type IpLink, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { nothing, sh } from "../sh";

export interface BridgeSpec {
  readonly device: string;
  /** Fixed: a bridge's own would change with its ports. */
  readonly mac: string;
  readonly mtuBytes: number;
  /** With prefix length; the systems' gateways. */
  readonly addresses: readonly string[];
  /** Its entries are told, not learnt, and stay until they are taken away. Default: as the kernel does. */
  readonly entriesAreTold?: boolean;
  /** Of entries that it learns; 0 makes a hub of it. */
  readonly ageingSeconds?: number;
  /** What stays on it passes by iptables too: this bridge alone, whatever the server's bridge-nf-call-iptables says. */
  readonly isFiltered?: boolean;
}

/** In hundredths of a second, a year: an entry that is not `static` ages, and BGP takes static ones for systems that never move. */
const toldAgeing = 3153600000;

export const bridge: ObjectType<BridgeSpec> = {
  type: "bridge",
  identity: (spec) => [spec.device],
  ensure: (spec, owner, name) => sh`
    device=${spec.device}
    mtu=${spec.mtuBytes}
    mac=${spec.mac}
    mark=${ownerMark(owner, name)}
    set -- ${[...spec.addresses]}
    if has_link "$device"; then
      own_link "$device" "$mark" "$mac"
    else
      ip link add "$device" address "$mac" type bridge
    fi
    mark_link "$device" "$mark"
    ${spec.entriesAreTold === true ? sh`ip link set dev "$device" addrgenmode none type bridge ageing_time ${toldAgeing}` : nothing}
    ${spec.ageingSeconds === undefined ? nothing : sh`ip link set dev "$device" type bridge ageing_time ${spec.ageingSeconds * 100}`}
    set_mac "$device" ip "$mac"
    ip link set dev "$device" mtu "$mtu" up
    # In this order: a bridge that does spanning tree takes no delay of 0.
    ip link set dev "$device" type bridge stp_state 0
    ip link set dev "$device" type bridge forward_delay 0 mcast_snooping 0
    ${spec.isFiltered === undefined ? nothing : sh`ip link set dev "$device" type bridge nf_call_iptables ${spec.isFiltered ? 1 : 0} nf_call_ip6tables ${spec.isFiltered ? 1 : 0}`}
    set_addresses "$device" ip "$@"
  `,
  remove: ({ device }, owner, name) => sh`drop_link ${device} ${ownerMark(owner, name)}`,
  check: ({ device }) => sh`
    if has_link ${device}; then
      echo "=== link"; ip -d -j link show dev ${device}
      echo "=== addresses"; ip -j addr show dev ${device}
    fi
  `,
  wanted: (spec) => ({
    mac: spec.mac,
    mtuBytes: spec.mtuBytes,
    up: true,
    stp: false,
    addresses: [...spec.addresses].sort(),
    ...(spec.entriesAreTold === true ? { ageingSeconds: toldAgeing / 100, addressGeneration: "none" } : {}),
    ...(spec.ageingSeconds === undefined ? {} : { ageingSeconds: spec.ageingSeconds }),
    ...(spec.isFiltered === undefined ? {} : { isFiltered: spec.isFiltered }),
  }),
  found: (output, { device }) => {
    const parts = sections(output);
    const link = jsonList<IpLink>(parts.get("link"))[0];
    if (link?.linkinfo?.info_kind !== "bridge") return undefined;
    return {
      mac: link.address,
      mtuBytes: link.mtu,
      up: link.flags.includes("UP"),
      stp: link.linkinfo.info_data?.stp_state !== 0,
      addresses: addressesOf(jsonList<IpAddresses>(parts.get("addresses")), device),
      ageingSeconds: Number(link.linkinfo.info_data?.ageing_time) / 100,
      isFiltered: link.linkinfo.info_data?.nf_call_iptables === 1 && link.linkinfo.info_data.nf_call_ip6tables === 1,
      addressGeneration: link.inet6_addr_gen_mode ?? "",
    };
  },
};
