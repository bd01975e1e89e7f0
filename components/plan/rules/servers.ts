/** Servers, their addresses and the links between them. */
import { type Declaration, firstHub, isGuarded, linkDevice, linkName } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import { kindOf } from "../../kinds/registry";
import { contains, formatAddress, isHostOf, parseInterfaceAddress } from "../../net/cidr";
import { mtuSums } from "../mtu";

const mtu: Rule<Declaration> = {
  id: "mtu-sum",
  check: (declaration, report) => {
    for (const network of declaration.testbed.networks) {
      for (const sum of mtuSums(declaration, network)) {
        if (sum.totalBytes <= sum.linkMtuBytes) continue;
        report(
          `networks.${network.name}.mtuBytes`,
          `${sum.sum} bytes do not fit the link ${sum.link} (${sum.linkMtuBytes})`,
          `lower it to ${sum.availableBytes}, or raise the link's mtuBytes to ${sum.totalBytes}`,
        );
      }
    }
  },
};

/** Nobody is kept from nobody where there is one tenant. */
const guardOff: Rule<Declaration> = {
  id: "guard-off",
  check: (declaration, report) => {
    const { testbed } = declaration;
    const tenants = [...new Set(testbed.networks.map(({ tenant }) => tenant))];
    if (!isGuarded(declaration) && tenants.length > 1)
      report(
        "tuning.guard",
        `is off, with ${tenants.length} tenants (${tenants.join(", ")}) that would reach one another and the servers`,
        "leave it out, or declare the networks of one tenant only",
      );
  },
};

const linkInterface: Rule<Declaration> = {
  id: "link-interface",
  check: ({ testbed, servers }, report) => {
    const users = new Map<string, string>();
    for (const [i, link] of testbed.links.entries()) {
      for (const server of servers.filter((s) => link.between.includes(s.name))) {
        const device = linkDevice(link, server);
        const other = users.get(`${server.name} ${device}`);
        if (other !== undefined)
          report(
            `links[${i}].interfaces.${server.name}`,
            `${device} of ${server.name} is already on the link ${other}`,
            `name another NIC of ${server.name}`,
          );
        users.set(`${server.name} ${device}`, linkName(link));
      }
    }
  },
};

const linkMissing: Rule<Declaration> = {
  id: "link-missing",
  check: (declaration, report) => {
    // A network that spans servers which no link joins has no MTU to derive from, and no way to go.
    for (const network of declaration.testbed.networks) {
      const names = kindOf(network)
        .servers(declaration, network)
        .map((server) => server.name);
      const joined = declaration.testbed.links.some((link) => names.every((name) => link.between.includes(name)));
      if (names.length > 1 && !joined)
        report(
          `networks.${network.name}`,
          `no link joins ${names.join(" and ")}, where its systems sit`,
          `add links: [{ between: [${names.join(", ")}] }]`,
        );
    }
  },
};

const hubUnlinked: Rule<Declaration> = {
  id: "hub-unlinked",
  check: (declaration, report) => {
    const hub = firstHub(declaration)?.name;
    const { networks, links } = declaration.testbed;
    for (const network of networks.filter((one) => kindOf(one).needsHub === true)) {
      for (const { name } of kindOf(network).servers(declaration, network)) {
        if (hub === undefined || name === hub || links.some(({ between }) => between.includes(name) && between.includes(hub))) continue;
        report(
          `networks.${network.name}`,
          `kind ${network.kind} meets at the hub ${hub}, and no link joins ${name} with it`,
          `name ${name} in a link of ${hub}'s, or add links: [{ between: [${hub}, ${name}] }]`,
        );
      }
    }
  },
};

const hubs: Rule<Declaration> = {
  id: "hub",
  check: ({ servers, testbed }, report) => {
    const of = (second: boolean): string[] =>
      servers.filter((server) => server.hub && (server.second ?? false) === second).map((server) => server.name);
    const [named, seconds] = [of(false), of(true)];
    if (named.length > 1) report("flipflap:hub", `${named.join(" and ")} say true`, "a testbed has one hub; another says second");
    if (seconds.length > 1) report("flipflap:hub", `${seconds.join(" and ")} say second`, "there is one second hub at most");
    if (named.length === 0 && seconds.length > 0)
      report("flipflap:hub", `${seconds[0]} says second, and none says true`, "say true in one of them");
    if (named.length === 0 && (testbed.secrets ?? []).length > 0)
      report("secrets", "arise on the hub, and no stack file says flipflap:hub: true", "say so in one of them");
  },
};

const underlay: Rule<Declaration> = {
  id: "underlay",
  check: ({ servers, testbed }, report) => {
    const users = new Map<string, string>();
    for (const server of servers) {
      for (const [key, family] of [
        ["ipv4", 4],
        ["ipv6", 6],
      ] as const) {
        const text = server.underlay[key];
        if (text === undefined || text === "") continue;
        const path = `Pulumi.${server.name}.yaml: flipflap:server.underlay.${key}`;
        const parsed = parseInterfaceAddress(text);
        if (parsed?.address.family !== family || !isHostOf(parsed.prefix, parsed.address)) {
          report(
            path,
            `"${text}" is no IPv${family} address with prefix length`,
            family === 4 ? "write one like 198.18.0.1/24" : 'write one like "fd00:1::1/64"',
          );
          continue;
        }
        const other = users.get(formatAddress(parsed.address));
        if (other !== undefined) report(path, `${text} is also that of ${other}`, "give each server its own");
        users.set(formatAddress(parsed.address), server.name);
        const peers = servers.filter((peer) =>
          testbed.links.some((link) => link.between.includes(peer.name) && link.between.includes(server.name)),
        );
        for (const peer of peers) {
          const there = parseInterfaceAddress(peer.underlay[key] ?? "");
          if (peer.name < server.name && there !== undefined && !contains(parsed.prefix, there.address)) {
            report(
              path,
              `${text} and ${peer.underlay[key]} of ${peer.name} are on one link but not in one prefix`,
              "give both addresses of one prefix",
            );
          }
        }
      }
    }
  },
};

export const serverRules: readonly Rule<Declaration>[] = [mtu, guardOff, linkInterface, linkMissing, hubUnlinked, hubs, underlay];
