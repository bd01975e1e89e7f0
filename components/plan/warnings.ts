/** What is no fault, but hardly what somebody meant. Pure. */
import type { Declaration } from "../config/declaration";
import type { Fault } from "../config/faults";
import { canReadRules } from "../host/agentProgram";
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

/** Before the agent is built nobody can say what rules say. */
const unreadWarnings = ({ testbed: { firewalls = [] } }: Declaration): Fault[] =>
  firewalls.length === 0 || canReadRules()
    ? []
    : firewalls.map(({ rules }) => ({
        rule: "firewall-unread",
        path: rules,
        what: "its rules were not read, since the agent that reads them is not built here",
        fix: "build it: npm run setup",
      }));

/** The kernel's own, in packets a CPU (net.core.netdev_max_backlog). */
const defaultBacklog = 1000;

/**
 * A broadcast to a bridge is a packet for each of its ports at once, in the queue of one CPU that all devices of the machine share,
 * its loopback among them. What does not fit is lost, whosever it is: at 1,000 ports Pulumi's own connections break (6.18).
 */
function floodWarnings({ testbed, servers }: Declaration): Fault[] {
  return testbed.networks.flatMap((network) =>
    servers.flatMap(({ name }) => {
      const ports = testbed.systems.filter((system) => system.server === name && system.networks.some((one) => one.name === network.name));
      return kindOf(network).bridges !== true || ports.length < defaultBacklog / 2
        ? []
        : [
            {
              rule: "flood",
              path: `networks.${network.name}`,
              what: `${ports.length} systems are in one segment on ${name}, and each broadcast is as many packets at once, where a kernel keeps ${defaultBacklog} by default and loses others, of whatever program`,
              fix: `sysctl -w net.core.netdev_max_backlog=${ports.length * 20} on the server (for a lab: on this machine), or several networks`,
            },
          ];
    }),
  );
}

export const warningsOf = (declaration: Declaration): Fault[] => [
  ...policyWarnings(declaration),
  ...openWarnings(declaration),
  ...nameWarnings(declaration),
  ...unreadWarnings(declaration),
  ...floodWarnings(declaration),
];
