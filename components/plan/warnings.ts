/** What is no fault, but hardly what somebody meant. Pure. */
import type { Declaration } from "../config/declaration";
import type { Fault } from "../config/faults";
import { kindOf } from "../kinds/registry";
import { parseAddress } from "../net/cidr";
import { policyWarnings } from "./rules/policies";

/** Networks whose systems reach all of their servers, where there are other tenants. */
function openWarnings({ testbed }: Declaration): Fault[] {
  return testbed.networks.flatMap((network) => {
    const other = testbed.networks.find(({ tenant }) => tenant !== network.tenant);
    return kindOf(network).isOpen !== true || other === undefined
      ? []
      : [
          {
            rule: "open-kind",
            path: `networks.${network.name}`,
            what: `its systems reach all that their server reaches (kind ${network.kind}), and ${other.tenant} has networks here too`,
            fix: "give it a testbed of its own, or measure without it",
          },
        ];
  });
}

/** A guard tells servers by their addresses. */
function nameWarnings({ testbed, servers }: Declaration): Fault[] {
  const named = servers.filter(({ address }) => address !== "" && parseAddress(address) === undefined);
  const nat = testbed.networks.find((network) => kindOf(network).reachesOutside?.(network) === true);
  return nat === undefined
    ? []
    : named.map(({ name, address }) => ({
        rule: "server-name",
        path: `Pulumi.${name}.yaml`,
        what: `${nat.name} reaches what is outside of the testbed, and no guard knows that ${address} is not`,
        fix: "write the server's address",
      }));
}

export const warningsOf = (declaration: Declaration): Fault[] => [
  ...policyWarnings(declaration),
  ...openWarnings(declaration),
  ...nameWarnings(declaration),
];
