/** Tenants' firewalls: rules in iptables' words, by programs at the interfaces of their systems. */
import type { Capability } from "../capability";
import { firewallSite } from "./objects/firewall";
import { firewallsInForce } from "./objects/inForce";
import { firewallObservations } from "./observations";
import { experimentRules, firewallHooks, serverAddition } from "./plan";
import { firewallRules } from "./rules";

export const firewallCapability: Capability = {
  name: "firewall",
  rules: firewallRules,
  server: serverAddition,
  hooks: firewallHooks,
  observations: firewallObservations,
  experimentRules,
  abilities: [],
  objectTypes: { firewall: firewallSite, firewallsInForce },
};
