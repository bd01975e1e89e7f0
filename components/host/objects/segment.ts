/** A device of ours that systems' interfaces are made on: of one server alone, a VLAN of its uplink, or a tunnel to other servers. */
import { type IpLink, jsonList, sections } from "../json";
import { type ObjectType, type Owner, ownerMark } from "../objectType";
import { type Script, sh } from "../sh";

export interface SegmentSpec {
  readonly device: string;
  readonly mac: string;
  readonly mtuBytes: number;
  readonly way:
    | { readonly sort: "local"; readonly peer: string }
    | { readonly sort: "vlan"; readonly uplink: string; readonly id: number }
    | {
        readonly sort: "vxlan";
        readonly id: number;
        /** Underlay addresses: its own, and those that frames to all and to unknown stations go to. */
        readonly local: string;
        readonly port: number;
        readonly others: readonly string[];
      };
}

/** A frame to this address of the forwarding table is one to a station that it does not know. */
const unknownStation = "00:00:00:00:00:00";

interface FdbEntry {
  readonly mac: string;
  readonly dst?: string;
}

/** What tells a device of the right sort from another, as `ip -d -o link` prints it. */
function pattern({ way }: SegmentSpec): string {
  switch (way.sort) {
    case "local":
      return " veth ";
    case "vlan":
      return `vlan protocol 802.1Q id ${way.id} `;
    case "vxlan":
      return `vxlan id ${way.id} .*local ${way.local} .*dstport ${way.port} `;
  }
}

function addDevice({ device, mac, way }: SegmentSpec, owner: Owner): Script {
  switch (way.sort) {
    case "local":
      // A device without a cable carries nothing: its other end is the cable.
      return sh`ip link add ${device} address ${mac} type veth peer name ${way.peer}`;
    case "vlan":
      return sh`
        free_of vlan ${`@${way.uplink}: .* vlan protocol 802.1Q id ${way.id} `} ${ownerMark(owner, "")} ${device}": VLAN ${way.id} of "${way.uplink}" is another device's already" "choose another number"
        ip link add link ${way.uplink} name ${device} address ${mac} type vlan id ${way.id}
      `;
    case "vxlan":
      return sh`
        free_of vxlan ${`.* vxlan id ${way.id} `} ${ownerMark(owner, "")} ${device}": this server has another VXLAN device with VNID ${way.id}" "choose another number"
        ip link add ${device} address ${mac} type vxlan id ${way.id} local ${way.local} dstport ${way.port}
      `;
  }
}

function settle({ device, mtuBytes, way }: SegmentSpec): Script {
  if (way.sort === "local")
    return sh`
      mark_link ${way.peer} "$mark"
      ip link set dev ${way.peer} mtu ${mtuBytes} addrgenmode none
      ip link set dev ${way.peer} up
    `;
  if (way.sort === "vlan") return sh`:`;
  return sh`
    for to in $(bridge fdb show dev ${device} | sed -n ${`s/^${unknownStation} .*dst \\([^ ]*\\).*/\\1/p`}); do
      case ${` ${way.others.join(" ")} `} in *" $to "*) ;; *) bridge fdb del ${unknownStation} dev ${device} dst "$to" ;; esac
    done
    for to in ${[...way.others]}; do bridge fdb replace ${unknownStation} dev ${device} dst "$to" 2>/dev/null || bridge fdb append ${unknownStation} dev ${device} dst "$to"; done
  `;
}

export const segment: ObjectType<SegmentSpec> = {
  type: "segment",
  identity: ({ device, way }) => {
    switch (way.sort) {
      case "local":
        return [device, way.sort];
      case "vlan":
        return [device, way.sort, way.uplink, String(way.id)];
      case "vxlan":
        return [device, way.sort, String(way.id), way.local, String(way.port)];
    }
  },
  ensure: (spec, owner, name) => sh`
    device=${spec.device}
    mac=${spec.mac}
    mark=${ownerMark(owner, name)}
    if has_link "$device"; then
      own_link "$device" "$mark" "$mac"
      ip -d -o link show dev "$device" | grep -qE ${pattern(spec)} || ip link del "$device"
    fi
    if ! has_link "$device"; then
      ${addDevice(spec, owner)}
    fi
    mark_link "$device" "$mark"
    set_mac "$device" ip "$mac"
    # Before it is up: the server has no address of its own there.
    ip link set dev "$device" mtu ${spec.mtuBytes} addrgenmode none
    ip link set dev "$device" up
    ${settle(spec)}
  `,
  remove: ({ device }, owner, name) => sh`drop_link ${device} ${ownerMark(owner, name)}`,
  check: ({ device }) => sh`
    if has_link ${device}; then
      echo "=== link"; ip -d -j link show dev ${device}
      echo "=== fdb"; bridge -j fdb show dev ${device}
    fi
  `,
  wanted: (spec) => ({
    sort: spec.way.sort === "local" ? "veth" : spec.way.sort,
    mac: spec.mac,
    mtuBytes: spec.mtuBytes,
    up: true,
    addressGeneration: "none",
    ...(spec.way.sort === "vxlan" ? { id: spec.way.id, local: spec.way.local, others: [...spec.way.others].sort() } : {}),
    ...(spec.way.sort === "vlan" ? { id: spec.way.id } : {}),
    // Its other end is up.
    ...(spec.way.sort === "local" ? { carrier: true } : {}),
  }),
  found: (output) => {
    const parts = sections(output);
    const link = jsonList<IpLink>(parts.get("link"))[0];
    if (link === undefined) return undefined;
    const data = link.linkinfo?.info_data ?? {};
    const others = jsonList<FdbEntry>(parts.get("fdb")).filter(({ mac }) => mac === unknownStation);
    return {
      sort: link.linkinfo?.info_kind ?? "",
      mac: link.address,
      mtuBytes: link.mtu,
      up: link.flags.includes("UP"),
      carrier: link.flags.includes("LOWER_UP"),
      addressGeneration: link.inet6_addr_gen_mode ?? "",
      id: Number(data.id ?? 0),
      local: String(data.local ?? ""),
      others: others.flatMap(({ dst }) => dst ?? []).sort(),
    };
  },
};
