/** What is no fault, but hardly what somebody meant. Pure. */
import type { Declaration } from "../config/declaration";
import type { Fault } from "../config/faults";
import { kindOf } from "../kinds/registry";
import { policyWarnings } from "./rules/policies";

/** Networks whose systems reach all of their servers, where other tenants have systems too. */
function openWarnings({ testbed, servers }: Declaration): Fault[] {
  const tenantsOn = (server: string): ReadonlySet<string> =>
    new Set(testbed.systems.filter((system) => system.server === server).map(({ tenant }) => tenant));
  return testbed.networks.flatMap((network) => {
    if (kindOf(network).isOpen !== true) return [];
    const members = testbed.systems.filter((system) => system.networks.some(({ name }) => name === network.name));
    const shared = servers.find(({ name }) => members.some((member) => member.server === name) && tenantsOn(name).size > 1);
    return shared === undefined
      ? []
      : [
          {
            rule: "open-kind",
            path: `networks.${network.name}`,
            what: `its systems reach all that ${shared.name} does, where other tenants have systems too (kind ${network.kind})`,
            fix: "give it a testbed of its own, or measure without it",
          },
        ];
  });
}

export const warningsOf = (declaration: Declaration): Fault[] => [...policyWarnings(declaration), ...openWarnings(declaration)];
