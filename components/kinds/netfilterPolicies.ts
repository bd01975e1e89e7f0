/** What kinds whose policies are rules of iptables have in common. */
import type { NetworkContext } from "./kind";
import { deniedComment, nobodyComment, type NetfilterPolicy, setsText } from "../net/policy/netfilter";
import type { Hits } from "./policies";

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
