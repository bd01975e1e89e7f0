/**
 * Filter rules of an experiment, in the way of all that the server forwards, or an overlay's own namespace does: a chain of their
 * own, first in FORWARD. They return what they match, so that the networks' own filters see what they saw before. For Cilium's
 * systems they are a policy's.
 */
import { ownContainers } from "../../net/names";
import type { Owner } from "../objectType";
import { nothing, type Script, sh } from "../sh";
import { statusFolder } from "./agentFolders";
import { awaitStatus } from "./awaitStatus";
import { kindFile } from "./kindFile";
import { overlayNamespace } from "./swarm";

/** Rules that the agent has in force: files beside those of kinds, and where it says which of them are. */
export interface AgentRulesPlace {
  readonly declared: string;
  /** What is in force instead, while it is there. */
  readonly instead: string;
  /** Below the agent's status, under the key `rules`: the hash. */
  readonly status: string;
}

/** In the namespace of an overlay of docker's, as policies of Cilium on the systems that these select, or with the agent. */
export type RulesPlace = { readonly overlay: string } | { readonly selectors: readonly string[] } | AgentRulesPlace;

export interface ExperimentRulesSpec {
  readonly count: number;
  readonly filter: "iptables" | "iptables-legacy" | "nft" | "nft-sets" | "ebpf";
  /** Whether the first rule matches the measurement's packets, or none does. */
  readonly match: "none" | "top";
  /** Default: the server. */
  readonly place?: RulesPlace;
}

export const experimentChain = "FF-experiment";
const saved = "experiment.rules";
const bridgeKey = "net.bridge.bridge-nf-call-iptables";

/** TEST-NET-3 (RFC 5737): nobody's. */
const unmatched = (index: number): string => `203.0.113.${index % 256}`;

const port = (index: number): number => 1 + (index % 65535);

function iptablesRules({ count, match }: ExperimentRulesSpec): string[] {
  return Array.from({ length: count }, (_, i) =>
    match === "top" && i === 0
      ? `-A ${experimentChain} -p tcp -j RETURN`
      : `-A ${experimentChain} -s ${unmatched(i)}/32 -p tcp -m tcp --dport ${port(i)} -j DROP`,
  );
}

/** One rule, with all that others would say one by one in a set. */
function nftSetRules({ count, match }: ExperimentRulesSpec): string[] {
  const elements = Array.from({ length: count }, (_, i) => `${unmatched(i)} . ${port(i)}`);
  return [...(match === "top" ? ["meta l4proto tcp return"] : []), `ip saddr . tcp dport { ${elements.join(", ")} } drop`];
}

function nftRules(spec: ExperimentRulesSpec): string[] {
  const { count, match, filter } = spec;
  if (filter === "nft-sets") return nftSetRules(spec);
  return Array.from({ length: count }, (_, i) =>
    match === "top" && i === 0 ? "meta l4proto tcp return" : `ip saddr ${unmatched(i)} tcp dport ${port(i)} drop`,
  );
}

/** Of the policies that are an experiment's. */
const policyLabel = { key: "flipflap", value: "experiment" };

/** As many ports as wanted are allowed in one policy, and all else is too: what counts is how many entries there are. */
function policies(count: number, selectors: readonly string[]): string {
  const ports = Array.from({ length: count }, (_, i) => ({ port: String(1 + i), protocol: "TCP" }));
  const lists = Array.from({ length: Math.ceil(count / 40) }, (_, i) => ({ ports: ports.slice(i * 40, (i + 1) * 40) }));
  const ingress = [{ toPorts: lists }, { fromEntities: ["all"] }];
  return JSON.stringify(
    selectors.map((selector) => ({ endpointSelector: JSON.parse(selector) as unknown, ingress, labels: [policyLabel] })),
  );
}

/** Where the rules are: `at` runs a command there. */
const placeOfRules: Script = sh`
  ${overlayNamespace}
  at() { "$@"; }
  if [ -s "$folder/saved/experiment.overlay" ]; then
    namespace=$(overlay_namespace "$(cat "$folder/saved/experiment.overlay")")
    # Where it is gone the rules are.
    if [ -n "$namespace" ]; then at() { nsenter --net="$namespace" "$@"; }; else at() { false; }; fi
  fi
`;

