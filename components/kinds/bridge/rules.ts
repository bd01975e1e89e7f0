/** What a bridge network must not be declared as. */
import { linkDevice, linksOf, serversOf } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { BridgeNetwork } from "../../config/types.gen";
import { formatPrefix, overlaps } from "../../net/cidr";
import { checkPrefixText, checkUplinksJoined } from "../checks";
import type { KindRuleContext } from "../kind";
import { bridgePrefixes, modeOf, routedPrefixes } from "./prefixes";

type BridgeRule = Rule<KindRuleContext<BridgeNetwork>>;

const prefixForm: BridgeRule = {
  id: "bridge-prefix-form",
  check: ({ networks }, report) => {
    for (const network of networks) {
      const check = (key: string, text: string | undefined, family: 4 | 6): void =>
        checkPrefixText(report, `networks.${network.name}.${key}`, text, family);
      check("subnet", network.subnet, 4);
      check("subnet6", network.subnet6, 6);
      for (const [server, text] of Object.entries(network.subnets ?? {})) check(`subnets.${server}`, text, 4);
      for (const [server, text] of Object.entries(network.subnets6 ?? {})) check(`subnets6.${server}`, text, 6);
    }
  },
};

const prefixPlace: BridgeRule = {
  id: "bridge-prefix-place",
  check: ({ networks }, report) => {
    for (const network of networks) {
      const { name, mode } = network;
      const one = (["subnet", "subnet6"] as const).filter((key) => network[key] !== undefined);
      const each = (["subnets", "subnets6"] as const).filter((key) => network[key] !== undefined);
      if (mode === "l2")
        for (const key of each)
          report(`networks.${name}.${key}`, "mode l2 has one subnet over all servers", `use ${key.replace("subnets", "subnet")}`);
      if (mode === "routed" || mode === "router") {
        for (const key of one)
          report(
            `networks.${name}.${key}`,
            `mode ${mode} needs a prefix for each server`,
            `use ${key.replace("subnet", "subnets")}: { flip: ..., flap: ... }`,
          );
      }
      if (one.length + each.length === 0)
        report(`networks.${name}`, "has no prefix", mode === "l2" ? "give it a subnet or subnet6" : "give it subnets or subnets6");
    }
  },
};

/** Frames to a station that the bridge has forgotten: somebody must ask for it by broadcast, or they must go to all. */
const unknownStations: BridgeRule = {
  id: "bridge-floods",
  check: ({ networks }, report) => {
    for (const network of networks) {
      if (network.floods !== false) continue;
      const path = `networks.${network.name}.floods`;
      const mode = modeOf(network);
      if (mode === "routed" || mode === "nat")
        report(
          path,
          `in mode ${mode} the server knows its systems' MACs for good and asks nobody: one that was quiet for ageingSeconds is not reached`,
          "leave it out, or use mode l2 or router",
        );
      else if (network.ageingSeconds === 0)
        report(path, "with ageingSeconds: 0 the bridge knows no station, and carries nothing", "leave one of the two out");
    }
  },
};

const prefixMissing: BridgeRule = {
  id: "bridge-prefix-missing",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      for (const { name: server } of serversOf(declaration, network)) {
        for (const key of ["subnets", "subnets6"] as const) {
          if (
            network[key] !== undefined &&
            network[key]?.[server] === undefined &&
            network[key === "subnets" ? "subnet" : "subnet6"] === undefined
          ) {
            report(
              `networks.${network.name}.${key}`,
              `has no prefix for ${server}, which has systems in it`,
              `add ${server}: a prefix of its own`,
            );
          }
        }
      }
    }
  },
};

const unknownServer: BridgeRule = {
  id: "bridge-unknown-server",
  check: ({ networks, declaration }, report) => {
    const known = declaration.servers.map((server) => server.name);
    for (const network of networks) {
      for (const key of ["subnets", "subnets6"] as const) {
        for (const server of Object.keys(network[key] ?? {})) {
          if (!known.includes(server))
            report(
              `networks.${network.name}.${key}.${server}`,
              "there is no such server",
              `name one of ${known.join(", ")}, or make Pulumi.${server}.yaml`,
            );
        }
      }
    }
  },
};

