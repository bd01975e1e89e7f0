/** What a server can do for a testbed, from what it has. The kinds say what they need; what they do without is listed here. */
import type { Ability } from "../components/capabilities/capability";
import { capabilities } from "../components/capabilities/registry";
import type { Network } from "../components/config/types.gen";
import { sh, type Script } from "../components/host/sh";
import { kindOf } from "../components/kinds/registry";
import { commonRequirements } from "../components/plan/plan";

const subnets = { subnets: {} };

/** One network of each sort whose needs differ: [what it is beside its kind, its own words]. A kind that is not here does not compile. */
const samples: {
  readonly [K in Network["kind"]]: readonly (readonly [string, Omit<Extract<Network, { kind: K }>, "name" | "tenant" | "kind">])[];
} = {
  bridge: [
    [", filter iptables", { mode: "routed", ...subnets }],
    [", filter iptables-legacy", { mode: "routed", filter: "iptables-legacy", ...subnets }],
    [", filter nft", { mode: "nat", filter: "nft", ...subnets }],
  ],
  netns: [["", {}]],
  evpn: [["", { vn: 1 }]],
  ila: [
    [", backend ebpf", { vn: 1, sir: "" }],
    [", backend kernel", { vn: 1, sir: "", backend: "kernel" }],
  ],
  swarm: [["", { subnet: "" }]],
  cilium: [["", subnets]],
  macvlan: [
    ["", {}],
    [", parent vlan N", { parent: "vlan 1" }],
    [", parent vxlan N", { parent: "vxlan 1" }],
    [", driver ipvlan", { driver: "ipvlan" }],
  ],
};

const sampleNetworks = Object.entries(samples).flatMap(([kind, own]) =>
  own.map(([words, more]) => [`kind ${kind}${words}`, { name: "any", tenant: "any", kind, ...more } as Network] as const),
);

export const abilities: readonly Ability[] = [
  { name: "any testbed", requires: commonRequirements, cost: "the server cannot take part" },
  ...sampleNetworks.map(([name, network]) => ({ name, requires: kindOf(network).requires(network), cost: "such networks are refused" })),
  ...capabilities.flatMap((capability) => capability.abilities),
  { name: "evpn's short cut", requires: [], sinceKernel: "6.6", cost: "frames go by the bridge: some 15% fewer transactions" },
  { name: "links' delay and jitter", requires: [{ kernelOption: "CONFIG_NET_SCH_NETEM" }], cost: "refused; rate and loss need no netem" },
  { name: "links' rate", requires: [{ tool: "tc" }, { kernelOption: "CONFIG_NET_SCH_TBF" }], cost: "refused" },
  { name: "links' loss", requires: [{ tool: "tc" }, { kernelOption: "CONFIG_NET_CLS_BPF" }], cost: "refused" },
  { name: "compiled eBPF", requires: [{ kernelOption: "CONFIG_BPF_JIT" }], cost: "eBPF is interpreted: figures compare with nobody's" },
];

type Answer = "yes" | "no" | "unknown";

export interface Facts {
  readonly kernel: string;
  readonly docker: string;
  readonly answers: ReadonlyMap<string, Answer>;
}

const needs = (key: "tool" | "kernelOption"): string[] =>
  [...new Set(abilities.flatMap((ability) => ability.requires.flatMap((one) => one[key] ?? [])))].sort();

export const factsScript: Script = sh`
  config=
  for file in /proc/config.gz "/boot/config-$(uname -r)"; do if [ -r "$file" ]; then config=$file; break; fi; done
  options=$(case $config in "") ;; *.gz) zcat "$config" ;; *) cat "$config" ;; esac | grep -E '=[ym]$' || :)
  echo "kernel $(uname -r)"
  echo "docker $(docker version -f '{{.Server.Version}}' 2>/dev/null)"
  for name in ${needs("tool")}; do if command -v "$name" >/dev/null; then echo "$name yes"; else echo "$name no"; fi; done
  for name in ${needs("kernelOption")}; do
    if [ -z "$config" ]; then echo "$name unknown"
    elif printf '%s\n' "$options" | grep -qE "^$name="; then echo "$name yes"
    else echo "$name no"; fi
  done
`;

export function readFacts(output: string): Facts {
  const lines = output.split("\n").map((line): [string, string] => [line.split(" ")[0] ?? "", line.split(" ").slice(1).join(" ")]);
  const value = (key: string): string => lines.find(([name]) => name === key)?.[1] ?? "";
  const answers = new Map(lines.map(([name, answer]) => [name, answer as Answer]));
  return { kernel: value("kernel"), docker: value("docker"), answers };
}

const numbers = (version: string): number[] => (/^\d+(\.\d+)*/.exec(version)?.[0] ?? "0").split(".").map(Number);

function isBefore(version: string, other: string): boolean {
  const [a, b] = [numbers(version), numbers(other)];
  const i = b.findIndex((number, at) => (a[at] ?? 0) !== number);
  return i >= 0 && (a[i] ?? 0) < (b[i] ?? 0);
}

export interface Judged {
  readonly ability: string;
  readonly can: Answer;
  /** Names of what is missing. */
  readonly lacks: readonly string[];
  readonly cost: string;
}

export function judge(facts: Facts): Judged[] {
  return abilities.map(({ name, requires, sinceKernel, cost }) => {
    const asked = requires.flatMap(({ tool, kernelOption }) => [tool, kernelOption].flatMap((one) => one ?? []));
    const lacks = [
      ...new Set(asked.filter((one) => facts.answers.get(one) !== "yes" && facts.answers.get(one) !== "unknown")),
      ...(sinceKernel !== undefined && isBefore(facts.kernel, sinceKernel) ? [`Linux ${sinceKernel}`] : []),
    ];
    const isUnknown = asked.some((one) => facts.answers.get(one) === "unknown");
    return { ability: name, can: lacks.length > 0 ? "no" : isUnknown ? "unknown" : "yes", lacks, cost: lacks.length > 0 ? cost : "" };
  });
}
