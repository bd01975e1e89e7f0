/** What a netns network must not be declared as. */
import { serversOf } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { NetnsNetwork } from "../../config/types.gen";
import { checkPrefixText } from "../checks";
import type { KindRuleContext } from "../kind";

type NetnsRule = Rule<KindRuleContext<NetnsNetwork>>;

const prefixForm: NetnsRule = {
  id: "netns-prefix-form",
  check: ({ networks }, report) => {
    for (const { name, subnet, subnet6 } of networks) {
      checkPrefixText(report, `networks.${name}.subnet`, subnet, 4);
      checkPrefixText(report, `networks.${name}.subnet6`, subnet6, 6);
      if (subnet === undefined && subnet6 === undefined) report(`networks.${name}`, "has no prefix", "give it a subnet or subnet6");
    }
  },
};

const oneServer: NetnsRule = {
  id: "netns-one-server",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      const servers = serversOf(declaration, network).map(({ name }) => name);
      if (servers.length > 1)
        report(
          `networks.${network.name}`,
          `has systems on ${servers.join(" and ")}, and kind netns is the baseline of one server, without a link`,
          "put them on one server, or make a network for each",
        );
    }
  },
};

const onlyNamespaces: NetnsRule = {
  id: "netns-system",
  check: ({ networks, declaration }, report) => {
    const own = new Set(networks.map(({ name }) => name));
    for (const system of declaration.testbed.systems) {
      const inside = system.networks.filter(({ name }) => own.has(name));
      if (inside.length === 0) continue;
      if (system.networks.length > 1)
        report(`systems.${system.name}.networks`, "a system of kind netns is a namespace with one interface", "leave it in one network");
      for (const key of ["image", "command", "env", "files", "limits", "capabilities", "router", "routes", "nftables"] as const) {
        if (system[key] !== undefined)
          report(
            `systems.${system.name}.${key}`,
            "a system of kind netns is a namespace without a container",
            "leave it out, or use another kind",
          );
      }
    }
  },
};

export const netnsRules: readonly NetnsRule[] = [prefixForm, oneServer, onlyNamespaces];
