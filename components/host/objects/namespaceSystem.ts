/**
 * A system without a container: a namespace, joined to the server by a veth and routed there (report S1's baseline). All
 * neighbours are told, both ways.
 */
import { addressesOf, type IpAddresses, type IpLink, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { sh } from "../sh";
import { offloadFeatures, offloadNames, type OffloadName, offloadStates } from "./offloads";
import { routeProtocol } from "./route";

export interface NamespaceSystemSpec {
  readonly namespace: string;
  /** Its interface, and the server's end of it. */
  readonly device: string;
  readonly port: string;
  readonly mac: string;
  readonly portMac: string;
  readonly mtuBytes: number;
  /** Each with the gateway that it has; without prefix length. */
  readonly addresses: readonly { readonly address: string; readonly gateway: string }[];
  readonly offloads: Partial<Record<OffloadName, boolean>>;
  readonly sysctls: Readonly<Record<string, string>>;
}

const length = (address: string): number => (address.includes(":") ? 128 : 32);
const family = (address: string): string => (address.includes(":") ? "-6" : "-4");
const whole = (address: string): string => `${address}/${length(address)}`;

interface IpNeighbour {
  readonly dst: string;
  readonly lladdr?: string;
  readonly state?: readonly string[];
}

interface IpRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
}

const isTold = (listed: readonly IpNeighbour[], address: string, mac: string): boolean =>
  listed.some((n) => n.dst === address && n.lladdr === mac && n.state?.includes("PERMANENT") === true);

export const namespaceSystem: ObjectType<NamespaceSystemSpec> = {
  type: "namespaceSystem",
  identity: ({ namespace, device, port }) => [namespace, device, port],
  ensure: (spec, owner, name) => sh`
    namespace=${spec.namespace}
    device=${spec.device}
    port=${spec.port}
    inside() { ip -n "$namespace" "$@"; }
    own_namespace "$namespace"
    veth_into "$namespace" "$device" "$port" ${ownerMark(owner, name)}
    set_mac "$port" ip ${spec.portMac}
    set_mac "$device" inside ${spec.mac}
    ip link set dev "$port" mtu ${spec.mtuBytes} addrgenmode none up
    inside link set dev "$device" mtu ${spec.mtuBytes} up
    set_addresses "$device" inside ${spec.addresses.map(({ address }) => whole(address))}
    ${spec.addresses.map(
      ({ address, gateway }) => sh`
        inside ${family(gateway)} route replace ${whole(gateway)} dev "$device"
        inside ${family(gateway)} route replace default via ${gateway} dev "$device"
        inside neigh replace ${gateway} lladdr ${spec.portMac} dev "$device" nud permanent
        ip ${family(address)} route replace ${whole(address)} dev "$port" proto ${routeProtocol}
        ip neigh replace ${address} lladdr ${spec.mac} dev "$port" nud permanent`,
    )}
    ${offloadNames.flatMap((feature) => {
      const on = spec.offloads[feature];
      if (on === undefined) return [];
      return [sh`ip netns exec "$namespace" ethtool -K "$device" ${offloadFeatures[feature].ethtool} ${on ? "on" : "off"} >/dev/null`];
    })}
    ${Object.entries(spec.sysctls).map(([key, value]) => sh`ip netns exec "$namespace" sysctl -qw ${`${key}=${value}`}`)}
  `,
  remove: ({ namespace, port }, owner, name) => sh`
    drop_link ${port} ${ownerMark(owner, name)}
    drop_namespace ${namespace}
  `,
  check: ({ namespace, device, port, sysctls }) => sh`
    if [ -e /run/netns/${namespace} ] && has_link ${port} && ip -n ${namespace} link show dev ${device} >/dev/null 2>&1; then
      echo "=== links"; ip -n ${namespace} -j link show dev ${device}
      echo "=== addresses"; ip -n ${namespace} -j addr show dev ${device}
      echo "=== neighbours"; ip -n ${namespace} -j neigh show dev ${device}
      echo "=== routes"; ip -n ${namespace} -j -4 route show default; echo; ip -n ${namespace} -j -6 route show default
      echo "=== offloads"; ip netns exec ${namespace} ethtool -k ${device}
      ${Object.keys(sysctls).map((key) => sh`echo ${`=== sysctl ${key}`}; ip netns exec ${namespace} sysctl -n ${key}`)}
      echo "=== port"; ip -j link show dev ${port}
      echo "=== portNeighbours"; ip -j neigh show dev ${port}
      echo "=== portRoutes"; ip -j -4 route show dev ${port}; echo; ip -j -6 route show dev ${port}
    fi
  `,
  wanted: (spec) => ({
    mac: spec.mac,
    mtuBytes: spec.mtuBytes,
    up: true,
    addresses: spec.addresses.map(({ address }) => whole(address)).sort(),
    defaultRoutes: spec.addresses.map(({ gateway }) => gateway).sort(),
    neighbours: true,
    ...Object.fromEntries(
      offloadNames.flatMap((feature) => (spec.offloads[feature] === undefined ? [] : [[feature, spec.offloads[feature]]])),
    ),
    ...spec.sysctls,
    "port.mac": spec.portMac,
    "port.mtuBytes": spec.mtuBytes,
    "port.neighbours": true,
    "port.routes": spec.addresses.map(({ address }) => address).sort(),
  }),
  found: (output, spec) => {
    const parts = sections(output);
    const [link, port] = [jsonList<IpLink>(parts.get("links"))[0], jsonList<IpLink>(parts.get("port"))[0]];
    if (link === undefined || port === undefined) return undefined;
    const routes = (name: string): IpRoute[] => (parts.get(name) ?? "").split("\n").flatMap((line) => jsonList<IpRoute>(line));
    const [inner, outer] = [jsonList<IpNeighbour>(parts.get("neighbours")), jsonList<IpNeighbour>(parts.get("portNeighbours"))];
    const own = new Set(spec.addresses.map(({ address }) => address));
    return {
      mac: link.address,
      mtuBytes: link.mtu,
      up: [link, port].every(({ flags }) => flags.includes("UP")),
      addresses: addressesOf(jsonList<IpAddresses>(parts.get("addresses")), spec.device),
      defaultRoutes: routes("routes")
        .flatMap(({ gateway }) => gateway ?? [])
        .sort(),
      neighbours: spec.addresses.every(({ gateway }) => isTold(inner, gateway, spec.portMac)),
      ...offloadStates(parts.get("offloads") ?? ""),
      ...Object.fromEntries(Object.keys(spec.sysctls).map((key) => [key, parts.get(`sysctl ${key}`) ?? ""])),
      "port.mac": port.address,
      "port.mtuBytes": port.mtu,
      "port.neighbours": spec.addresses.every(({ address }) => isTold(outer, address, spec.mac)),
      "port.routes": routes("portRoutes")
        .flatMap(({ dst }) => (own.has(dst) ? [dst] : []))
        .sort(),
    };
  },
};
