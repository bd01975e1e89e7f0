/** What must hold for networks of kind swarm. */
import { type Declaration, serversOf } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { SwarmNetwork } from "../../config/types.gen";
import { contains, formatPrefix, overlaps, parseAddress, parsePrefix } from "../../net/cidr";
import { checkPrefixText, checkUplinksJoined, hubRule } from "../checks";
import type { KindRuleContext } from "../kind";
import { longestSubnetLength, ownQuarter } from "./subnet";

type SwarmRule = Rule<KindRuleContext<SwarmNetwork>>;

const hub: SwarmRule = hubRule("swarm-hub", "a swarm has a manager");

const subnet: SwarmRule = {
  id: "swarm-subnet",
  check: ({ networks }, report) => {
    for (const { name, subnet: text } of networks) {
      const path = `networks.${name}.subnet`;
      checkPrefixText(report, path, text, 4);
      const prefix = parsePrefix(text);
      if (prefix?.family === 4 && prefix.length > longestSubnetLength)
        report(path, `${text} is too small to share with docker`, `take a /${longestSubnetLength} or larger`);
    }
    for (const [i, a] of networks.entries()) {
      for (const b of networks.slice(0, i)) {
        const [one, other] = [parsePrefix(a.subnet), parsePrefix(b.subnet)];
        if (one !== undefined && other !== undefined && overlaps(one, other))
          report(
            `networks.${a.name}.subnet`,
            `${a.subnet} overlaps with that of ${b.name}`,
            "one swarm has no two subnets that overlap: choose another",
          );
      }
    }
  },
};

/** The memberships of systems in networks of a kind, with their paths. */
export function* membershipsIn(declaration: Declaration, networks: readonly { readonly name: string }[]) {
  for (const system of declaration.testbed.systems) {
    for (const membership of system.networks) {
      const network = networks.find(({ name }) => name === membership.name);
      if (network !== undefined) yield { system, membership, network, path: `systems.${system.name}.networks.${membership.name}` };
    }
  }
}

const membership: SwarmRule = {
  id: "swarm-membership",
  check: ({ declaration, networks }, report) => {
    for (const { membership: one, network, path } of membershipsIn(declaration, networks)) {
      const prefix = parsePrefix((network as SwarmNetwork).subnet);
      const address = parseAddress(one.address ?? "");
      if (prefix?.family === 4 && address !== undefined && prefix.length <= longestSubnetLength && contains(ownQuarter(prefix), address))
        report(
          `${path}.address`,
          `${one.address} is in ${formatPrefix(ownQuarter(prefix))}, which the swarm gives to itself`,
          "choose a lower one",
        );
    }
  },
};

const links: SwarmRule = {
  id: "swarm-links",
  check: ({ declaration, networks }, report) => {
    for (const network of networks) checkUplinksJoined(report, declaration, network.name, serversOf(declaration, network), "tunnelled");
  },
};

export const swarmRules: readonly SwarmRule[] = [hub, subnet, membership, links];
