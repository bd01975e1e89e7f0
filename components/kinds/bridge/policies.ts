/** Policies on a bridge: rules of iptables before those that keep tenants apart, for what stays on the bridge too. */
import type { BridgeNetwork } from "../../config/types.gen";
import { policyChain, policySetPrefix } from "../../host/objects/filterRules";
import { sh } from "../../host/sh";
import { deviceName } from "../../net/names";
import { compileNetfilter, type Family, type NetfilterPolicy } from "../../net/policy/netfilter";
import type { NetworkContext } from "../kind";
import { compiledText, readCounters } from "../netfilterPolicies";
import { type PolicyEnforcer, withoutProxy } from "../policies";

type Context = NetworkContext<BridgeNetwork>;

const families: readonly Family[] = ["ipv4", "ipv6"];

export const bridgeDevice = (network: BridgeNetwork): string => deviceName("br-", network.name);
export const filterChain = (network: BridgeNetwork): string => deviceName("FF-", network.name);

/** Undefined where nobody on this server is protected. */
export function policyOf({ network, server, members, policies }: Context): Record<Family, NetfilterPolicy> | undefined {
  const here = new Set(members.filter((member) => member.server === server.name).map(({ system }) => system));
  if (!policies.resolved.selected.some((system) => here.has(system))) return undefined;
  const of = (family: Family): NetfilterPolicy =>
    compileNetfilter({
      family,
      setPrefix: policySetPrefix(filterChain(network)),
      policy: policies.resolved,
      addresses: policies.addresses,
      here,
      members: members.map(({ system }) => system),
      pass: "RETURN",
    });
  return { ipv4: of("ipv4"), ipv6: of("ipv6") };
}

const toolsOf = ({ filter }: BridgeNetwork): Record<Family, string> => {
  const legacy = filter === "iptables-legacy" ? "-legacy" : "";
  return { ipv4: `iptables${legacy}`, ipv6: `ip6tables${legacy}` };
};

export const bridgeEnforcer: PolicyEnforcer<BridgeNetwork> = {
  name: "iptables on the bridge",
  requires: () => [
    { tool: "ipset", why: "policies (package ipset)" },
    { kernelOption: "CONFIG_BRIDGE_NETFILTER", why: "policies on bridges" },
    { kernelOption: "CONFIG_IP_SET_HASH_NET", why: "policies" },
  ],
  refusesNetwork: ({ filter }) =>
    filter === "nft" ? "policies are rules of iptables there; write filter: iptables, or iptables-legacy" : undefined,
  refuses: withoutProxy,
  deniedElsewhere: "(of no system)",
  compiled: (context) => {
    const [policy, tools] = [policyOf(context), toolsOf(context.network)];
    const chain = policyChain(filterChain(context.network));
    return compiledText(
      chain,
      families.map((family) => [tools[family], policy?.[family]] as const),
    );
  },
  hits: ({ network }) => sh`
    for tool in ${Object.values(toolsOf(network))}; do "$tool" -w -v -S ${policyChain(filterChain(network))} 2>/dev/null || :; done
  `,
  readHits: readCounters,
};
