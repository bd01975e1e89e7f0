/** A VXLAN device, a port of a bridge. Where its packets go is told by others; it learns nothing from packets. */
import { type IpLink, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { sh } from "../sh";
import { offloadStates } from "./offloads";

export interface VxlanSpec {
  readonly device: string;
  readonly vni: number;
  /** The underlay address that it sends from. */
  readonly local: string;
  readonly port: number;
  readonly bridge: string;
  readonly mac: string;
  readonly mtuBytes: number;
  /** Generic receive offload after unpacking. */
  readonly gro: boolean;
}

/**
 * Frames to 01:80:c2:00:00:0x are for the bridge's own port: the server would get them past the guard of the bridge.
 * With this mask they are forwarded like others (all but pause frames, which the kernel drops).
 */
export const allGroups = "0xfffd";

interface BridgePort {
  readonly learning?: boolean;
  readonly neigh_suppress?: boolean;
}

export const vxlan: ObjectType<VxlanSpec> = {
  type: "vxlan",
  // None of these changes while the device lives.
  identity: (spec) => [spec.device, String(spec.vni), spec.local, String(spec.port)],
  ensure: (spec, owner, name) => sh`
    device=${spec.device}
    mtu=${spec.mtuBytes}
    bridge=${spec.bridge}
    mac=${spec.mac}
    mark=${ownerMark(owner, name)}
    info() { ip -d -o link show dev "$device" | grep -qE ${`vxlan id ${spec.vni} .*local ${spec.local} .*dstport ${spec.port} .*nolearning`}; }
    if has_link "$device"; then
      own_link "$device" "$mark" "$mac"
      info || ip link del "$device"
    fi
    if ! has_link "$device"; then
      free_of vxlan ${`.* vxlan id ${spec.vni} `} ${ownerMark(owner, "")} "$device: this server has another VXLAN device with VNID "${spec.vni} "choose another vn"
      ip link add "$device" address "$mac" type vxlan id ${spec.vni} local ${spec.local} dstport ${spec.port} nolearning
    fi
    mark_link "$device" "$mark"
    ip link set dev "$device" mtu "$mtu" addrgenmode none master "$bridge"
    ip link set dev "$device" type bridge_slave group_fwd_mask ${allGroups}
    bridge link set dev "$device" learning off neigh_suppress on
    ethtool -K "$device" gro ${spec.gro ? "on" : "off"}
    ip link set dev "$device" up
  `,
  remove: ({ device }, owner, name) => sh`drop_link ${device} ${ownerMark(owner, name)}`,
  check: ({ device }) => sh`
    if has_link ${device}; then
      echo "=== link"; ip -d -j link show dev ${device}
      echo "=== port"; bridge -d -j link show dev ${device}
      echo "=== offloads"; ethtool -k ${device}
    fi
  `,
  wanted: (spec) => ({
    vni: spec.vni,
    local: spec.local,
    port: spec.port,
    bridge: spec.bridge,
    mtuBytes: spec.mtuBytes,
    up: true,
    learning: false,
    neighbourSuppression: true,
    gro: spec.gro,
    groupsForwarded: true,
  }),
  found: (output) => {
    const parts = sections(output);
    const link = jsonList<IpLink>(parts.get("link"))[0];
    const data = link?.linkinfo?.info_data;
    if (link === undefined || data === undefined || link.linkinfo?.info_kind !== "vxlan") return undefined;
    const port = jsonList<BridgePort>(parts.get("port"))[0];
    return {
      vni: Number(data.id),
      local: String(data.local),
      port: Number(data.port),
      bridge: link.master ?? "",
      mtuBytes: link.mtu,
      up: link.flags.includes("UP"),
      learning: data.learning === true || port?.learning === true,
      neighbourSuppression: port?.neigh_suppress ?? false,
      groupsForwarded: link.linkinfo.info_slave_data?.group_fwd_mask === allGroups,
      gro: offloadStates(parts.get("offloads") ?? "").gro ?? false,
    };
  },
};
