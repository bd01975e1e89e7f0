/** What a server is, printed as JSON; fails with a full list of what it lacks. Pure text. */
import type { Requirement } from "../kinds/kind";
import { prelude } from "../host/script";
import type { Owner } from "../host/objectType";
import { type Script, sh } from "../host/sh";

function unique(requirements: readonly Requirement[], key: "tool" | "kernelOption"): [string, string][] {
  const reasons = new Map<string, Set<string>>();
  for (const requirement of requirements) {
    const name = requirement[key];
    if (name !== undefined) reasons.set(name, (reasons.get(name) ?? new Set()).add(requirement.why));
  }
  return [...reasons].map(([name, why]): [string, string] => [name, [...why].join(", ")]).sort();
}

export function factsScript(requirements: readonly Requirement[], owner: Owner): string {
  const usesNft = requirements.some((requirement) => requirement.tool === "nft");
  const script = sh`
    ${prelude(owner)}
    missing=
    lacks() { missing="$missing
  $1: $2"; }
    config=/dev/null
    for file in "/proc/config.gz" "/boot/config-$(uname -r)"; do if [ -r "$file" ]; then config=$file; break; fi; done
    kernel() { case $config in *.gz) zcat "$config" ;; *) cat "$config" ;; esac | grep -E "^$1=[ym]$" >/dev/null; }
    tool() { command -v "$1" >/dev/null || lacks "$1" "not installed; needed for $2"; }
    option() { [ "$config" = /dev/null ] || kernel "$1" || lacks "$1" "not in this server's kernel ($(uname -r)); needed for $2"; }
    ${unique(requirements, "tool").map(([name, why]) => sh`tool ${name} ${why}`)}
    ${unique(requirements, "kernelOption").map(([name, why]) => sh`option ${name} ${why}`)}
    if command -v docker >/dev/null && ! docker version >/dev/null 2>&1; then lacks docker "no answer of dockerd; start it, and let this user use it"; fi
    ${usesNft ? nftFits : sh`:`}
    [ -z "$missing" ] || fail "this server cannot take part:$missing"
    has() { if command -v "$1" >/dev/null; then echo true; else echo false; fi; }
    printf '{"kernel":"%s","architecture":"%s","docker":"%s","congestionControl":"%s","jit":"%s",' \
      "$(uname -r)" "$(uname -m)" "$(docker version -f '{{.Server.Version}}')" \
      "$(cat /proc/sys/net/ipv4/tcp_congestion_control)" "$(cat /proc/sys/net/core/bpf_jit_enable 2>/dev/null || echo unknown)"
    printf '"tools":{'
    separator=
    for name in ip ethtool nsenter iptables iptables-legacy nft ipset bpftool tc systemctl iperf3 netperf; do printf '%s"%s":%s' "$separator" "$name" "$(has $name)"; separator=,; done
    printf '},"kernelOptions":{'
    separator=
    for name in BRIDGE VETH VXLAN MACVLAN IPVLAN NET_VRF NETKIT IPV6_ILA LWTUNNEL_BPF INET_ESP NET_SCH_NETEM NET_SCH_TBF NF_TABLES IP_NF_IPTABLES IP_SET BPF_JIT DEBUG_INFO_BTF NET_CLS_BPF; do
      if [ "$config" = /dev/null ]; then answer=null; elif kernel "CONFIG_$name"; then answer=true; else answer=false; fi
      printf '%s"%s":%s' "$separator" "$name" "$answer"; separator=,
    done
    printf '},"nics":%s}\n' "$(ip -j link show | sed 's/,{}//g')"
  `;
  return `${script.text}\n`;
}

/** An accept in a table of nft's own does not undo a drop in iptables' FORWARD, which dockerd sets where it manages iptables. */
const nftFits: Script = sh`
  if command -v iptables >/dev/null && iptables -w -S FORWARD 2>/dev/null | grep -qx -e '-P FORWARD DROP'; then
    lacks "filter: nft" "this server's iptables drops in FORWARD (docker does so); what nft accepts is dropped there: use filter: iptables"
  fi
`;
