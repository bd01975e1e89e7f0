/**
 * Makes the server deaf and mute on a bridge: what systems send to it as a station is dropped before the server sees it,
 * and what it would say of itself is dropped too. Frames from port to port do not pass here and cost nothing more.
 */
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface BridgeGuardSpec {
  readonly bridge: string;
}

const table = (spec: BridgeGuardSpec): string => `ff-${spec.bridge}`;

/** A table has no place for a mark. */
const mark = (spec: BridgeGuardSpec): string => `filter.${table(spec)}`;

const hooks = { in: "ingress", out: "egress" } as const;

export const bridgeGuard: ObjectType<BridgeGuardSpec> = {
  type: "bridgeGuard",
  identity: (spec) => [spec.bridge],
  ensure: (spec) => {
    const chains = Object.entries(hooks).map(
      ([name, hook]) => `chain ${name} { type filter hook ${hook} device "${spec.bridge}" priority 0; policy drop; }`,
    );
    const lines = [
      `add table netdev ${table(spec)}`,
      `delete table netdev ${table(spec)}`,
      `table netdev ${table(spec)} {`,
      ...chains,
      "}",
    ];
    return sh`
      own_name ${mark(spec)} ${`${table(spec)}: there is a table of nft (netdev)`} nft list table netdev ${table(spec)}
      printf '%s\n' ${lines.join("\n")} | nft -f -
    `;
  },
  remove: (spec) => sh`
    if [ -e "$folder/saved/"${mark(spec)} ]; then
      if nft list table netdev ${table(spec)} >/dev/null 2>&1; then nft delete table netdev ${table(spec)}; fi
      forget ${mark(spec)}
    fi
  `,
  check: (spec) => sh`if nft list table netdev ${table(spec)} >/dev/null 2>&1; then nft list table netdev ${table(spec)}; fi`,
  wanted: () => Object.fromEntries(Object.values(hooks).map((hook) => [hook, "drop"])),
  found: (output, spec) => {
    if (output.trim() === "") return undefined;
    const of = (hook: string): string =>
      new RegExp(`hook ${hook} device "?${spec.bridge}"? priority \\S+; policy (\\w+);\\s*\\}`).exec(output)?.[1] ?? "not hooked";
    return Object.fromEntries(Object.values(hooks).map((hook) => [hook, of(hook)]));
  },
};
