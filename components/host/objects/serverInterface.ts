/** The server's own interface on a device that its systems' interfaces sit on: the two do not hear one another otherwise. */
import { addressesOf, type IpAddresses, type IpLink, jsonList, sections } from "../json";
import { type ObjectType, ownerMark } from "../objectType";
import { nothing, sh } from "../sh";

export interface ServerInterfaceSpec {
  readonly device: string;
  readonly parent: string;
  /** A parent that is made anew takes this with it. */
  readonly parentIdentity: string;
  readonly driver: "macvlan" | "ipvlan";
  readonly mode: string;
  /** None where it has its parent's. */
  readonly mac: string;
  readonly mtuBytes: number;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

/** How iproute2 writes an ipvlan's mode. */
export const driverWords = ({ driver, mode }: Pick<ServerInterfaceSpec, "driver" | "mode">): string[] =>
  driver === "ipvlan" ? ["ipvlan", "mode", "l2", mode] : ["macvlan", "mode", mode];

export const serverInterface: ObjectType<ServerInterfaceSpec> = {
  type: "serverInterface",
  identity: ({ device, parent, driver, mode }) => [device, parent, driver, mode],
  ensure: (spec, owner, name) => sh`
    : on ${spec.parentIdentity}
    device=${spec.device}
    mark=${ownerMark(owner, name)}
    if has_link "$device" && [ "$(link_alias "$device")" != "$mark" ]; then
      [ -z "$(link_alias "$device")" ] && ip -d -o link show dev "$device" | grep -q ${`@${spec.parent}: .* ${spec.driver} `} || fail "$device: there is a device of this name that is not ours (alias '$(link_alias "$device")'); remove it or rename the network"
    fi
    has_link "$device" || ip link add link ${spec.parent} name "$device" type ${driverWords(spec)}
    mark_link "$device" "$mark"
    ${spec.mac === "" ? nothing : sh`set_mac "$device" ip ${spec.mac}`}
    ip link set dev "$device" mtu ${spec.mtuBytes} up
    set_addresses "$device" ip ${[...spec.addresses]}
  `,
  remove: ({ device }, owner, name) => sh`drop_link ${device} ${ownerMark(owner, name)}`,
  check: ({ device }) => sh`
    if has_link ${device}; then
      echo "=== link"; ip -d -j link show dev ${device}
      echo "=== addresses"; ip -j addr show dev ${device}
    fi
  `,
  wanted: (spec) => ({
    driver: spec.driver,
    parent: spec.parent,
    ...(spec.mac === "" ? {} : { mac: spec.mac }),
    mtuBytes: spec.mtuBytes,
    up: true,
    addresses: [...spec.addresses].sort(),
  }),
  found: (output, { device }) => {
    const parts = sections(output);
    const link = jsonList<IpLink>(parts.get("link"))[0];
    if (link === undefined) return undefined;
    return {
      driver: link.linkinfo?.info_kind ?? "",
      parent: link.link ?? "",
      mac: link.address,
      mtuBytes: link.mtu,
      up: link.flags.includes("UP"),
      addresses: addressesOf(jsonList<IpAddresses>(parts.get("addresses")), device),
    };
  },
};
