/**
 * A tenant's router on a server: a namespace with a leg in each of the tenant's routed networks. The legs have the same
 * addresses and MAC on every server, and there is no way from here to the server itself.
 */
import { addressesOf, type IpAddresses, type IpLink, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { sh } from "../sh";
import { allGroups } from "./vxlan";

export interface RouterLeg {
  /** The port at the bridge. */
  readonly port: string;
  /** Its other end, in the namespace. */
  readonly device: string;
  readonly bridge: string;
  readonly mtuBytes: number;
  /** The gateways, with prefix length. */
  readonly addresses: readonly string[];
}

export interface TenantRouterSpec {
  readonly namespace: string;
  readonly mac: string;
  readonly legs: readonly RouterLeg[];
}

export const tenantRouter: ObjectType<TenantRouterSpec> = {
  type: "tenantRouter",
  identity: (spec) => [spec.namespace],
  ensure: (spec, owner, name) => sh`
    namespace=${spec.namespace}
    mac=${spec.mac}
    mark=${ownerMark(owner, name)}
    inside() { ip -n "$namespace" "$@"; }
    own_namespace "$namespace"
    ip netns exec "$namespace" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    for port in $(ip -o link show type veth | sed -n 's/^[0-9]*: \([^:@]*\).*/\1/p'); do
      [ "$(link_alias "$port")" = "$mark" ] || continue
      case " "${spec.legs.map((leg) => leg.port).join(" ")}" " in *" $port "*) ;; *) ip link del "$port" ;; esac
    done
    leg() {
      port=$1 device=$2 bridge=$3 mtu=$4
      shift 4
      if has_link "$port" && [ "$(link_alias "$port")" != "$mark" ]; then
        # One of ours is of the tenant's former router.
        case $(link_alias "$port") in ${ownerMark(owner, "")}*) ip link del "$port" ;; esac
      fi
      veth_into "$namespace" "$device" "$port" "$mark"
      ip link set dev "$port" mtu "$mtu" addrgenmode none master "$bridge"
      ip link set dev "$port" type bridge_slave group_fwd_mask ${allGroups}
      bridge link set dev "$port" learning off
      bridge fdb replace "$mac" dev "$port" master static
      set_mac "$device" inside "$mac"
      inside link set dev "$device" mtu "$mtu"
      ip link set dev "$port" up
      inside link set dev "$device" up
      set_addresses "$device" inside "$@"
    }
    ${spec.legs.map((leg) => sh`leg ${leg.port} ${leg.device} ${leg.bridge} ${leg.mtuBytes} ${[...leg.addresses]}`)}
  `,
  remove: (spec, owner, name) => sh`
    for port in ${spec.legs.map((leg) => leg.port)}; do drop_link "$port" ${ownerMark(owner, name)}; done
    drop_namespace ${spec.namespace}
  `,
  check: (spec) => sh`
    if [ -e /run/netns/${spec.namespace} ]; then
      echo "=== links"; ip -n ${spec.namespace} -j link show
      echo "=== addresses"; ip -n ${spec.namespace} -j addr show
      echo "=== forwarding"; ip netns exec ${spec.namespace} cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding
      for port in ${spec.legs.map((leg) => leg.port)}; do
        echo "=== bridge $port"; if has_link "$port"; then master_of "$port"; fi
        echo "=== fdb $port"; if has_link "$port" && bridge fdb show brport "$port" | grep -q ${`^${spec.mac} .*static`}; then echo told; fi
      done
    fi
  `,
  wanted: (spec) => ({
    forwarding: true,
    ...Object.fromEntries(
      spec.legs.flatMap((leg) => [
        [`${leg.device}.bridge`, leg.bridge],
        [`${leg.device}.fdb`, true],
        [`${leg.device}.up`, true],
        [`${leg.device}.mac`, spec.mac],
        [`${leg.device}.mtuBytes`, leg.mtuBytes],
        [`${leg.device}.addresses`, [...leg.addresses].sort()],
      ]),
    ),
  }),
  found: (output, spec) => {
    const parts = sections(output);
    if (!parts.has("links")) return undefined;
    const links = new Map(jsonList<IpLink>(parts.get("links")).map((link) => [link.ifname, link]));
    const listed = jsonList<IpAddresses>(parts.get("addresses"));
    return {
      forwarding: parts.get("forwarding") === "1\n1",
      ...Object.fromEntries(
        spec.legs.flatMap((leg) => [
          [`${leg.device}.bridge`, parts.get(`bridge ${leg.port}`) ?? ""],
          [`${leg.device}.fdb`, parts.get(`fdb ${leg.port}`) === "told"],
          [`${leg.device}.up`, ["UP", "LOWER_UP"].every((flag) => links.get(leg.device)?.flags.includes(flag) === true)],
          [`${leg.device}.mac`, links.get(leg.device)?.address ?? ""],
          [`${leg.device}.mtuBytes`, links.get(leg.device)?.mtu ?? 0],
          [`${leg.device}.addresses`, addressesOf(listed, leg.device)],
        ]),
      ),
    };
  },
};
