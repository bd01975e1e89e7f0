/** What kinds whose policies are rules of iptables have in common. */
import {
  compileNetfilter,
  deniedComment,
  type NetfilterInput,
  type NetfilterPolicy,
  nobodyComment,
  setsText,
} from "../net/policy/netfilter";
import type { NetworkContext } from "./contexts";
import type { Hits } from "./policies";
import type { Requirement } from "./requirement";

export const netfilterRequirements: readonly Requirement[] = [
  { tool: "ipset", why: "policies (package ipset)" },
  { kernelOption: "CONFIG_BRIDGE_NETFILTER", why: "policies on bridges and in overlays" },
  { kernelOption: "CONFIG_IP_SET_HASH_NET", why: "policies" },
];

/** The rules for a network's systems on this server; others protect theirs. Undefined where nobody here is protected. */
export function compileHere(
  { server, members, policies }: NetworkContext,
  how: Pick<NetfilterInput, "family" | "setPrefix" | "pass">,
): NetfilterPolicy | undefined {
  const names = (of: typeof members): string[] => of.map(({ system }) => system);
  const compiled = compileNetfilter({
    ...how,
    policy: policies.resolved,
    addresses: policies.addresses,
    here: new Set(names(members.filter((member) => member.server === server.name))),
    members: names(members),
  });
  return compiled.rules.length === 0 ? undefined : compiled;
}

/** What is given to ipset and iptables-restore, for people. */
export function compiledText(chain: string, parts: readonly (readonly [string, NetfilterPolicy | undefined])[]): string {
  return parts
    .flatMap(([tool, policy]) =>
      policy === undefined || policy.rules.length === 0
        ? []
        : [
            ...(policy.sets.length === 0 ? [] : ["# ipset restore", ...setsText(policy.sets)]),
            `# ${tool}-restore`,
            ...policy.rules.map((rule) => `-A ${chain} ${rule}`),
          ],
    )
    .join("\n");
}

/** From lines of `iptables -v -S`: counters by the rules' comments. */
export function readCounters(output: string, { members }: NetworkContext): Hits {
  const counts = new Map<string, number>();
  for (const line of output.split("\n")) {
    const [, comment, packets] = /--comment "?([A-Za-z0-9-]+)"? .*-c (\d+) \d+/.exec(line) ?? [];
    if (comment !== undefined) counts.set(comment, (counts.get(comment) ?? 0) + Number(packets));
  }
  const denied = members.flatMap(({ system }): [string, number][] => {
    const count = counts.get(deniedComment(system));
    counts.delete(deniedComment(system));
    return count === undefined ? [] : [[system, count]];
  });
  const nobody = counts.get(nobodyComment);
  counts.delete(nobodyComment);
  return { allowed: counts, denied: new Map([...denied, ...(nobody === undefined ? [] : [["", nobody] as const])]) };
}
