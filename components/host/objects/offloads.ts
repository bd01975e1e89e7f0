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

const onOff = (on: boolean): string => (on ? "on" : "off");

export const offloads: ObjectType<OffloadsSpec> = {
  type: "offloads",
  identity: (spec) => [spec.device],
  ensure: ({ device, features }) => sh`
    device=${device}
    has_link "$device" || fail "$device: this server has no such NIC"
    now() { ethtool -k "$device" | sed -n "s/^$1: \([a-z]*\).*/\1/p"; }
    want() {
      save "offload.$device.$1" "$(now "$1")"
      [ "$(now "$1")" = "$2" ] || ethtool -K "$device" "$1" "$2" >/dev/null || fail "$device: $1 cannot be turned $2; leave it out of tuning.uplinkOffloads"
      [ "$(now "$1")" = "$2" ] || fail "$device: $1 stays $(now "$1") (fixed by the driver); leave it out of tuning.uplinkOffloads"
    }
    back() { ethtool -K "$device" "$feature" "$1" >/dev/null; }
    unwanted() { feature=$1; restore "offload.$device.$1" back; }
    ${offloadNames.map((name) => {
      const on = features[name];
      return on === undefined ? sh`unwanted ${offloadFeatures[name].ethtool}` : sh`want ${offloadFeatures[name].ethtool} ${onOff(on)}`;
    })}
  `,
  remove: ({ device }) => sh`
    device=${device}
    back() { if has_link "$device"; then ethtool -K "$device" "$feature" "$1" >/dev/null; fi; }
    for feature in ${offloadNames.map((name) => offloadFeatures[name].ethtool)}; do restore "offload.$device.$feature" back; done
  `,
  check: ({ device }) => sh`if has_link ${device}; then ethtool -k ${device}; fi`,
  wanted: ({ features }) =>
    Object.fromEntries(offloadNames.flatMap((name) => (features[name] === undefined ? [] : [[name, features[name]]]))),
  found: (output) => (output.trim() === "" ? undefined : offloadStates(output)),
};
