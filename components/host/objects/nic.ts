/** MTU and state of a NIC that was there before us. */
import { type IpLink, jsonList } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface NicSpec {
  readonly device: string;
  readonly mtuBytes: number;
}

export const nic: ObjectType<NicSpec> = {
  type: "nic",
  identity: (spec) => [spec.device],
  ensure: ({ device, mtuBytes }) => sh`
    device=${device}
    mtu=${mtuBytes}
    has_link "$device" || fail "$device: this server has no such NIC; name one of: $(ls /sys/class/net | tr '\n' ' ')"
    save "mtu.$device" "$(cat "/sys/class/net/$device/mtu")"
    case $(cat "/sys/class/net/$device/flags") in *[13579bdf]) state=up ;; *) state=down ;; esac
    save "state.$device" "$state"
    ip link set dev "$device" mtu "$mtu" up || fail "$device: MTU $mtu refused; the NIC takes at most $(ip -d -j link show dev "$device" | sed 's/.*"max_mtu":\([0-9]*\).*/\1/')"
  `,
  remove: ({ device }) => sh`
    device=${device}
    if has_link "$device"; then
      set_mtu() { ip link set dev "$device" mtu "$1"; }
      set_state() { ip link set dev "$device" "$1"; }
      restore "mtu.$device" set_mtu
      restore "state.$device" set_state
    else
      forget "mtu.$device"; forget "state.$device"
    fi
  `,
  check: ({ device }) => sh`if has_link ${device}; then ip -j link show dev ${device}; fi`,
  wanted: ({ mtuBytes }) => ({ mtuBytes, up: true }),
  found: (output) => {
    const link = jsonList<IpLink>(output)[0];
    return link && { mtuBytes: link.mtu, up: link.flags.includes("UP") };
  },
};
