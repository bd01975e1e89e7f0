/**
 * Filter rules of an experiment, in the way of all that the server forwards: a chain of their own, first in FORWARD. They
 * return what they match, so that the networks' own filters see what they saw before.
 */
import { nothing, type Script, sh } from "../sh";

export interface ExperimentRulesSpec {
  readonly count: number;
  readonly filter: "iptables" | "iptables-legacy" | "nft";
  /** Whether the first rule matches the measurement's packets, or none does. */
  readonly match: "none" | "top";
}

const chain = "FF-experiment";
const saved = "experiment.rules";
const bridgeKey = "net.bridge.bridge-nf-call-iptables";

/** TEST-NET-3 (RFC 5737): nobody's. */
const unmatched = (index: number): string => `203.0.113.${index % 256}`;

function iptablesRules({ count, match }: ExperimentRulesSpec): string[] {
  return Array.from({ length: count }, (_, i) =>
    match === "top" && i === 0
      ? `-A ${chain} -p tcp -j RETURN`
      : `-A ${chain} -s ${unmatched(i)}/32 -p tcp -m tcp --dport ${1 + (i % 65535)} -j DROP`,
  );
}

function nftRules({ count, match }: ExperimentRulesSpec): string[] {
  return Array.from({ length: count }, (_, i) =>
    match === "top" && i === 0 ? "meta l4proto tcp return" : `ip saddr ${unmatched(i)} tcp dport ${1 + (i % 65535)} drop`,
  );
}

/** Takes away the rules of any filter, and puts back whether bridged packets are filtered. */
export const removeExperimentRules: Script = sh`
  if [ -e "$folder/saved/${saved}" ]; then
    for tool in iptables iptables-legacy; do
      if command -v "$tool" >/dev/null && "$tool" -w -S ${chain} >/dev/null 2>&1; then
        while "$tool" -w -C FORWARD -j ${chain} 2>/dev/null; do "$tool" -w -D FORWARD -j ${chain}; done
        "$tool" -w -F ${chain}
        "$tool" -w -X ${chain}
      fi
    done
    if command -v nft >/dev/null && nft list table inet ${chain} >/dev/null 2>&1; then nft delete table inet ${chain}; fi
    put_bridge() { sysctl -qw ${bridgeKey}="$1"; }
    restore experiment.bridge put_bridge
    forget ${saved}
  fi
`;

/** The name of what a killed experiment left; nothing where there is nothing. */
export const listExperimentRules: Script = sh`if [ -e "$folder/saved/${saved}" ]; then echo ${chain}; fi`;

export function ensureExperimentRules(spec: ExperimentRulesSpec): Script {
  const put =
    spec.filter === "nft"
      ? sh`
        printf '%s\n' ${[
          `add table inet ${chain}`,
          `delete table inet ${chain}`,
          `table inet ${chain} {`,
          "chain forward {",
          // Before the networks' own.
          "type filter hook forward priority filter - 10; policy accept;",
          ...nftRules(spec),
          "}",
          "}",
        ].join("\n")} | nft -f -
      `
      : sh`
        printf '%s\n' "*filter" ":${chain} - [0:0]" ${iptablesRules(spec).join("\n")} COMMIT | ${`${spec.filter}-restore`} --noflush --wait
        ${spec.filter} -w -C FORWARD -j ${chain} 2>/dev/null || ${spec.filter} -w -I FORWARD 1 -j ${chain}
      `;
  return sh`
    ${removeExperimentRules}
    there() { iptables -w -S ${chain} || nft list table inet ${chain}; }
    own_name ${saved} ${`${chain}: there is a chain or table`} there
    # Frames between the ports of a bridge meet the rules too.
    if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
      save experiment.bridge "$(sysctl -n ${bridgeKey})"
      sysctl -qw ${bridgeKey}=1
    fi
    ${spec.count === 0 ? nothing : put}
  `;
}
