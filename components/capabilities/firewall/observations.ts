/** What `flipflap status` tells of firewalls. */
import type { Declaration, ServerDeclaration } from "../../config/declaration";
import type { FirewallFacts } from "../../host/contract/types.gen";
import { readOnce } from "../../host/json";
import { askAgent, mustSpeak } from "../../host/objects/attachSpec";
import type { Observation, ObservedTable } from "../../kinds/observation";
import { firewallsOf, membersOf } from "./covered";

/** What `agent firewall` printed. */
export const readFirewallFacts = readOnce((output): FirewallFacts => {
  const facts = JSON.parse(output) as FirewallFacts;
  mustSpeak(facts.contract);
  return facts;
});

const lostText = (lost: Readonly<Record<string, number>>): string =>
  Object.entries(lost)
    .filter(([, packets]) => packets > 0)
    .map(([reason, packets]) => `${reason}: ${packets}`)
    .join(", ") || "-";

function observed({ firewalls, dropped }: FirewallFacts, tenants: readonly string[]): ObservedTable {
  const ofInterfaces = lostText(dropped);
  return {
    columns: ["FIREWALL", "RULES IN FORCE", "ENTRIES", "CONNECTIONS", "DROPPED BY NO RULE"],
    rows: [
      ...firewalls.map((one) => [
        one.name,
        one.inForce === "" ? "none" : one.inForce.slice(0, 12),
        String(one.entries),
        String(one.connections),
        lostText(one.dropped),
      ]),
      ...(ofInterfaces === "-" ? [] : [["(at interfaces)", "", "", "", ofInterfaces]]),
    ],
    problems: tenants
      .filter((tenant) => !firewalls.some(({ name, inForce }) => name === tenant && inForce !== ""))
      .map((tenant) => `the firewall of ${tenant} has no rules in force`),
  };
}

export function firewallObservations(declaration: Declaration, { name: stack }: ServerDeclaration): Observation[] {
  const tenants = firewallsOf(declaration)
    .filter((firewall) => membersOf(declaration, firewall).some(({ server }) => server === stack))
    .map(({ tenant }) => tenant);
  if (tenants.length === 0) return [];
  return [
    {
      title: "firewalls",
      script: askAgent({ stack }, "firewall", "-short"),
      read: (output) => observed(readFirewallFacts(output), tenants),
      drops: (output) => {
        const { firewalls, dropped } = readFirewallFacts(output);
        // Interfaces and several tenants' rules may have one reason.
        const sums = new Map<string, number>();
        for (const [reason, packets] of [...firewalls, { dropped }].flatMap((one) => Object.entries(one.dropped)))
          sums.set(reason, (sums.get(reason) ?? 0) + packets);
        return sums;
      },
    },
  ];
}
