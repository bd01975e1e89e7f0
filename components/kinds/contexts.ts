/** What a kind knows when it plans: a network on a server, its members, and what its networks share. */
import type { Declaration, ServerDeclaration } from "../config/declaration";
import type { Network } from "../config/types.gen";
import type { Address, Prefix } from "../net/cidr";
import type { ResolvedPolicy } from "../net/policy/resolve";

export interface Prefixes {
  readonly ipv4?: Prefix;
  readonly ipv6?: Prefix;
}

export interface Addresses {
  readonly ipv4?: Address;
  readonly ipv6?: Address;
}

/** A system's interface in a network, with all that is settled about it. */
export interface Member {
  readonly system: string;
  readonly tenant: string;
  readonly server: string;
  readonly network: string;
  readonly interface: string;
  readonly mac: string;
  readonly addresses: Addresses;
  /** It asks for its IPv4 address. */
  readonly asksForAddress?: boolean;
  /** The lengths that go with the addresses. */
  readonly prefixes: Prefixes;
  /** Its network's members are no neighbours: its addresses stand alone. */
  readonly standsAlone?: boolean;
}

/** What a kind knows when it plans a network on a server. */
export interface NetworkContext<N extends Network = Network> {
  readonly declaration: Declaration;
  readonly network: N;
  readonly server: ServerDeclaration;
  readonly mtuBytes: number;
  /** Every member of the network, on all servers. */
  readonly members: readonly Member[];
  readonly policies: NetworkPolicies;
  /** Of the ends of systems that are not in the systems, by ethtool's names, where they are not the kernel's own. */
  readonly offloads: Readonly<Record<string, boolean>>;
}

/** What policies say of a network's systems. */
export interface NetworkPolicies {
  readonly resolved: ResolvedPolicy;
  /** Of the network's systems, and of others whose packets come to it. */
  readonly addresses: ReadonlyMap<string, readonly Address[]>;
}

/** What a kind knows when it plans what its networks share on a server. */
export interface KindContext<N extends Network = Network> {
  readonly declaration: Declaration;
  readonly server: ServerDeclaration;
  /** Those that the server takes part in. */
  readonly networks: readonly NetworkContext<N>[];
  mtuOf(network: N): number;
}
