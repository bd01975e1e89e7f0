/** Networks and kinds as a server meets them: what components and plans are drawn from. Pure. */
import type { Declaration, ServerDeclaration } from "../config/declaration";
import type { Network, Offloads } from "../config/types.gen";
import { offloadFeatures, type OffloadName, offloadNames } from "../host/objects/offloads";
import type { KindContext, NetworkContext } from "../kinds/contexts";
import type { NetworkKind } from "../kinds/kind";
import { resolveMembers } from "../kinds/members";
import { allKinds, kindOf } from "../kinds/registry";
import { networkMtuBytes } from "./mtu";
import { networkPolicies } from "./policies";

/** The reports' settings, all on. */
const virtualOffloadDefaults: Offloads = { tso: true, gso: true, gro: true, txChecksum: true, rxChecksum: true };

export function networkContext(declaration: Declaration, network: Network, server: ServerDeclaration): NetworkContext {
  return {
    declaration,
    network,
    server,
    mtuBytes: networkMtuBytes(declaration, network),
    members: resolveMembers(declaration, network).members,
    policies: networkPolicies(declaration, network),
    offloads: Object.fromEntries(Object.entries(kernelOffloads(virtualOffloads(declaration))).filter(([, on]) => !on)),
  };
}

export function kernelOffloads(wanted: Offloads): Record<string, boolean> {
  return Object.fromEntries(
    offloadNames.flatMap((name: OffloadName) => {
      const on = wanted[name];
      return on === undefined ? [] : offloadFeatures[name].kernel.map((feature) => [feature, on] as const);
    }),
  );
}

export const virtualOffloads = (declaration: Declaration): Offloads => ({
  ...virtualOffloadDefaults,
  ...declaration.testbed.tuning?.virtualOffloads,
});

/** Once a network: the addresses of all its members are settled together. */
export function networkContexts(declaration: Declaration, server: ServerDeclaration): Map<string, NetworkContext> {
  const joined = declaration.testbed.networks.filter((network) => kindOf(network).servers(declaration, network).includes(server));
  return new Map(joined.map((network) => [network.name, networkContext(declaration, network, server)]));
}

/** Each kind of the testbed with its context on a server; also one that the server has no network of. */
export function kindContexts(
  declaration: Declaration,
  server: ServerDeclaration,
  contexts = networkContexts(declaration, server),
): { kind: NetworkKind; context: KindContext }[] {
  const used = allKinds.filter((kind) => declaration.testbed.networks.some((network) => network.kind === kind.kind));
  return used.map((kind) => {
    const networks = [...contexts.values()].filter(({ network }) => network.kind === kind.kind);
    return { kind, context: { declaration, server, networks, mtuOf: (network) => networkMtuBytes(declaration, network) } };
  });
}
