/** Policies in an overlay: rules of iptables in its own network namespace on each server. */
import type { SwarmNetwork } from "../../config/types.gen";
import { dockerNetwork } from "../../net/names";
import { overlayNamespace } from "../../host/objects/swarm";
import { sh } from "../../host/sh";
import { compiledText, netfilterRequirements, readCounters } from "../netfilterPolicies";
import { type PolicyEnforcer, withoutProxy } from "../policies";
import { netfilterOf, variantOf } from "./netfilter";

export const overlayEnforcer: PolicyEnforcer<SwarmNetwork> = {
  name: "iptables in the overlay's namespace",
  requires: (network) => [
    { tool: variantOf(network), why: "policies in overlays (package iptables)" },
    { tool: "nft", why: "policies in overlays (package nftables)" },
    ...netfilterRequirements,
  ],
  refusesNetwork: () => undefined,
  refuses: withoutProxy,
  deniedElsewhere: "(of no system)",
  compiled: (context) => compiledText("FORWARD", [[variantOf(context.network), netfilterOf(context)]]),
  hits: ({ network }) => sh`
    ${overlayNamespace}
    namespace=$(overlay_namespace ${dockerNetwork(network.name)})
    if [ -n "$namespace" ]; then nsenter --net="$namespace" ${variantOf(network)} -w -v -S; fi
  `,
  readHits: readCounters,
};
