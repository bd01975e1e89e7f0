/** What a server is, printed as JSON; fails with a full list of what it lacks. Pure text. */
import type { Owner } from "../../host/objectType";
import { routeProtocol } from "../../host/objects/route";
import { prelude } from "../../host/script";
import { type Script, sh } from "../../host/sh";
import type { Requirement } from "../../kinds/requirement";

function unique(requirements: readonly Requirement[], key: "tool" | "kernelOption"): [string, string][] {
  const reasons = new Map<string, Set<string>>();
  for (const requirement of requirements) {
    const name = requirement[key];
    if (name !== undefined) reasons.set(name, (reasons.get(name) ?? new Set()).add(requirement.why));
  }
  return [...reasons].map(([name, why]): [string, string] => [name, [...why].join(", ")]).sort();
}

/** Each once, though several networks ask for it. */
function probesOf(requirements: readonly Requirement[]): Script[] {
  const probes = requirements.flatMap(({ probe }) => probe ?? []);
  return [...new Map(probes.map((probe) => [probe.text, probe])).values()];
}

/** What the networks will make this server route. */
export interface RoutingPlan {
  readonly prefixes: readonly string[];
  readonly forwardsIpv6: boolean;
}

export function factsScript(requirements: readonly Requirement[], routing: RoutingPlan, owner: Owner): string {
  const script = sh`
    ${prelude(owner, "fail")}
    missing=
    lacks() { missing="$missing
  $1: $2"; }
    config=/dev/null
    for file in "/proc/config.gz" "/boot/config-$(uname -r)"; do if [ -r "$file" ]; then config=$file; break; fi; done
    kernel() { case $config in *.gz) zcat "$config" ;; *) cat "$config" ;; esac | grep -E "^$1=[ym]$" >/dev/null; }
    tool() { command -v "$1" >/dev/null || lacks "$1" "not installed; needed for $2"; }
    option() { [ "$config" = /dev/null ] || kernel "$1" || lacks "$1" "not in this server's kernel ($(uname -r)); needed for $2"; }
    # A prefix that others route here, or that holds a route of theirs; what we made has our mark, or is a device of ours.
    free() {
      taken=$({ ip "$1" route show root "$2"; ip "$1" route show match "$2"; } | sed -E ${`/^default/d; / proto ${routeProtocol}/d; / dev (br-|rt-|cilium_)/d`} | sort -u)
      [ -z "$taken" ] || lacks "$2" "this server already routes it or a part of it ($taken); choose another subnet"
    }
    ${unique(requirements, "tool").map(([name, why]) => sh`tool ${name} ${why}`)}
    ${unique(requirements, "kernelOption").map(([name, why]) => sh`option ${name} ${why}`)}
    if command -v docker >/dev/null && ! docker version >/dev/null 2>&1; then lacks docker "no answer of dockerd; start it, and let this user use it"; fi
    ${probesOf(requirements)}
    ${imageStoreFits}
    ${routing.prefixes.map((prefix) => sh`free ${prefix.includes(":") ? "-6" : "-4"} ${prefix}`)}
    ${routing.forwardsIpv6 ? routerAdvertisementsFit : sh`:`}
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
    # Those that were there before us.
    printf '},"nicMtuBytes":{'
    separator=
    for nic in /sys/class/net/*; do
      case $(cat "$nic/ifalias" 2>/dev/null) in flipflap:*) continue ;; esac
      case \${nic##*/} in bonding_masters | *[!A-Za-z0-9._-]*) continue ;; esac
      printf '%s"%s":%s' "$separator" "\${nic##*/}" "$(cat "$nic/mtu")"; separator=,
    done
    printf '}}\n'
  `;
  return `${script.text}\n`;
}

/** Images are known by the digest of their configuration, which the containerd image store does not use. */
const imageStoreFits: Script = sh`
  case $(docker info -f '{{.DriverStatus}}' 2>/dev/null) in
    *io.containerd.snapshotter*) lacks docker "it uses the containerd image store, which flipflap does not know yet; turn containerd-snapshotter off in its daemon.json" ;;
  esac
`;

/** A kernel that forwards drops default routes that it learnt by router advertisements, unless accept_ra is 2. */
const routerAdvertisementsFit: Script = sh`
  for device in $(ip -6 route show default proto ra | sed -n 's/.* dev \([^ ]*\).*/\1/p' | sort -u); do
    [ "$(cat "/proc/sys/net/ipv6/conf/$device/accept_ra")" = 2 ] || lacks "net.ipv6.conf.$device.accept_ra" "must be 2: its IPv6 default route comes by router advertisements and would go once the server forwards IPv6"
  done
`;
