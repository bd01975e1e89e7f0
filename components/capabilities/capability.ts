/**
 * The other extension point: what lies across all kinds of networks. A capability is a folder here, a line in registry.ts and its
 * words in the schema. It plans with data and touches nothing; components render the plans.
 */
import type { Declaration, ServerDeclaration } from "../config/declaration";
import type { Rule } from "../config/faults";
import type { Network, System } from "../config/types.gen";
import type { AttachHook, TracePacket } from "../host/contract/types.gen";
import type { CheckableType, HostObject } from "../host/objectType";
import type { SentFile } from "../host/objects/sentFile";
import type { Member, NetworkContext } from "../kinds/contexts";
import type { AgentRulesPlace } from "../host/objects/experimentRules";
import type { Observation } from "../kinds/observation";
import type { KindSecret, Part, SecretText } from "../kinds/parts";
import type { Requirement } from "../kinds/requirement";
import type { Tap } from "../kinds/tap";
import type { Family, Prefix } from "../net/cidr";

/** What a server can do for a testbed, and what is lost where it cannot. */
export interface Ability {
  readonly name: string;
  readonly requires: readonly Pick<Requirement, "tool" | "kernelOption">[];
  /** Of the kernel, as in 6.6. */
  readonly sinceKernel?: string;
  readonly cost: string;
}

/** What a server has for a capability. */
export interface ServerAddition {
  readonly requirements: readonly Requirement[];
  /** Beside the server's own settings, before anything else. */
  readonly settings: readonly HostObject[];
  /** Of the project, sent before the agent is told of them. */
  readonly files?: readonly SentFile[];
  /** What the agent is told, in files. */
  readonly agent?: readonly HostObject[];
  /** What an `up` waits for, once the systems are attached. */
  readonly settled?: readonly HostObject[];
  /** Only where the server is a hub: what others need to know before they begin. */
  readonly authority?: { readonly component: string; readonly parts: readonly Part[] };
}

/** What a capability makes of a system's container. */
export interface SystemAddition {
  /** The resource that holds its objects. */
  readonly component: { readonly type: string; readonly name: string };
  readonly system: string;
  /** Before the container is there. */
  readonly before: HostObject;
  /** Once all containers of the server run and are attached. */
  readonly after: HostObject;
  /** Of nftables in the container, behind all that the system declares. */
  readonly guard: string;
  /** Only routes of the container's own programs may lead to these: nftables ends before the interfaces of a network that dies. */
  readonly prohibited: readonly Prefix[];
  readonly image: string;
  readonly command: readonly string[];
  readonly capabilities: readonly string[];
  readonly devices: readonly string[];
  /** Below the stack's own on the server. */
  readonly folder: { readonly server: string; readonly container: string };
  readonly files: readonly { readonly path: string; readonly content: SecretText }[];
}

/** Packets in which others are carried so that nobody can read them. */
export interface Concealing {
  /** In the tracer's words. */
  readonly filter: string;
  /** The same of a packet that was seen. */
  isCarrier(packet: TracePacket): boolean;
  /** The systems where others go in and out. */
  readonly gateways: readonly string[];
}

/** A way that packets must be able to go, both ways. */
export interface Way {
  readonly name: string;
  readonly family: Family;
  readonly ends: readonly [Member, Member];
}

/** What a system has to bring up before packets go from its own address to another's. */
export interface StartedWay {
  readonly name: string;
  readonly system: string;
  readonly peer: string;
  readonly from: string;
  readonly to: string;
  /** By which the two reach each other. */
  readonly network: string;
}

export interface Capability {
  readonly name: string;
  readonly rules: readonly Rule<Declaration>[];
  /** Of the whole testbed; a file's arises on the hub. */
  secrets?(declaration: Declaration): readonly KindSecret[];
  server(declaration: Declaration, server: ServerDeclaration, networks: ReadonlyMap<string, NetworkContext>): ServerAddition;
  /** What parts of the agent do at a system's interface, before those of its kind. */
  hooks?(context: NetworkContext, member: Member, tap: Tap): readonly AttachHook[];
  /** Undefined where the system has no part in it. */
  system?(declaration: Declaration, system: System): SystemAddition | undefined;
  /** What `flipflap status` shows of a server. */
  observations(declaration: Declaration, server: ServerDeclaration): readonly Observation[];
  /** What `flipflap check` probes beside the networks. */
  ways?(declaration: Declaration): readonly Way[];
  /** Pairs of systems ("FROM TO") whose packets go by such a way and no other. */
  apart?(declaration: Declaration): ReadonlySet<string>;
  /** What experiments measure from start to first packet. */
  started?(declaration: Declaration): readonly StartedWay[];
  /** Lines of the topology's picture, between two systems. */
  edges?(declaration: Declaration): readonly { readonly ends: readonly [string, string]; readonly text: string }[];
  conceals?(declaration: Declaration): readonly Concealing[];
  /** Where an experiment's rules are in a network's packets' way, before what its kind says. */
  experimentRules?(declaration: Declaration, network: Network): AgentRulesPlace | undefined;
  /** A system that `flipflap move` must not run on two servers at once. */
  standsAlone?(declaration: Declaration, system: string): boolean;
  /** What `flipflap doctor` judges. */
  readonly abilities: readonly Ability[];
  /** Types of host objects of its own. */
  readonly objectTypes: Readonly<Record<string, CheckableType<never>>>;
}
