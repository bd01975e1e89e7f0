/** What keeps tenants from the server, and from where their networks do not lead: all of a server's devices of ours in one place. */
import { createHash } from "node:crypto";
import { deviceGroup } from "../../net/names";
import { sections } from "../json";
import { type ObjectType, type Owner, ownerMark } from "../objectType";
import { type Script, sh } from "../sh";
import { askAgent } from "./attachSpec";
import { familiesOf, guardFamilies, type GuardSpec, tableText } from "./guardRules";

const tableOf = ({ stack }: Owner): string => `flipflap-${stack}`;

/** Tables have no place for a mark. */
const mark = "guard";
/** What was put there, and how nft lists that. */
const told = "guard.told";

const textOf = (spec: GuardSpec, owner: Owner): string =>
  familiesOf(spec)
    .flatMap((family) => tableText(spec, family, tableOf(owner), deviceGroup(owner.stack)))
    .join("\n");

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 16);

/** All tables without what counts: guard_listed TABLE */
const listed: Script = sh`
  guard_listed() {
    for family in ${[...guardFamilies]}; do if nft list table "$family" "$1" >/dev/null 2>&1; then nft -s list table "$family" "$1"; fi; done | sha256sum
  }
`;

/** Devices with our marks that are not in our group, which the guard does not look at: outside_group MARKS GROUP */
const outside: Script = sh`
  outside_group() {
    for _link in $(grep -l "^$1" /sys/class/net/*/ifalias 2>/dev/null); do
      _link=\${_link%/ifalias}
      { read -r _group <"$_link/netdev_group"; } 2>/dev/null || continue
      [ "$_group" = "$2" ] || echo "\${_link##*/}"
    done
  }
`;

export const guard: ObjectType<GuardSpec> = {
  type: "guard",
  identity: () => [],
  // In one step: there is no moment without it.
  ensure: (spec, owner) => sh`
    ${listed}
    ${outside}
    table=${tableOf(owner)}
    there() { for family in ${[...guardFamilies]}; do if nft list table "$family" "$table"; then return 0; fi; done; return 1; }
    own_name ${mark} "$table: there is a table of nft" there
    {
      for family in ${[...guardFamilies]}; do
        if nft list table "$family" "$table" >/dev/null 2>&1; then echo "delete table $family $table"; fi
      done
      printf '%s\n' ${textOf(spec, owner)}
    } | nft -f -
    for device in $(outside_group ${ownerMark(owner, "")} ${deviceGroup(owner.stack)}); do ip link set dev "$device" group ${deviceGroup(owner.stack)}; done
    printf '%s %s' ${hashOf(textOf(spec, owner))} "$(guard_listed "$table")" >"$folder/saved/${told}"
  `,
  remove: (_, owner) => sh`
    if [ -e "$folder/saved/${mark}" ]; then
      for family in ${[...guardFamilies]}; do
        if nft list table "$family" ${tableOf(owner)} >/dev/null 2>&1; then nft delete table "$family" ${tableOf(owner)}; fi
      done
      rm -f "$folder/saved/${told}"
      forget ${mark}
    fi
  `,
  check: (_, owner) => sh`
    ${listed}
    ${outside}
    if nft list table inet ${tableOf(owner)} >/dev/null 2>&1; then
      echo "=== then"; cat "$folder/saved/${told}" 2>/dev/null || echo none
      echo
      echo "=== now"; guard_listed ${tableOf(owner)}
      echo "=== outside"; outside_group ${ownerMark(owner, "")} ${deviceGroup(owner.stack)}
    fi
  `,
  wanted: (spec, owner) => ({ declared: hashOf(textOf(spec, owner)), rules: "as declared", outsideOurGroup: [] }),
  found: (output) => {
    const parts = sections(output);
    const now = parts.get("now");
    if (now === undefined) return undefined;
    const [declared = "", ...listing] = (parts.get("then") ?? "").trim().split(" ");
    return {
      declared,
      rules: listing.join(" ").trim() === now.trim() ? "as declared" : "changed",
      outsideOurGroup: (parts.get("outside") ?? "").split("\n").filter(Boolean),
    };
  },
};

/** Prints what was dropped, by reason: by nft, and at systems' ports. */
export const guardCounters = (owner: Owner): Script => sh`
  ( ${askAgent(owner, "guard")} ) 2>/dev/null || :
  for family in ${[...guardFamilies]}; do nft list counters table "$family" ${tableOf(owner)} 2>/dev/null || :; done
`;

/** Packets by reason, of those that were. */
export function readGuardCounters(output: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, reason = "", packets = "0"] of output.matchAll(/counter (\S+) \{\s*packets (\d+)/g))
    if (packets !== "0") found.set(reason, Number(packets));
  for (const [, text = ""] of output.matchAll(/^(\{".*\})$/gm))
    for (const [reason, packets] of Object.entries(JSON.parse(text) as Record<string, number>))
      if (packets > 0) found.set(reason, (found.get(reason) ?? 0) + packets);
  return found;
}
