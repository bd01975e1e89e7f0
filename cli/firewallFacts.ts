/** What servers hold and have counted of firewalls, and how two lists of rules differ. */
import { firewallsOf, membersOf } from "../components/capabilities/firewall/covered";
import { readFirewallFacts } from "../components/capabilities/firewall/observations";
import type { Declaration, ServerDeclaration } from "../components/config/declaration";
import type { Firewall } from "../components/config/types.gen";
import { oneOf } from "../components/config/validate";
import type { FirewallFact, FirewallRule } from "../components/host/contract/types.gen";
import { askAgent } from "../components/host/objects/attachSpec";
import type { Context } from "../deploy/context";
import { scriptOn } from "../deploy/ssh";
import { UsageError } from "../support/usageError";
import type { Arguments } from "./verb";

/** Those that are asked for; a name that names none is a mistake. */
export function asked({ flags: { tenant } }: Arguments, all: readonly Firewall[]): readonly Firewall[] {
  const found = all.filter((one) => tenant === undefined || one.tenant === tenant);
  if (tenant !== undefined && found.length === 0)
    throw new UsageError(
      `${String(tenant)} has no firewall: ${oneOf(
        String(tenant),
        all.map((one) => one.tenant),
      )}`,
    );
  return found;
}

/** A rule as a command has it, behind its program. */
export const ruleText = ({ chain, text, policy, target }: FirewallRule): string =>
  policy === true ? `-P ${chain} ${target}` : `-A ${chain}${text === "" ? "" : ` ${text}`}`;

export const programOf = ({ family }: FirewallRule): string => (family === "ipv6" ? "ip6tables" : "iptables");

export interface OnServer {
  readonly server: string;
  readonly fact: FirewallFact;
}

/** Those that have a part in what is asked for. */
export function serversOfFirewalls(declaration: Declaration, args: Arguments): readonly ServerDeclaration[] {
  const all = asked(args, firewallsOf(declaration));
  const names = declaration.servers.map(({ name }) => name);
  const { server: wanted } = args.flags;
  if (typeof wanted === "string" && !names.includes(wanted))
    throw new UsageError(`there is no server "${wanted}": ${oneOf(wanted, names)}`);
  return declaration.servers.filter(
    ({ name }) =>
      (wanted === undefined || wanted === name) &&
      all.some((firewall) => membersOf(declaration, firewall).some(({ server }) => server === name)),
  );
}

/** What servers have in force. */
export async function factsOf(context: Context, args: Arguments): Promise<OnServer[]> {
  const all = asked(args, firewallsOf(context.declaration));
  const found = await Promise.all(
    serversOfFirewalls(context.declaration, args).map(async (server) => {
      const { firewalls } = readFirewallFacts(await scriptOn(context, server, askAgent({ stack: server.name }, "firewall").text));
      return firewalls.filter(({ name }) => all.some(({ tenant }) => tenant === name)).map((fact) => ({ server: server.name, fact }));
    }),
  );
  return found.flat();
}

export interface Summed {
  readonly tenant: string;
  readonly inForce: string;
  readonly servers: readonly string[];
  readonly connections: number;
  readonly rules: readonly FirewallRule[];
}

/** A packet is judged once: what servers have counted adds up, where they have the same rules. */
export function summed(all: readonly OnServer[]): Summed[] {
  const groups = new Map<string, OnServer[]>();
  for (const one of all) {
    const key = `${one.fact.name} ${one.fact.inForce}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (first === undefined) return [];
    return [
      {
        tenant: first.fact.name,
        inForce: first.fact.inForce,
        servers: group.map(({ server }) => server),
        connections: group.reduce((sum, { fact }) => sum + fact.connections, 0),
        rules: first.fact.rules.map((rule, i) => ({
          ...rule,
          packets: group.reduce((sum, { fact }) => sum + (fact.rules[i]?.packets ?? 0), 0),
          bytes: group.reduce((sum, { fact }) => sum + (fact.rules[i]?.bytes ?? 0), 0),
        })),
      },
    ];
  });
}

export interface Change {
  readonly tenant: string;
  readonly servers: readonly string[];
  readonly removed: readonly string[];
  readonly added: readonly string[];
  /** The first of those that both have and that stand in another order. */
  readonly moved: readonly string[];
}

export function changeOf(tenant: string, servers: readonly string[], before: readonly string[], after: readonly string[]): Change {
  const [removed, added] = [without(before, after), without(after, before)];
  const [stayed, stay] = [without(before, removed), without(after, added)];
  return { tenant, servers, removed, added, moved: stay.filter((line, i) => line !== stayed[i]).slice(0, 1) };
}

/** Those of a list that another does not have, as often as it does not. */
function without(list: readonly string[], others: readonly string[]): string[] {
  const left = new Map<string, number>();
  for (const one of others) left.set(one, (left.get(one) ?? 0) + 1);
  return list.filter((one) => {
    const count = left.get(one) ?? 0;
    left.set(one, count - 1);
    return count <= 0;
  });
}
