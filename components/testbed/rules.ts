/** Cross-field rules that hold for every kind. Each has a golden case in tests/errors. */
import { isImageName } from "../../images/images";
import { type Declaration, findNetwork, linkDevice, linkName } from "../config/declaration";
import type { Rule } from "../config/faults";
import { nearest, oneOf } from "../config/validate";
import { kindOf } from "../kinds/registry";
import {
  canonicalAddress,
  contains,
  formatAddress,
  formatPrefix,
  isHostOf,
  overlaps,
  parseAddress,
  parseInterfaceAddress,
} from "../net/cidr";
import { ownContainers, systemContainer } from "../net/names";
import { asked, interfaceName, resolveMembers } from "./members";
import { mtuSums } from "./mtu";
import { kindSecrets } from "./secrets";

type TestbedRule = Rule<Declaration>;

const uniqueNames: TestbedRule = {
  id: "unique-name",
  check: ({ testbed }, report) => {
    for (const list of ["tenants", "networks", "systems", "secrets", "sites", "tunnels"] as const) {
      const seen = new Set<string>();
      for (const { name } of testbed[list] ?? []) {
        if (seen.has(name)) report(`${list}.${name}`, "there are two of this name", "rename one of them");
        seen.add(name);
      }
    }
  },
};

const unknownTenant: TestbedRule = {
  id: "unknown-tenant",
  check: ({ testbed }, report) => {
    const known = testbed.tenants.map((tenant) => tenant.name);
    for (const list of ["networks", "systems"] as const) {
      for (const { name, tenant } of testbed[list]) {
        if (!known.includes(tenant)) report(`${list}.${name}.tenant`, `there is no tenant "${tenant}"`, oneOf(tenant, known));
      }
    }
  },
};

const unknownServer: TestbedRule = {
  id: "unknown-server",
  check: ({ testbed, servers }, report) => {
    const known = servers.map((server) => server.name);
    const check = (path: string, name: string): void => {
      if (!known.includes(name))
        report(
          path,
          `there is no server "${name}"`,
          nearest(name, known) === undefined ? `${oneOf(name, known)}, or make Pulumi.${name}.yaml` : oneOf(name, known),
        );
    };
    for (const system of testbed.systems) check(`systems.${system.name}.server`, system.server);
    for (const [i, link] of testbed.links.entries()) {
      for (const name of link.between) check(`links[${i}].between`, name);
      for (const name of Object.keys(link.interfaces ?? {})) {
        if (!link.between.includes(name))
          report(`links[${i}].interfaces.${name}`, "the link does not join this server", `name one of ${link.between.join(", ")}`);
      }
    }
  },
};

const unknownNetwork: TestbedRule = {
  id: "unknown-network",
  check: ({ testbed }, report) => {
    const known = testbed.networks.map((network) => network.name);
    for (const system of testbed.systems) {
      for (const { name } of system.networks) {
        if (!known.includes(name)) report(`systems.${system.name}.networks.${name}`, "there is no such network", oneOf(name, known));
      }
    }
  },
};

const foreignNetwork: TestbedRule = {
  id: "foreign-network",
  check: (declaration, report) => {
    for (const system of declaration.testbed.systems) {
      for (const { name } of system.networks) {
        const network = findNetwork(declaration, name);
        if (network !== undefined && network.tenant !== system.tenant) {
          report(
            `systems.${system.name}.networks.${name}`,
            `the network is of tenant ${network.tenant}, the system of ${system.tenant}`,
            `put it in a network of ${system.tenant}`,
          );
        }
      }
    }
  },
};

const twiceInNetwork: TestbedRule = {
  id: "twice-in-network",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      const names = system.networks.map((n) => n.name);
      for (const name of new Set(names.filter((n, i) => names.indexOf(n) !== i))) {
        report(`systems.${system.name}.networks.${name}`, "the system sits in it twice", "leave one of them out");
      }
      const interfaces = system.networks.map((_, i) => interfaceName(system, i));
      for (const name of new Set(interfaces.filter((n, i) => interfaces.indexOf(n) !== i))) {
        report(`systems.${system.name}.networks`, `two interfaces are called ${name}`, "give each an interface name of its own");
      }
    }
  },
};

