/** The rules that a swarm network's policies come to on a server. Pure. */
import type { SwarmNetwork } from "../../config/types.gen";
import { type NetfilterPolicy, setPrefixOf } from "../../net/policy/netfilter";
import type { NetworkContext } from "../contexts";
import { compileHere } from "../netfilterPolicies";

export const variantOf = ({ filter }: SwarmNetwork): NonNullable<SwarmNetwork["filter"]> => filter ?? "iptables-legacy";

export const setPrefix = ({ name }: SwarmNetwork): string => setPrefixOf(`swarm ${name}`);

export const netfilterOf = (context: NetworkContext<SwarmNetwork>): NetfilterPolicy | undefined =>
  compileHere(context, { family: "ipv4", setPrefix: setPrefix(context.network), pass: "ACCEPT" });
