/** Tenants' firewalls: rules in iptables' words, by programs at the interfaces of their systems. */
import type { FirewallFacts } from "../../host/contract/types.gen";
import { askAgent, mustSpeak } from "../../host/objects/attachSpec";
import { readOnce } from "../../host/json";
import type { Capability } from "../capability";
import { firewallsOf, membersOf } from "./covered";
import { firewallSite } from "./objects/firewall";
import { firewallsInForce } from "./objects/inForce";
import { firewallHooks, serverAddition } from "./plan";
import { firewallRules } from "./rules";

/** What `agent firewall` printed. */
export const readFirewallFacts = readOnce((output): FirewallFacts => {
  const facts = JSON.parse(output) as FirewallFacts;
  mustSpeak(facts.contract);
  return facts;
});

export const firewallCapability: Capability = {
  name: "firewall",
  rules: firewallRules,
  server: serverAddition,
  hooks: firewallHooks,
  observations: (declaration, { name: stack }) =>
    firewallsOf(declaration).some((firewall) => membersOf(declaration, firewall).some(({ server }) => server === stack))
      ? [
          {
            title: "firewalls",
            script: askAgent({ stack }, "firewall", "-short"),
            read: (output) => {
              const { firewalls, dropped } = readFirewallFacts(output);
              const lost = (of: Readonly<Record<string, number>>): string =>
                Object.entries(of)
                  .filter(([, packets]) => packets > 0)
                  .map(([reason, packets]) => `${reason}: ${packets}`)
                  .join(", ") || "-";
              return {
                columns: ["FIREWALL", "RULES IN FORCE", "ENTRIES", "CONNECTIONS", "DROPPED BY NO RULE"],
                rows: [
                  ...firewalls.map((one) => [
                    one.name,
                    one.inForce === "" ? "none" : one.inForce.slice(0, 12),
                    String(one.entries),
                    String(one.connections),
                    lost(one.dropped),
                  ]),
                  ...(lost(dropped) === "-" ? [] : [["(at interfaces)", "", "", "", lost(dropped)]]),
                ],
                problems: firewalls.flatMap(({ name, inForce }) =>
                  inForce === "" ? [`the firewall of ${name} has no rules in force`] : [],
                ),
              };
            },
          },
        ]
      : [],
  abilities: [],
  objectTypes: { firewall: firewallSite, firewallsInForce },
};
