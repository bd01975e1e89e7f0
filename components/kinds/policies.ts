/** What a kind does with policies. */
import type { Network } from "../config/types.gen";
import type { Owner } from "../host/objectType";
import type { Script } from "../host/sh";
import type { AllowRule } from "../net/policy/resolve";
import type { NetworkContext } from "./contexts";
import type { Requirement } from "./requirement";

export interface Hits {
  /** By the rules' ids. */
  readonly allowed: ReadonlyMap<string, number>;
  /** Packets that a system was spared, by its name; "" for those that are counted elsewhere. */
  readonly denied: ReadonlyMap<string, number>;
}

export interface PolicyEnforcer<N extends Network = Network> {
  /** It tells connections by addresses alone, over all networks of a server. */
  readonly tracksConnections?: true;
  /** For people: iptables on a bridge. */
  readonly name: string;
  /** Of a server whose systems it protects. */
  requires(network: N): readonly Requirement[];
  /** Why it can do nothing for a network as that is declared. */
  refusesNetwork(network: N): string | undefined;
  /** Why it cannot do a rule. */
  refuses(rule: AllowRule): string | undefined;
  /** What packets are that were denied and are counted for no single system. */
  readonly deniedElsewhere: string;
  /** What is compiled for a server, as it is given to what enforces it. */
  compiled(context: NetworkContext<N>): string;
  /** Prints the counters of a network on its server. Changes nothing. */
  hits(context: NetworkContext<N>, owner: Owner): Script;
  readHits(output: string, context: NetworkContext<N>): Hits;
}

/** What no backend here can do. */
export const withoutProxy = (rule: AllowRule): string | undefined =>
  rule.http === undefined
    ? undefined
    : "what HTTP asks for is seen by a proxy only (Cilium's is Envoy), and none is here; leave rules.http out";
