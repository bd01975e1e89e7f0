/** A NIC as a port of a bridge of ours. */
import { type IpLink, jsonList } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface BridgePortSpec {
  readonly device: string;
  readonly bridge: string;
}

export const bridgePort: ObjectType<BridgePortSpec> = {
  type: "bridgePort",
  identity: (spec) => [spec.device, spec.bridge],
  ensure: (spec) => sh`
    device=${spec.device}
    bridge=${spec.bridge}
    has_link "$device" || fail "$device: this server has no such NIC"
    master=$(master_of "$device")
    [ -z "$master" ] || [ "$master" = "$bridge" ] || fail "$device: already a port of $master; take it out of there or name another NIC"
    ip link set dev "$device" master "$bridge" up
  `,
  remove: (spec) => sh`
    device=${spec.device}
    if has_link "$device" && [ "$(master_of "$device")" = ${spec.bridge} ]; then ip link set dev "$device" nomaster; fi
  `,
  check: ({ device }) => sh`if has_link ${device}; then ip -j link show dev ${device}; fi`,
  wanted: (spec) => ({ bridge: spec.bridge }),
  found: (output) => {
    const link = jsonList<IpLink>(output)[0];
    return link && { bridge: link.master ?? "" };
  },
};
