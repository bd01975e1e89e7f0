/** Permanent neighbours on a NIC: who the other servers are, without asking. */
import { jsonList } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface NeighboursSpec {
  readonly device: string;
  /** Where a device has several such lists, what this one is for. */
  readonly purpose?: string;
  readonly entries: readonly { readonly address: string; readonly mac: string }[];
}

interface IpNeighbour {
  readonly dst: string;
  readonly lladdr?: string;
  readonly state: readonly string[];
}

const listName = (device: string, purpose?: string): string =>
  ["neighbours", device, ...(purpose === undefined ? [] : [purpose])].join(".");

export const neighbours: ObjectType<NeighboursSpec> = {
  type: "neighbours",
  identity: (spec) => [spec.device],
  ensure: ({ device, purpose, entries }) => sh`
    device=${device}
    list=${listName(device, purpose)}
    set -- ${entries.map((entry) => `${entry.address}=${entry.mac}`)}
    save "$list" ""
    for old in $(cat "$folder/saved/$list"); do
      for new in "$@"; do [ "$old" != "\${new%=*}" ] || continue 2; done
      if ip neigh show to "$old" dev "$device" | grep -q PERMANENT; then ip neigh del "$old" dev "$device"; fi
    done
    for new in "$@"; do printf '%s\n' "\${new%=*}"; done >"$folder/saved/$list"
    for new in "$@"; do ip neigh replace "\${new%=*}" lladdr "\${new#*=}" dev "$device" nud permanent; done
  `,
  remove: ({ device, purpose }) => sh`
    device=${device}
    list=${listName(device, purpose)}
    ours="$folder/saved/$list"
    if [ -e "$ours" ] && has_link "$device"; then
      for old in $(cat "$ours"); do
        if ip neigh show to "$old" dev "$device" | grep -q PERMANENT; then ip neigh del "$old" dev "$device"; fi
      done
    fi
    forget "$list"
  `,
  check: ({ device }) => sh`if has_link ${device}; then echo "=== neighbours"; ip -j neigh show nud permanent dev ${device}; fi`,
  wanted: ({ entries }) => Object.fromEntries(entries.map((entry) => [entry.address, entry.mac.toLowerCase()])),
  found: (output) => {
    if (output.trim() === "") return undefined;
    const listed = jsonList<IpNeighbour>(output.replace(/^=== .*$/m, ""));
    return Object.fromEntries(listed.map((entry) => [entry.dst, (entry.lladdr ?? "").toLowerCase()]));
  },
};
