/** Policies on a bridge: rules of iptables before those that keep tenants apart, for what stays on the bridge too. */
import type { BridgeNetwork } from "../../config/types.gen";
import { filterTool, policyChain } from "../../host/objects/filterRules";
import { sh } from "../../host/sh";
import { families, type Family } from "../../net/cidr";
import { deviceName } from "../../net/names";
import { type NetfilterPolicy, setPrefixOf } from "../../net/policy/netfilter";
import type { NetworkContext } from "../contexts";
import { compiledText, compileHere, netfilterRequirements, readCounters } from "../netfilterPolicies";
import { type PolicyEnforcer, withoutProxy } from "../policies";

export const bridgeDevice = (network: BridgeNetwork): string => deviceName("br-", network.name);
export const filterChain = (network: BridgeNetwork): string => deviceName("FF-", network.name);

/** Undefined where nobody on this server is protected. */
export function policyOf(context: NetworkContext<BridgeNetwork>): Record<Family, NetfilterPolicy> | undefined {
  const setPrefix = setPrefixOf(filterChain(context.network));
  const [ipv4, ipv6] = families.map((family) => compileHere(context, { family, setPrefix, pass: "RETURN" }));
  return ipv4 === undefined || ipv6 === undefined ? undefined : { ipv4, ipv6 };
}

export const filterVariant = ({ filter }: BridgeNetwork): NonNullable<BridgeNetwork["filter"]> => filter ?? "iptables";

const toolOf = (network: BridgeNetwork, family: Family): string => filterTool(filterVariant(network), family);

export const bridgeEnforcer: PolicyEnforcer<BridgeNetwork> = {
  name: "iptables on the bridge",
  tracksConnections: true,
  requires: () => netfilterRequirements,
  refusesNetwork: ({ filter }) =>
    filter === "nft" ? "policies are rules of iptables there; write filter: iptables, or iptables-legacy" : undefined,
  refuses: withoutProxy,
  deniedElsewhere: "(of no system)",
  compiled: (context) => {
    const policy = policyOf(context);
    return compiledText(
      policyChain(filterChain(context.network)),
      families.map((family) => [toolOf(context.network, family), policy?.[family]] as const),
    );
  },
  hits: ({ network }) => sh`
    for tool in ${families.map((family) => toolOf(network, family))}; do "$tool" -w -v -S ${policyChain(filterChain(network))} 2>/dev/null || :; done
  `,
  readHits: readCounters,
};
