/** What must hold for networks of kind cilium. */
import { serversOf } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { CiliumNetwork } from "../../config/types.gen";
import { formatAddress, formatPrefix, overlaps, parsePrefix } from "../../net/cidr";
import { checkPrefixText, checkUplinksJoined, hubRule } from "../checks";
import type { KindRuleContext } from "../kind";
import { nobodyOf, rangeOf } from "./prefixes";

type CiliumRule = Rule<KindRuleContext<CiliumNetwork>>;

const hub: CiliumRule = hubRule("cilium-hub", "Cilium's servers meet at an etcd");

/** What is of the server's one Cilium. */
const together: CiliumRule = {
  id: "cilium-together",
  check: ({ declaration, networks }, report) => {
    const [first] = networks;
    for (const network of networks.slice(1)) {
      const path = `networks.${network.name}`;
      if (network.tenant !== first?.tenant)
        report(
          `${path}.tenant`,
          `Cilium keeps no tenants apart, and ${first?.name ?? ""} is of ${first?.tenant ?? ""}`,
          "use another kind, or one tenant and policies",
        );
      if ((network.routing ?? "tunnel") !== (first?.routing ?? "tunnel"))
        report(
          `${path}.routing`,
          `one Cilium carries them all, and ${first?.name ?? ""} is otherwise`,
          "write the same in every network of the kind",
        );
      if (network.mtuBytes !== first?.mtuBytes)
        report(
          `${path}.mtuBytes`,
          `one Cilium carries them all, and ${first?.name ?? ""} has another`,
          "write the same in every network of the kind",
        );
    }
    const ranges = declaration.servers.flatMap(({ name }) => {
      const range = rangeOf(networks, name);
      return range === undefined ? [] : [{ name, range }];
    });
    for (const [i, { name, range }] of ranges.entries()) {
      const other = ranges.slice(0, i).find((one) => overlaps(one.range, range));
      if (other !== undefined && networks.length > 1)
        report(
          `networks.${networks.at(-1)?.name ?? ""}.subnets`,
          `what holds all of ${name}'s prefixes, ${formatPrefix(range)}, overlaps with that of ${other.name}`,
          "give each server neighbouring prefixes: 10.60.1.0/25 and 10.60.1.128/25",
        );
    }
  },
};

const subnets: CiliumRule = {
  id: "cilium-subnets",
  check: ({ declaration, networks }, report) => {
    for (const network of networks) {
      const path = `networks.${network.name}.subnets`;
      for (const [server, text] of Object.entries(network.subnets)) {
        checkPrefixText(report, `${path}.${server}`, text, 4);
        const prefix = parsePrefix(text ?? "");
        if (prefix?.family === 4 && prefix.length > 28) report(`${path}.${server}`, `${text ?? ""} is too small`, "take a /28 or larger");
      }
      for (const { name } of serversOf(declaration, network)) {
        if (network.subnets[name] === undefined)
          report(`${path}.${name}`, "is missing, and the server has systems of the network", "add it");
      }
      const listed = Object.entries(network.subnets);
      for (const [i, [server, text]] of listed.entries()) {
        for (const [other, second] of listed.slice(0, i)) {
          const [a, b] = [parsePrefix(text ?? ""), parsePrefix(second ?? "")];
          if (a !== undefined && b !== undefined && overlaps(a, b))
            report(`${path}.${server}`, `${text ?? ""} overlaps with that of ${other}`, "give each server a prefix of its own");
        }
      }
    }
  },
};

const membership: CiliumRule = {
  id: "cilium-membership",
  check: ({ declaration, networks }, report) => {
    for (const system of declaration.testbed.systems) {
      for (const membership of system.networks) {
        const network = networks.find(({ name }) => name === membership.name);
        const prefix = parsePrefix(network?.subnets[system.server] ?? "");
        if (prefix?.family === 4 && membership.address === formatAddress(nobodyOf(prefix)))
          report(
            `systems.${system.name}.networks.${membership.name}.address`,
            `${membership.address} stays free for docker`,
            "choose another",
          );
      }
    }
  },
};

const links: CiliumRule = {
  id: "cilium-links",
  check: ({ declaration, networks }, report) => {
    for (const network of networks) checkUplinksJoined(report, declaration, network.name, serversOf(declaration, network), "carried");
  },
};

export const ciliumRules: readonly CiliumRule[] = [hub, together, subnets, membership, links];
