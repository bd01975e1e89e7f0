/** Policies as they bear on each network. Pure. */
import type { Declaration } from "../config/declaration";
import type { Network } from "../config/types.gen";
import type { NetworkPolicies } from "../kinds/kind";
import { kindOf } from "../kinds/registry";
import { type Endpoint, resolvePolicies } from "../net/policy/resolve";
import { resolveMembers } from "./members";

const none: NetworkPolicies = { resolved: { selected: [], rules: [] }, addresses: new Map() };

/** Networks whose systems' packets come to this one's: where the servers route, all that they route for the tenant. */
function peersOf({ testbed }: Declaration, network: Network): Network[] {
  if (!kindOf(network).routesOnServer) return [network];
  return testbed.networks.filter((other) => other.tenant === network.tenant && other.kind === network.kind);
}

export function networkPolicies(declaration: Declaration, network: Network): NetworkPolicies {
  if (declaration.policies.length === 0) return none;
  const labels = new Map(declaration.testbed.systems.map((system) => [system.name, system.labels ?? {}]));
  const endpointsOf = (networks: readonly Network[]): Endpoint[] => {
    const names = new Set(networks.flatMap((one) => resolveMembers(declaration, one).members.map(({ system }) => system)));
    return [...names].map((system) => ({ system, labels: (labels.get(system) ?? {}) as Endpoint["labels"] }));
  };
  const peers = peersOf(declaration, network);
  const addresses = new Map<string, NetworkPolicies["addresses"] extends ReadonlyMap<string, infer A> ? A : never>();
  for (const peer of peers) {
    for (const { system, addresses: own } of resolveMembers(declaration, peer).members)
      addresses.set(system, [...(addresses.get(system) ?? []), ...Object.values(own)]);
  }
  return { resolved: resolvePolicies(declaration.policies, endpointsOf([network]), endpointsOf(peers)), addresses };
}