const address: TestbedRule = {
  id: "address",
  check: (declaration, report) => {
    for (const system of declaration.testbed.systems) {
      for (const membership of system.networks) {
        const network = findNetwork(declaration, membership.name);
        if (network === undefined) continue;
        const kind = kindOf(network);
        for (const [key, family] of [
          ["address", "ipv4"],
          ["address6", "ipv6"],
        ] as const) {
          const text = membership[key];
          if (text === undefined) continue;
          const path = `systems.${system.name}.networks.${membership.name}.${key}`;
          if (key === "address" && text === asked) {
            if (kind.isSegment?.(network) !== true)
              report(
                path,
                `nobody hears it ask in a network of kind ${network.kind} ${kind.variant(network)}`,
                "use a segment: macvlan, or bridge in mode l2",
              );
            continue;
          }
          const parsed = parseAddress(text);
          const prefix = kind.prefixes(network, system.server)[family];
          const gateway = kind.gateways(network, system.server)[family];
          if (parsed === undefined || parsed.family !== (family === "ipv4" ? 4 : 6))
            report(path, `"${text}" is no ${family === "ipv4" ? "IPv4" : "IPv6"} address`, "write one without prefix length");
          else if (prefix === undefined)
            report(
              path,
              `the network has no ${family === "ipv4" ? "IPv4" : "IPv6"} prefix on ${system.server}`,
              "give it one, or leave the address out",
            );
          else if (!contains(prefix, parsed)) report(path, `${text} is outside ${formatPrefix(prefix)}`, "choose one inside");
          else if (!isHostOf(prefix, parsed))
            report(path, `${text} is the network or broadcast address of ${formatPrefix(prefix)}`, "choose another");
          else if (gateway !== undefined && gateway.value === parsed.value)
            report(path, `${text} is the gateway of ${formatPrefix(prefix)}`, "choose another");
        }
      }
    }
  },
};

const taken: TestbedRule = {
  id: "address-taken",
  check: ({ testbed }, report) => {
    const users = new Map<string, string>();
    for (const system of testbed.systems) {
      for (const membership of system.networks) {
        for (const key of ["address", "address6", "mac"] as const) {
          const text = membership[key];
          if (text === undefined || text === asked) continue;
          const value = key === "mac" ? text.toLowerCase() : canonicalAddress(text);
          const other = users.get(`${membership.name} ${value}`);
          if (other !== undefined && other !== system.name)
            report(`systems.${system.name}.networks.${membership.name}.${key}`, `${value} is already used by ${other}`, "choose another");
          users.set(`${membership.name} ${value}`, system.name);
        }
      }
    }
  },
};

const mac: TestbedRule = {
  id: "mac-multicast",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      for (const membership of system.networks) {
        const first = Number.parseInt(membership.mac?.slice(0, 2) ?? "02", 16);
        const none = /^0{2}(:0{2}){5}$/.test(membership.mac ?? "");
        if ((first & 1) === 1 || none)
          report(
            `systems.${system.name}.networks.${membership.name}.mac`,
            `${membership.mac} is ${none ? "no address" : "a multicast address"}`,
            "choose one whose first byte is even, like 02:00:00:00:00:01",
          );
      }
    }
  },
};

const full: TestbedRule = {
  id: "subnet-full",
  check: (declaration, report) => {
    for (const network of declaration.testbed.networks) {
      for (const { path, prefix } of resolveMembers(declaration, network).full) {
        report(path, `${prefix} has no address left`, "give the network a larger prefix");
      }
    }
  },
};

