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
    [ -d /run/netns ] || save netns made
    if [ -e "/run/netns/$namespace" ] && [ ! -e "$folder/saved/netns.$namespace" ]; then fail "$namespace: there is a network namespace of this name that is not ours; remove it or rename the tenant"; fi
    save "netns.$namespace" made
    # A name without a namespace is what a cut-off creation leaves.
    ip netns exec "$namespace" true 2>/dev/null || { rm -f "/run/netns/$namespace"; ip netns add "$namespace"; }
    ip netns exec "$namespace" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    inside link set lo up
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
      if has_link "$port" && [ "$(link_alias "$port")" != "$mark" ]; then fail "$port: there is a device of this name that is not ours; remove it or rename the network"; fi
      if has_link "$port" && ! inside link show dev "$device" >/dev/null 2>&1; then ip link del "$port"; fi
      if ! has_link "$port"; then
        # Made and marked inside, then handed out: what is cut off in between is still in our namespace.
        if inside link show dev "$port" >/dev/null 2>&1; then inside link del "$port"; fi
        inside link add "$device" type veth peer name "$port"
        inside link set dev "$port" alias "$mark"
        inside link set dev "$port" netns 1
      fi
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
    if [ -e "$folder/saved/netns."${spec.namespace} ]; then
      if [ -e /run/netns/${spec.namespace} ]; then ip netns del ${spec.namespace}; fi
      forget netns.${spec.namespace}
    fi
    drop_netns_folder
    prune
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
