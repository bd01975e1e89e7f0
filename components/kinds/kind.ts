/**
 * The one extension point: a kind of network. A kind is a folder here, a line in registry.ts and a
 * definition in the schema. It plans with data and touches nothing; components render the plans.
 */
import type { ImageName } from "../../images/images";
import type { Declaration, ServerDeclaration } from "../config/declaration";
import type { Rule } from "../config/faults";
import type { Network } from "../config/types.gen";
import type { AttachInterface } from "../host/objects/attachSpec";
import type { HostObject } from "../host/objectType";
import type { Address, Prefix } from "../net/cidr";

/** A piece of what encapsulation adds to each packet. */
export interface Overhead {
  readonly name: string;
  readonly bytes: number;
}

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
  /** The lengths that go with the addresses. */
  readonly prefixes: Prefixes;
}

/** What a kind knows when it plans a network on a server. */
export interface NetworkContext<N extends Network = Network> {
  readonly declaration: Declaration;
  readonly network: N;
  readonly server: ServerDeclaration;
  readonly mtuBytes: number;
  /** Every member of the network, on all servers. */
  readonly members: readonly Member[];
}

/** What a server must have for a kind, and what it is for. */
export interface Requirement {
  readonly tool?: string;
  /** Of the kernel's configuration: CONFIG_VXLAN. */
  readonly kernelOption?: string;
  readonly why: string;
}

/** How a member's interface is joined to the network on its server. */
export type AttachPoint = Pick<AttachInterface, "bridge" | "routes" | "hooks">;

export interface KindRuleContext<N extends Network> {
  readonly declaration: Declaration;
  /** The networks of this kind. */
  readonly networks: readonly N[];
}

export interface NetworkKind<N extends Network = Network> {
  readonly kind: N["kind"];
  readonly rules: readonly Rule<KindRuleContext<N>>[];
  /** What the underlay carries beside the system's packet; the MTU rule spells the sum out. */
  overhead(network: N): readonly Overhead[];
  /** Where the addresses of systems on a server come from. */
  prefixes(network: N, server: string): Prefixes;
  /** Addresses of a prefix that no system may have. */
  gateways(network: N, server: string): Addresses;
  requires(network: N): readonly Requirement[];
  /** Images that its containers need on a server, beside those of the systems. */
  images(network: N): readonly ImageName[];
  /** The NVE: what a server needs to take part in the network, in the order in which it is made. */
  nve(context: NetworkContext<N>): readonly HostObject[];
  /** The NVA: what the hub needs, beside its own NVE. */
  nva(context: NetworkContext<N>): readonly HostObject[];
  attach(context: NetworkContext<N>, member: Member): AttachPoint;
  /** Whether packets of one server's members reach those of another, for the reachability test. */
  reaches(context: NetworkContext<N>, from: Member, to: Member): boolean;
}
