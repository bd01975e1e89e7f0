/**
 * The one extension point for networks: a kind of network. A kind is a folder here, a line in registry.ts and a
 * definition in the schema. It plans with data and touches nothing; components render the plans.
 */
import type { Declaration, ServerDeclaration } from "../config/declaration";
import type { Rule } from "../config/faults";
import type { Link, Network, Offloads } from "../config/types.gen";
import type { AttachInterface } from "../host/contract/types.gen";
import type { Owner } from "../host/objectType";
import type { RulesPlace } from "../host/objects/experimentRules";
import type { GuardedDevices } from "../host/objects/guardRules";
import type { Script } from "../host/sh";
import type { Address } from "../net/cidr";
import type { Addresses, KindContext, Member, NetworkContext, Prefixes } from "./contexts";
import type { Observation } from "./observation";
import type { KindSecret, Part, SharedParts } from "./parts";
import type { End, Waypoint } from "./path";
import type { PolicyEnforcer } from "./policies";
import type { Requirement } from "./requirement";

/** A piece of what encapsulation adds to each packet. */
export interface Overhead {
  readonly name: string;
  readonly bytes: number;
}

/** How a member's interface is joined to the network on its server. */
export interface AttachPoint extends Pick<
  AttachInterface,
  "learns" | "routes" | "hooks" | "docker" | "parent" | "parentIdentity" | "floods"
> {
  /** Not before the agent sees that what guards the network stands. */
  readonly startedByAgent?: boolean;
  /** None where the server routes to the system. */
  readonly bridge?: string;
  /** Addresses that the server's end answers for. */
  readonly nextHops?: readonly string[];
  /** What its interface must not have whatever the testbed says. */
  readonly offloads?: Offloads;
}

export interface KindRuleContext<N extends Network> {
  readonly declaration: Declaration;
  /** The networks of this kind. */
  readonly networks: readonly N[];
}

/** Why rules are in no packet's way. */
export interface NoRulesPlace {
  readonly nowhere: string;
}

export interface NetworkGuard {
  readonly guarded: readonly GuardedDevices[];
  /** A filter looks into its frames, and sees no further than a VLAN tag. */
  readonly untagged?: boolean;
  /** Devices by which frames come into it that no system here has sent. */
  readonly wires?: readonly string[];
}

export type MoveMoment = "both" | "alone";

export interface NetworkKind<N extends Network = Network> {
  readonly kind: N["kind"];
  readonly rules: readonly Rule<KindRuleContext<N>>[];
  /** A word more about a network for people: a bridge's mode, a VNID. */
  variant(network: N): string;
  /** What the underlay carries beside the system's packet; the MTU rule spells the sum out. */
  overhead(network: N): readonly Overhead[];
  /** The servers that take part: those of its systems, and those that route for it. */
  servers(declaration: Declaration, network: N): readonly ServerDeclaration[];
  /** The links that its packets may cross; its MTU derives from them. */
  links(declaration: Declaration, network: N): readonly Link[];
  /** Where the addresses of systems on a server come from. */
  prefixes(network: N, server: string): Prefixes;
  /** Where addresses that nobody declared come from, if not from the whole prefixes. */
  pools?(network: N, server: string): Prefixes;
  /** Where docker makes the interfaces: their name, and their MAC by the address (none where it is drawn). */
  readonly docker?: { readonly interface: string; mac(address: Address): string };
  /** Addresses of a prefix that no system may have. */
  gateways(network: N, server: string): Addresses;
  /** Frames to all reach every member: a DHCP server among them is heard. */
  isSegment?(network: N): boolean;
  /** Its systems on a server are ports of one bridge there. */
  readonly bridges?: true;
  /** Interfaces have no MAC of their own. */
  hasParentsMac?(network: N): boolean;
  /** Addresses that are the server's own in the network without being anybody's gateway. */
  ownAddresses?(network: N, server: string): Addresses;
  /** Members are no neighbours of one another: all packets go by the server. */
  readonly membersStandAlone?: boolean;
  /** Its systems are stations of the servers' own link, and may have addresses of its prefix. */
  isOnUnderlay?(network: N): boolean;
  /** Whether the server itself forwards to and from the prefixes. */
  readonly routesOnServer: boolean;
  /** Its servers meet at an authority on the hub. */
  readonly needsHub?: true;
  /** Of a server that takes part; of any where none is named. */
  requires(network: N, server?: string, declaration?: Declaration): readonly Requirement[];
  /** Secrets that arise on the hub for the kind itself. */
  readonly secrets: readonly KindSecret[];
  /** Sysctls of the servers, set where the kernel knows them. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** The NVE: what a server needs to take part in the network, in the order in which it is made. */
  nve(context: NetworkContext<N>): readonly Part[];
  shared(context: KindContext<N>): SharedParts;
  /** A kind without it has namespaces for systems: no container, no agent. */
  attach?(context: NetworkContext<N>, member: Member): AttachPoint;
  /** Where the rules of an experiment are in its packets' way. Default: where the server forwards. */
  experimentRules?(network: N, declaration: Declaration): RulesPlace | NoRulesPlace;
  /** What enforces policies; a kind without it takes none. */
  readonly policies?: PolicyEnforcer<N>;
  /** Whether packets of one server's members reach those of another, for the reachability test. */
  reaches(context: NetworkContext<N>, from: Member, to: Member): boolean;
  /** The devices between the interfaces of two members, also of two networks of a tenant; undefined where that is not known. */
  path?(declaration: Declaration, from: End<N>, to: End): readonly Waypoint[] | undefined;
  /** Packets come to its systems past our programs at their interfaces, and who hands them over asks nobody (bpf/lib/receive.h). */
  redirects?(network: N): boolean;
  observations(context: KindContext<N>, owner: Owner): readonly Observation[];
  /** Its systems reach what is no part of the testbed. */
  reachesOutside?(network: N): boolean;
  /** UDP ports by which its servers send one another packets. */
  tunnelPorts?(network: N): readonly number[];
  /**
   * What the server's guard has to let by for the network: the devices by which its systems' packets come to the server, and what
   * they may do there. What a kind does not say is closed at those devices.
   */
  guard?(context: NetworkContext<N>): NetworkGuard;
  /** Its own programs see to what a system sends at its port. */
  readonly guardsPorts?: true;
  /** A bare baseline: its systems reach all that their server does. */
  readonly isOpen?: true;
  /** On the new server of a system that `flipflap move` moves: when it runs there too, and when it runs there alone. */
  moved?(context: NetworkContext<N>, member: Member, moment: MoveMoment): Script | undefined;
}
