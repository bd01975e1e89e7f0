/** What must hold for networks of kind cilium. */
import { firstHub, serversOf } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { CiliumNetwork } from "../../config/types.gen";
import { formatAddress, overlaps, parsePrefix } from "../../net/cidr";
import { checkPrefixText, checkUplinksJoined } from "../checks";
import type { KindRuleContext } from "../kind";
import { nobodyOf } from "./prefixes";

type CiliumRule = Rule<KindRuleContext<CiliumNetwork>>;

const hub: CiliumRule = {
  id: "cilium-hub",
  check: ({ declaration, networks }, report) => {
    if (firstHub(declaration) !== undefined) return;
    for (const { name } of networks)
      report(
        `networks.${name}`,
        "Cilium's servers meet at an etcd, and no server is the hub",
        "write flipflap:hub: true in one stack file",
      );
  },
};

const one: CiliumRule = {
  id: "cilium-one-network",
  check: ({ networks }, report) => {
    for (const { name } of networks.slice(1))
      report(
        `networks.${name}`,
        `one Cilium carries one network, and ${networks[0]?.name ?? ""} is one`,
        "put its systems there: policies keep them apart",
      );
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

export const ciliumRules: readonly CiliumRule[] = [hub, one, subnets, membership, links];
