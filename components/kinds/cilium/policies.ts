/** Policies by Cilium: what its agent imports, and what its maps have counted. */
import type { Declaration } from "../../config/declaration";
import type { CiliumNetwork, System } from "../../config/types.gen";
import { sections } from "../../host/json";
import { sh } from "../../host/sh";
import { formatAddress } from "../../net/cidr";
import { ownContainers } from "../../net/names";
import { compileCilium, exactly, openTo } from "../../net/policy/cilium";
import type { AllowRule } from "../../net/policy/resolve";
import { matches } from "../../net/policy/selector";
import type { NetworkContext } from "../contexts";
import { type Hits, type PolicyEnforcer, withoutProxy } from "../policies";
import { ciliumNetworks } from "./prefixes";

type Context = NetworkContext<CiliumNetwork>;

const labelsOf = ({ labels }: System): Record<string, string> => (labels ?? {}) as Record<string, string>;

function systemsOf(declaration: Declaration): System[] {
  const names = new Set(ciliumNetworks(declaration).map(({ name }) => name));
  return declaration.testbed.systems.filter(({ networks }) => networks.some(({ name }) => names.has(name)));
}

const selects = (declaration: Declaration, system: System): boolean =>
  declaration.policies.some(({ policies }) => policies.some(({ endpointSelector }) => matches(endpointSelector, labelsOf(system))));

/** Whether any policy bears on Cilium's systems. */
export const isPoliced = (declaration: Declaration): boolean => systemsOf(declaration).some((system) => selects(declaration, system));

const keysOf = (systems: readonly System[]): string[] => [...new Set(systems.flatMap((system) => Object.keys(labelsOf(system))))].sort();

/** What selects a network's systems by their labels, as JSON. */
export function selectorsOf(declaration: Declaration, { name }: CiliumNetwork): string[] {
  const systems = systemsOf(declaration);
  const own = systems.filter(({ networks }) => networks.some((network) => network.name === name));
  return [...new Set(own.map((system) => JSON.stringify(exactly(labelsOf(system), keysOf(systems)))))];
}

/**
 * One policy a line, the same on every server. Where there are any, Cilium lets nothing pass that none allows, whatever was not
 * imported yet: so what S1 calls "no policy on a label accepts all" is said for each set of labels, and that all may ask.
 */
export function importedBy(declaration: Declaration): string[] {
  const systems = systemsOf(declaration);
  const keys = keysOf(systems);
  const open = systems.filter((system) => !selects(declaration, system)).map((system) => exactly(labelsOf(system), keys));
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

/** What agent/parts/cilium gives a system without labels. */
const unlabelled = "container:unlabelled";

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
      .join(" ") || unlabelled;
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
  compiled: ({ declaration }) => `[\n${importedBy(declaration).join(",\n")}\n]`,
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
