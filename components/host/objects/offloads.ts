/** Offloads of a NIC that was there before us. */
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

/** Our short names, ethtool's names of the groups, and the kernel's of what is in them. */
export const offloadFeatures = {
  // Checksums come first: TSO needs them, and the kernel turns it off with them.
  txChecksum: { ethtool: "tx-checksumming", kernel: ["tx-checksum-ip-generic"] },
  rxChecksum: { ethtool: "rx-checksumming", kernel: ["rx-checksum"] },
  gso: { ethtool: "generic-segmentation-offload", kernel: ["tx-generic-segmentation"] },
  tso: { ethtool: "tcp-segmentation-offload", kernel: ["tx-tcp-segmentation", "tx-tcp6-segmentation"] },
  gro: { ethtool: "generic-receive-offload", kernel: ["rx-gro"] },
} as const;

export type OffloadName = keyof typeof offloadFeatures;
export const offloadNames = Object.keys(offloadFeatures) as OffloadName[];

/** From what `ethtool -k` prints. */
export function offloadStates(printed: string): Record<OffloadName, boolean> {
  const states = new Map([...printed.matchAll(/^\s*([a-z-]+): (on|off)/gm)].map((m) => [m[1], m[2] === "on"]));
  const of = (name: OffloadName): [OffloadName, boolean] => [name, states.get(offloadFeatures[name].ethtool) ?? false];
  return Object.fromEntries(offloadNames.map(of)) as Record<OffloadName, boolean>;
}

export interface OffloadsSpec {
  readonly device: string;
  readonly features: Partial<Record<OffloadName, boolean>>;
}

/**
 * Features as ethtool lists them: a group, then its members. Put back in that order, one by one, each
 * ends as it was, members of a group too; what the driver fixes is left out.
 */
const featureHelpers = sh`
  now() { ethtool -k "$device" | sed -n "s/^[[:space:]]*$1: \([a-z]*\).*/\1/p"; }
  list() { ethtool -k "$device" | sed -n 's/^[[:space:]]*\([a-z0-9-]*\): \(on\|off\)\( \[requested.*\)\{0,1\}$/\1 \2/p'; }
  put_back() {
    for word in $(printf '%s' "$1" | tr ' ' =); do
      if [ "$(now "\${word%=*}")" != "\${word#*=}" ]; then ethtool -K "$device" "\${word%=*}" "\${word#*=}" >/dev/null; fi
    done
  }
`;

const onOff = (on: boolean): string => (on ? "on" : "off");

export const offloads: ObjectType<OffloadsSpec> = {
  type: "offloads",
  identity: (spec) => [spec.device],
  ensure: ({ device, features }) => sh`
    device=${device}
    has_link "$device" || fail "$device: this server has no such NIC"
    ${featureHelpers}
    save "offloads.$device" "$(list)"
    want() {
      [ "$(now "$1")" = "$2" ] || ethtool -K "$device" "$1" "$2" >/dev/null || fail "$device: $1 cannot be turned $2; leave it out of tuning.uplinkOffloads"
      [ "$(now "$1")" = "$2" ] || fail "$device: $1 stays $(now "$1") (fixed by the driver); leave it out of tuning.uplinkOffloads"
    }
    # All as they were, then what is declared: what was declared once and is no more comes back.
    put_back "$(cat "$folder/saved/offloads.$device")"
    ${offloadNames.flatMap((name) => {
      const on = features[name];
      return on === undefined ? [] : [sh`want ${offloadFeatures[name].ethtool} ${onOff(on)}`];
    })}
  `,
  remove: ({ device }) => sh`
    device=${device}
    ${featureHelpers}
    if has_link "$device"; then restore "offloads.$device" put_back; else forget "offloads.$device"; fi
  `,
  check: ({ device }) => sh`if has_link ${device}; then ethtool -k ${device}; fi`,
  wanted: ({ features }) =>
    Object.fromEntries(offloadNames.flatMap((name) => (features[name] === undefined ? [] : [[name, features[name]]]))),
  found: (output) => (output.trim() === "" ? undefined : offloadStates(output)),
};