const mtu: TestbedRule = {
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

const linkInterface: TestbedRule = {
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

const hubs: TestbedRule = {
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

const underlay: TestbedRule = {
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

const files: TestbedRule = {
  id: "file-content",
  check: ({ testbed }, report) => {
    const secrets = (testbed.secrets ?? []).map((secret) => secret.name);
    for (const system of testbed.systems) {
      for (const file of system.files ?? []) {
        const path = `systems.${system.name}.files.${file.path}`;
        if ((file.content === undefined) === (file.secret === undefined))
          report(path, "has content and secret, or neither", "give it one of the two");
        if (file.secret !== undefined && !secrets.includes(file.secret))
          report(path, `there is no secret "${file.secret}"`, oneOf(file.secret, secrets));
      }
    }
  },
};

const image: TestbedRule = {
  id: "image",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      const name = system.image ?? "tools";
      if (!isImageName(name) && !name.endsWith(".tar"))
        report(
          `systems.${system.name}.image`,
          `"${name}" is neither an image of images/ nor an archive (.tar)`,
          "name one of images/images.ts, or the path of an archive made by docker save",
        );
    }
  },
};

const reservedContainers = new Set<string>(Object.values(ownContainers));

const reservedName: TestbedRule = {
  id: "reserved-name",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      if (reservedContainers.has(systemContainer(system.name)))
        report(`systems.${system.name}.name`, `${systemContainer(system.name)} is a container of flipflap's own`, "choose another name");
    }
    for (const { name } of testbed.secrets ?? []) {
      if (kindSecrets.some((secret) => secret.name === name))
        report(`secrets.${name}.name`, "a kind of network uses this name", "choose another name");
    }
  },
};

const linkMissing: TestbedRule = {
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

/** Networks that a server routes for cannot share a prefix there. Kind bridge has a rule of its own, with more to say. */
const routedOverlap: TestbedRule = {
  id: "routed-overlap",
  check: ({ testbed, servers }, report) => {
    const routed = testbed.networks.filter((network) => kindOf(network).routesOnServer);
    for (const [i, a] of routed.entries()) {
      for (const b of routed.slice(0, i)) {
        if (a.kind === "bridge" && b.kind === "bridge") continue;
        const clash = servers.flatMap(({ name }) => {
          const [here, there] = [kindOf(a).prefixes(a, name), kindOf(b).prefixes(b, name)];
          return (["ipv4", "ipv6"] as const).flatMap((family) => {
            const [own, other] = [here[family], there[family]];
            return own !== undefined && other !== undefined && overlaps(own, other)
              ? [`${formatPrefix(own)} overlaps ${formatPrefix(other)} of ${b.name} on ${name}`]
              : [];
          });
        })[0];
        if (clash !== undefined) report(`networks.${a.name}`, clash, "servers route by prefix alone: give it another");
      }
    }
  },
};

/** Where docker makes the interface nothing is left to say of it, and no other may be beside it. */
const dockerMade: TestbedRule = {
  id: "docker-made",
  check: (declaration, report) => {
    for (const system of declaration.testbed.systems) {
      for (const membership of system.networks) {
        const network = findNetwork(declaration, membership.name);
        if (network === undefined || kindOf(network).docker === undefined) continue;
        const path = `systems.${system.name}.networks.${membership.name}`;
        if (system.networks.length > 1)
          report(path, `docker joins a system to a network of kind ${network.kind}, and to no other`, "put it in this network alone");
        for (const key of ["mac", "interface"] as const)
          if (membership[key] !== undefined) report(`${path}.${key}`, `kind ${network.kind} leaves it to docker`, "leave it out");
      }
    }
  },
};

export const testbedRules: readonly TestbedRule[] = [
  ...[uniqueNames, unknownTenant, unknownServer, unknownNetwork, foreignNetwork, twiceInNetwork, reservedName],
  ...[address, taken, mac, full, routedOverlap, dockerMade, mtu, linkInterface, linkMissing, hubs, underlay, files, image],
];
