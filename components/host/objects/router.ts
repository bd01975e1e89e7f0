/** A router namespace between a bridge and the server: it holds the systems' gateway. */
import { addressesOf, type IpAddresses, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { sh } from "../sh";

export interface RouterSpec {
  readonly namespace: string;
  readonly bridge: string;
  /** The server's device to the router, and to the bridge's port. */
  readonly transitDevice: string;
  readonly portDevice: string;
  readonly mtuBytes: number;
  /** The systems' gateways, with prefix length. */
  readonly addresses: readonly string[];
}

/** Every transit link has the same two: link-local addresses need no allocation, and carry IPv4 routes too. */
export const transitServerAddress = "fe80::1";
export const transitRouterAddress = "fe80::2";

export const router: ObjectType<RouterSpec> = {
  type: "router",
  identity: (spec) => [spec.namespace, spec.transitDevice, spec.portDevice],
  ensure: (spec, owner, name) => sh`
    namespace=${spec.namespace}
    mtu=${spec.mtuBytes}
    transit=${spec.transitDevice}
    port=${spec.portDevice}
    mark=${ownerMark(owner, name)}
    set -- ${[...spec.addresses]}
    in_router() { ip netns exec "$namespace" "$@"; }
    own_namespace "$namespace"
    pair() {
      veth_into "$namespace" "$2" "$1" "$mark"
      ip link set dev "$1" mtu "$mtu" up
      ip -n "$namespace" link set dev "$2" mtu "$mtu" up
    }
    pair "$transit" transit
    pair "$port" inner
    ip link set dev "$port" master ${spec.bridge}
    in_router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    ip addr replace ${`${transitServerAddress}/64`} dev "$transit" nodad
    ip -n "$namespace" addr replace ${`${transitRouterAddress}/64`} dev transit nodad
    inside() { ip -n "$namespace" "$@"; }
    set_addresses inner inside "$@"
    ip -n "$namespace" -4 route replace default via inet6 ${transitServerAddress} dev transit
    ip -n "$namespace" -6 route replace default via ${transitServerAddress} dev transit
  `,
  remove: (spec, owner, name) => sh`
    for device in ${spec.transitDevice} ${spec.portDevice}; do drop_link "$device" ${ownerMark(owner, name)}; done
    drop_namespace ${spec.namespace}
  `,
  check: (spec) => sh`
    if has_link ${spec.transitDevice} && [ -e /run/netns/${spec.namespace} ]; then
      echo "=== addresses"; ip -n ${spec.namespace} -j addr show dev inner
      echo "=== forwarding"; ip netns exec ${spec.namespace} cat /proc/sys/net/ipv4/ip_forward
      echo "=== default"; ip -n ${spec.namespace} -4 route show default
      echo "=== bridge"; master_of ${spec.portDevice}
      echo "=== mtu"; cat /sys/class/net/${spec.transitDevice}/mtu
    fi
  `,
  wanted: (spec) => ({
    addresses: [...spec.addresses].sort(),
    forwarding: true,
    defaultRoute: true,
    bridge: spec.bridge,
    mtuBytes: spec.mtuBytes,
  }),
  found: (output) => {
    const parts = sections(output);
    if (!parts.has("addresses")) return undefined;
    return {
      addresses: addressesOf(jsonList<IpAddresses>(parts.get("addresses")), "inner"),
      forwarding: parts.get("forwarding") === "1",
      defaultRoute: (parts.get("default") ?? "") !== "",
      bridge: parts.get("bridge") ?? "",
      mtuBytes: Number(parts.get("mtu")),
    };
  },
};
