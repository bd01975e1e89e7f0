/** The rules that a swarm network's policies come to on a server. Pure. */
import type { SwarmNetwork } from "../../config/types.gen";
import { hash32 } from "../../net/names";
import { compileNetfilter, type NetfilterPolicy } from "../../net/policy/netfilter";
import type { NetworkContext } from "../kind";

type Context = NetworkContext<SwarmNetwork>;

export const dockerNetwork = ({ name }: Pick<SwarmNetwork, "name">): string => `ff-${name}`;

export const variantOf = ({ filter }: SwarmNetwork): NonNullable<SwarmNetwork["filter"]> => filter ?? "iptables-legacy";

export const setPrefix = (network: SwarmNetwork): string => `ff${hash32(`swarm ${network.name}`).toString(16).padStart(8, "0")}-`;

export const isFiltered = ({ policies }: Context): boolean => policies.resolved.selected.length > 0;

/** The rules for systems of this server; others protect theirs. Where nobody here is protected all may pass. */
export function netfilterOf(context: Context): NetfilterPolicy | undefined {
  const { network, server, members, policies } = context;
  if (!isFiltered(context)) return undefined;
  const here = members.filter((member) => member.server === server.name).map(({ system }) => system);
  const compiled = compileNetfilter({
    family: "ipv4",
    setPrefix: setPrefix(network),
    policy: policies.resolved,
    addresses: policies.addresses,
    here: new Set(here),
    members: members.map(({ system }) => system),
    pass: "ACCEPT",
  });
  return compiled.rules.length === 0 ? undefined : compiled;
}