/** Servers route by prefix alone: two networks cannot share one, whoever they belong to. */
const prefixOverlap: BridgeRule = {
  id: "bridge-prefix-overlap",
  check: ({ declaration }, report) => {
    const routed = routedPrefixes(declaration);
    for (const [i, a] of routed.entries()) {
      for (const b of routed.slice(0, i)) {
        if (!overlaps(a.prefix, b.prefix)) continue;
        // One network's own prefix for all servers is another rule's.
        if (a.network === b.network && (a.server === b.server || a.path === b.path)) continue;
        const bothLocal = modeOf(a.network) === "nat" && modeOf(b.network) === "nat" && a.server !== b.server;
        if (bothLocal) continue;
        const what = `${formatPrefix(a.prefix)} overlaps ${formatPrefix(b.prefix)} of ${b.path}`;
        report(a.path, what, "servers route by prefix alone: give it another, or use mode l2");
      }
    }
  },
};

const noUnderlay6: BridgeRule = {
  id: "bridge-underlay-missing",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      const servers = serversOf(declaration, network);
      if (servers.length < 2 || modeOf(network) === "l2" || modeOf(network) === "nat") continue;
      for (const server of servers) {
        // A lab's server gets both families when the lab starts.
        if (server.underlay.ipv4 === "" || server.underlay.ipv6 !== undefined) continue;
        if (bridgePrefixes(network, server.name).ipv6 === undefined) continue;
        report(
          `networks.${network.name}.subnets6`,
          `${server.name} has no IPv6 underlay address to route it over`,
          `give Pulumi.${server.name}.yaml an underlay.ipv6, or leave subnets6 out`,
        );
      }
    }
  },
};

const port: BridgeRule = {
  id: "bridge-port",
  check: ({ networks, declaration }, report) => {
    const users = new Map<string, string>();
    for (const network of networks) {
      const servers = serversOf(declaration, network);
      const path = `networks.${network.name}.port`;
      if (network.port === undefined) {
        if (modeOf(network) === "l2" && servers.length > 1) {
          report(
            path,
            `is missing: systems sit on ${servers.map((s) => s.name).join(" and ")}, and an l2 bridge ends at its server`,
            "name a NIC of a link as port, put the systems on one server, or use mode routed",
          );
        }
        continue;
      }
      const nic = network.port;
      if (modeOf(network) !== "l2") report(path, `means nothing in mode ${modeOf(network)}`, "leave it out, or use mode l2");
      const other = users.get(nic);
      if (other !== undefined)
        report(path, `${nic} is already a port of network ${other}`, "a NIC is a port of one bridge only: name another");
      users.set(nic, network.name);
      if (servers.some((server) => server.uplink === nic))
        report(path, `${nic} is the uplink, whose underlay addresses would stop working`, "add a second link with interfaces of its own");
      else if (!linksOf(declaration, servers).some((link) => servers.every((server) => linkDevice(link, server) === nic))) {
        report(
          path,
          `${nic} is not on a link between ${servers.map((s) => s.name).join(" and ")}`,
          `declare one: links: [{ between: [...], interfaces: { ...: ${nic} } }]`,
        );
      }
    }
  },
};

const linkUplink: BridgeRule = {
  id: "bridge-link-uplink",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      const servers = serversOf(declaration, network);
      if (servers.length < 2 || modeOf(network) === "l2" || modeOf(network) === "nat") continue;
      checkUplinksJoined(report, declaration, network.name, servers, "routed");
    }
  },
};

export const bridgeRules: readonly BridgeRule[] = [
  prefixForm,
  prefixPlace,
  prefixMissing,
  unknownStations,
  unknownServer,
  prefixOverlap,
  noUnderlay6,
  port,
  linkUplink,
];
