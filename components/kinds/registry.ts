/** The kinds that there are. Adding one adds a line here. */
import type { Network } from "../config/types.gen";
import { bridgeKind } from "./bridge";
import { ciliumKind } from "./cilium";
import { evpnKind } from "./evpn";
import { ilaKind } from "./ila";
import type { NetworkKind } from "./kind";
import { macvlanKind } from "./macvlan";
import { netnsKind } from "./netns";
import { swarmKind } from "./swarm";

const kinds = {
  bridge: bridgeKind,
  cilium: ciliumKind,
  evpn: evpnKind,
  ila: ilaKind,
  macvlan: macvlanKind,
  netns: netnsKind,
  swarm: swarmKind,
} as const satisfies {
  [K in Network["kind"]]: NetworkKind<Extract<Network, { kind: K }>>;
};

export function kindOf<N extends Network>(network: N): NetworkKind<N> {
  return kinds[network.kind] as unknown as NetworkKind<N>;
}

/** A network whose systems are namespaces. */
export const hasNamespaces = (network: Network): boolean => kindOf(network).attach === undefined;

export const allKinds: readonly NetworkKind[] = Object.values(kinds) as unknown as NetworkKind[];
