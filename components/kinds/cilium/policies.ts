/** Policies by Cilium: what its agent imports, and what its maps have counted. */
import type { CiliumNetwork, System } from "../../config/types.gen";
import { sections } from "../../host/json";
import { sh } from "../../host/sh";
import { formatAddress } from "../../net/cidr";
import { ownContainers } from "../../net/names";
import { compileCilium, exactly, openTo } from "../../net/policy/cilium";
import type { AllowRule } from "../../net/policy/resolve";
import type { NetworkContext } from "../kind";
import { type Hits, type PolicyEnforcer, withoutProxy } from "../policies";

type Context = NetworkContext<CiliumNetwork>;

export const isFiltered = ({ policies }: Context): boolean => policies.resolved.selected.length > 0;

const labelsOf = ({ labels }: System): Record<string, string> => (labels ?? {}) as Record<string, string>;

/**
 * One policy a line, the same on every server. Where there are any, Cilium lets nothing pass that none allows, whatever was not
 * imported yet: so what S1 calls "no policy on a label accepts all" is said for each set of labels, and that all may ask.
 */
export function importedBy({ declaration, members, policies }: Context): string[] {
  const names = new Set(members.map(({ system }) => system));
  const systems = declaration.testbed.systems.filter(({ name }) => names.has(name));
  const keys = [...new Set(systems.flatMap((system) => Object.keys(labelsOf(system))))].sort();
  const open = systems.filter(({ name }) => !policies.resolved.selected.includes(name)).map((system) => exactly(labelsOf(system), keys));
  const texts = [...compileCilium(declaration.policies), ...openTo(open)].map((policy) => JSON.stringify(policy));
  return [...new Set(texts)];
}

/** The contract with Cilium's tools (1.18): what they print as JSON, as far as it is read here. */
interface Identity {
  readonly id: number;
  /** None where there is none. */
  readonly labels?: readonly string[];
}
interface Entry {
  readonly Packets: number;
  readonly Key: {
    readonly Identity: number;
    readonly TrafficDirection: number;
    readonly Nexthdr: number;
    readonly DestPortNetwork: number;
    readonly Prefixlen: number;
  };
}

const protocolNumbers = { tcp: 6, udp: 17, sctp: 132 } as const;
const neverCounted = 2 ** 53;

function portOf({ Key }: Entry): number {
  return ((Key.DestPortNetwork & 0xff) << 8) | (Key.DestPortNetwork >> 8);
}

function isOf(entry: Entry, rule: AllowRule, identities: ReadonlySet<number> | undefined): boolean {
  if (entry.Key.TrafficDirection !== 0) return false;
  if (identities === undefined ? entry.Key.Identity !== 0 : !identities.has(entry.Key.Identity)) return false;
  if (rule.ports === undefined) return entry.Key.Nexthdr === 0;
  const port = portOf(entry);
  return entry.Key.Nexthdr === protocolNumbers[rule.ports.protocol] && rule.ports.first <= port && port <= rule.ports.last;
}

function readHits(output: string, context: Context): Hits {
  const { declaration, policies } = context;
  const parts = sections(output);
  const identities = JSON.parse(parts.get("identities") ?? "[]") as Identity[];
  const labelsText = (system: System): string =>
    Object.entries(labelsOf(system))
      .map(([key, value]) => `container:${key}=${value}`)
      .sort()
      .join(" ");
  // Cilium's own identities have labels of other sources.
  const own = identities.filter(({ labels = [] }) => labels.every((label) => label.startsWith("container:")));
  const byLabels = new Map(own.map(({ id, labels = [] }) => [[...labels].sort().join(" "), id]));
  const isWorld = new Set(identities.filter(({ labels }) => labels?.includes("reserved:world") === true).map(({ id }) => id));
  const identityOf = (name: string): number | undefined => {
    const system = declaration.testbed.systems.find((one) => one.name === name);
    return system === undefined ? undefined : byLabels.get(labelsText(system));
  };
  const allowed = new Map<string, number>();
  for (const [title, text] of parts) {
    const system = /^endpoint (.+)$/.exec(title)?.[1];
    if (system === undefined || text.trim() === "") continue;
    const entries = JSON.parse(text) as Entry[];
    for (const rule of policies.resolved.rules) {
      if (!rule.to.includes(system)) continue;
      const from =
        rule.from.kind === "anybody"
          ? undefined
          : rule.from.kind === "systems"
            ? new Set(rule.from.systems.flatMap((name) => identityOf(name) ?? []))
            : isWorld;
      const packets = entries
        .filter((entry) => isOf(entry, rule, from) && entry.Packets < neverCounted)
        .reduce((total, entry) => total + entry.Packets, 0);
      allowed.set(rule.id, (allowed.get(rule.id) ?? 0) + packets);
    }
  }
  const denied = [...(parts.get("drops") ?? "").matchAll(/direction="?INGRESS"? reason="?Policy denied"?\s+([0-9.e+]+)/gi)];
  return { allowed, denied: new Map(denied.length === 0 ? [["", 0]] : [["", denied.reduce((sum, [, count]) => sum + Number(count), 0)]]) };
}

export const ciliumEnforcer: PolicyEnforcer<CiliumNetwork> = {
  name: "Cilium",
  requires: () => [],
  refusesNetwork: () => undefined,
  refuses: withoutProxy,
  // Its map of drops knows no systems.
  deniedElsewhere: "(all systems of the server)",
  compiled: (context) => `[\n${importedBy(context).join(",\n")}\n]`,
  hits: ({ members, server }) => sh`
    dbg() { docker exec ${ownContainers.cilium} cilium-dbg "$@"; }
    echo "=== identities"; dbg identity list -o json
    endpoint() {
      id=$(dbg endpoint get "ipv4:$2" -o json 2>/dev/null | sed -n 's/^    "id": \([0-9]*\),*$/\1/p' | head -n 1)
      if [ -n "$id" ]; then echo "=== endpoint $1"; dbg bpf policy get "$id" -n -o json; fi
    }
    ${members.flatMap(({ system, server: at, addresses: { ipv4 } }) =>
      at === server.name && ipv4 !== undefined ? [sh`endpoint ${system} ${formatAddress(ipv4)}`] : [],
    )}
    echo "=== drops"; dbg metrics list 2>/dev/null | grep cilium_drop_count_total || :
  `,
  readHits,
};