/** Takes away the rules of any filter, wherever they are, and puts back whether bridged packets are filtered. */
export const removeExperimentRules: Script = sh`
  if [ -e "$folder/saved/${saved}" ]; then
    ${placeOfRules}
    for tool in iptables iptables-legacy; do
      if command -v "$tool" >/dev/null && at "$tool" -w -S ${experimentChain} >/dev/null 2>&1; then
        while at "$tool" -w -C FORWARD -j ${experimentChain} 2>/dev/null; do at "$tool" -w -D FORWARD -j ${experimentChain}; done
        at "$tool" -w -F ${experimentChain}
        at "$tool" -w -X ${experimentChain}
      fi
    done
    if command -v nft >/dev/null && at nft list table inet ${experimentChain} >/dev/null 2>&1; then at nft delete table inet ${experimentChain}; fi
    put_bridge() { at sysctl -qw ${bridgeKey}="$1" || :; }
    restore experiment.bridge put_bridge
    drop_policies() { docker exec ${ownContainers.cilium} cilium-dbg policy delete ${`${policyLabel.key}=${policyLabel.value}`} >/dev/null 2>&1 || :; }
    restore experiment.policies drop_policies
    drop_instead() { rm -f "$1"; }
    restore experiment.instead drop_instead
    forget experiment.overlay
    forget ${saved}
  fi
`;

/** The name of what a killed experiment left; nothing where there is nothing. */
export const listExperimentRules: Script = sh`if [ -e "$folder/saved/${saved}" ]; then echo ${experimentChain}; fi`;

/** Cilium says when the policies are in force. */
const importPolicies = (text: string): Script => sh`
  save experiment.policies made
  revision=$(printf '%s' ${text} | docker exec -i ${ownContainers.cilium} cilium-dbg policy import - | sed -n 's/^Revision: //p')
  docker exec ${ownContainers.cilium} cilium-dbg policy wait --sleep-time 1 "$revision" >/dev/null
`;

const secondsMost = 120;

/** In front of those that are declared, which stay in force behind them. */
function putWithAgent(spec: ExperimentRulesSpec, files: AgentRulesPlace): Script {
  const rules = [`-N ${experimentChain}`, `-I FORWARD 1 -j ${experimentChain}`, ...iptablesRules(spec)].map((rule) => `iptables ${rule}`);
  const { declared, instead, status } = files;
  const put =
    spec.count === 0
      ? sh`told ${declared} ${status} rules ${"the declared rules are not in force"}`
      : sh`
        save experiment.instead ${instead}
        { cat ${declared}; echo; printf '%s\n' ${rules.join("\n")}; } >${instead}.new
        mv ${instead}.new ${instead}
        told ${instead} ${status} rules ${"the experiment's rules are not in force"}
      `;
  // Where it looks at no system of the server there is no file.
  return sh`
    ${removeExperimentRules}
    save ${saved} made
    ${awaitStatus(secondsMost * 10)}
    if [ -e ${declared} ]; then
      ${put}
    fi
  `;
}

export function ensureExperimentRules(spec: ExperimentRulesSpec, owner: Owner): Script {
  const { count, filter, place } = spec;
  if (place !== undefined && "declared" in place)
    return putWithAgent(spec, {
      declared: kindFile(owner, place.declared),
      instead: kindFile(owner, place.instead),
      status: `${statusFolder(owner)}/${place.status}`,
    });
  const put =
    filter === "nft" || filter === "nft-sets"
      ? sh`
        printf '%s\n' ${[
          `add table inet ${experimentChain}`,
          `delete table inet ${experimentChain}`,
          `table inet ${experimentChain} {`,
          "chain forward {",
          // Before the networks' own.
          "type filter hook forward priority filter - 10; policy accept;",
          ...nftRules(spec),
          "}",
          "}",
        ].join("\n")} | at nft -f -
      `
      : sh`
        printf '%s\n' "*filter" ":${experimentChain} - [0:0]" ${iptablesRules(spec).join("\n")} COMMIT | at ${`${filter}-restore`} --noflush --wait
        at ${filter} -w -C FORWARD -j ${experimentChain} 2>/dev/null || at ${filter} -w -I FORWARD 1 -j ${experimentChain}
      `;
  if (place !== undefined && "selectors" in place) {
    return sh`
      ${removeExperimentRules}
      save ${saved} made
      ${count === 0 ? nothing : importPolicies(policies(count, place.selectors))}
    `;
  }
  return sh`
    ${removeExperimentRules}
    ${place === undefined ? nothing : sh`save experiment.overlay ${place.overlay}`}
    ${placeOfRules}
    there() { at iptables -w -S ${experimentChain} || at nft list table inet ${experimentChain}; }
    own_name ${saved} ${`${experimentChain}: there is a chain or table`} there
    # Frames between the ports of a bridge meet the rules too.
    if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
      save experiment.bridge "$(at sysctl -n ${bridgeKey})"
      at sysctl -qw ${bridgeKey}=1
    fi
    ${count === 0 ? nothing : put}
  `;
}
