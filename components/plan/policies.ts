/** Policies as they bear on each network. Pure. */
import type { Declaration } from "../config/declaration";
import type { Network } from "../config/types.gen";
import type { NetworkPolicies } from "../kinds/contexts";
import { resolveMembers } from "../kinds/members";
import { kindOf } from "../kinds/registry";
import type { Address } from "../net/cidr";
import { type Endpoint, resolvePolicies } from "../net/policy/resolve";
import type { Labels } from "../net/policy/selector";

const none: NetworkPolicies = { resolved: { selected: [], rules: [] }, addresses: new Map() };

/** Networks whose systems' packets come to this one's: where the servers route, all that they route for the tenant. */
function peersOf({ testbed }: Declaration, network: Network): Network[] {
  if (!kindOf(network).routesOnServer) return [network];
  return testbed.networks.filter((other) => other.tenant === network.tenant && other.kind === network.kind);
}

export function networkPolicies(declaration: Declaration, network: Network): NetworkPolicies {
  if (declaration.policies.length === 0) return none;
  const peers = peersOf(declaration, network);
  const endpointsOf = (networks: readonly Network[]): Endpoint[] =>
    declaration.testbed.systems
      .filter((system) => system.networks.some(({ name }) => networks.some((one) => one.name === name)))
      .map(({ name, labels = {} }) => ({ system: name, labels: labels as Labels }));
  const addresses = new Map<string, Address[]>();
  for (const { system, addresses: own } of peers.flatMap((peer) => resolveMembers(declaration, peer).members))
    addresses.set(system, [...(addresses.get(system) ?? []), ...(Object.values(own) as Address[])]);
  return { resolved: resolvePolicies(declaration.policies, endpointsOf([network]), endpointsOf(peers)), addresses };
}
