/**
 * The one extension point: a kind of network. A kind is a folder here, a line in registry.ts and a
 * definition in the schema. It plans with data and touches nothing; components render the plans.
 */
import type { ImageName } from "../../images/images";
import type { Declaration, ServerDeclaration } from "../config/declaration";
import type { Rule } from "../config/faults";
import type { Link, Network, Offloads, Secret } from "../config/types.gen";
import type { AttachInterface } from "../host/objects/attachSpec";
import type { GuardedDevices } from "../host/objects/guardRules";
import type { HostObject, Owner } from "../host/objectType";
import type { Script } from "../host/sh";
import type { Address, Prefix } from "../net/cidr";
import type { ResolvedPolicy } from "../net/policy/resolve";
import type { PolicyEnforcer } from "./policies";

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

/** What a server must have for a kind, and what it is for. */
export interface Requirement {
  readonly tool?: string;
  /** Of the kernel's configuration: CONFIG_VXLAN. */
  readonly kernelOption?: string;
  /** It filters what the server forwards, in tables that iptables does not know of. */
  readonly filtersBesideIptables?: boolean;
  /** No route of these protocols (a pattern of `ip route`'s words) may be there, unless this container of ours runs. */
  readonly noRoutesOf?: { readonly protocols: string; readonly unless: string };
  /** Nobody may listen on this port, unless this container of ours runs. */
  readonly freeTcpPort?: { readonly port: number; readonly unless: string };
  /** The server is in no swarm but ours. */
  readonly noForeignSwarm?: boolean;
  readonly why: string;
}

/** Text with secrets in it, by their names. */
export type SecretText = readonly (string | { readonly secret: string })[];

/** A container of a kind's own, in the server's network namespace. */
export interface ContainerPlan {
  readonly container: string;
  /** Or in this overlay of docker's, to hold it there: without files, folders and capabilities. */
  readonly dockerNetwork?: string;
  readonly image: ImageName;
  readonly command: readonly string[];
  /** Without CAP_. */
  readonly capabilities: readonly string[];
  readonly files: readonly { readonly path: string; readonly content: SecretText }[];
  /**
   * Folders of the server: below the stack's own where they do not begin with a slash; read-only inside unless they are written.
   * Where mounts follow, what is mounted there later is seen too.
   */
  readonly folders: readonly {
    readonly server: string;
    readonly container: string;
    readonly mountsFollow?: boolean;
    readonly isWritten?: boolean;
  }[];
}

export type Part = HostObject | ContainerPlan;

/** A secret of a kind's own: a random word, or a file that a part of the authority makes (below the stack's folder there). */
export type KindSecret = Secret | { readonly name: string; readonly file: string };

export const isContainer = (part: Part): part is ContainerPlan => "image" in part;

/** What a server needs once for all networks of a kind, in the order in which it is made. */
export interface SharedParts {
  /** Only where the server is a hub: the authority on reachability (NVA). */
  readonly authority?: { readonly component: string; readonly parts: readonly Part[]; readonly requires: readonly Requirement[] };
  /** What the kind's hooks in the agent need: objects that are made before it, and what it is started with. */
  readonly agent?: {
    readonly parts: readonly HostObject[];
    readonly files: readonly { readonly path: string; readonly content: SecretText }[];
    readonly folders: readonly { readonly server: string; readonly container: string }[];
  };
  /** Before the networks. */
  readonly edge: readonly Part[];
  /** After the networks, before the systems. */
  readonly joints: readonly Part[];
  /** What an `up` waits for; nothing waits for it. */
  readonly settled: readonly HostObject[];
  /** Made after the server's systems, so that it goes before the first of them does. */
  readonly parting?: HostObject;
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

/** What `flipflap status` tells of a kind on a server, beside its systems. */
export interface Observation {
  readonly title: string;
  /** Prints what `read` reads. Changes nothing. */
  readonly script: Script;
  read(output: string): ObservedTable;
}

export interface ObservedTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** What is wrong, with the reason; a healthy testbed has none. */
  readonly problems: readonly string[];
}

/** In the namespace of an overlay of docker's, or as policies of Cilium on the systems that these select. */
export type RulesPlace = { readonly overlay: string } | { readonly selectors: readonly string[] };

/** Why rules are in no packet's way. */
export interface NoRulesPlace {
  readonly nowhere: string;
}

export interface NetworkGuard {
  readonly guarded: readonly GuardedDevices[];
  /** Ports of systems whose frames a filter looks into. */
  readonly untagged?: readonly string[];
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
  requires(network: N, server?: string): readonly Requirement[];
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
  /** A bare baseline: its systems reach all that their server does. */
  readonly isOpen?: true;
  /** On the new server of a system that `flipflap move` moves: when it runs there too, and when it runs there alone. */
  moved?(context: NetworkContext<N>, member: Member, moment: MoveMoment): Script | undefined;
}

/** For kinds whose networks share nothing. */
export const nothingShared: SharedParts = { edge: [], joints: [], settled: [] };
