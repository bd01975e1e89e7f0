/** Addresses and prefixes of systems and networks. */
import { type Declaration, findNetwork, isLabOff } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { Network } from "../../config/types.gen";
import { asked, resolveMembers } from "../../kinds/members";
import { kindOf } from "../../kinds/registry";
import {
  canonicalAddress,
  contains,
  formatPrefix,
  hostPrefix,
  isHostOf,
  overlaps,
  parseAddress,
  parseInterfaceAddress,
  parsePrefix,
  type Prefix,
} from "../../net/cidr";

const address: Rule<Declaration> = {
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

const taken: Rule<Declaration> = {
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

const mac: Rule<Declaration> = {
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

const full: Rule<Declaration> = {
  id: "subnet-full",
  check: (declaration, report) => {
    for (const network of declaration.testbed.networks) {
      for (const { path, prefix } of resolveMembers(declaration, network).full) {
        report(path, `${prefix} has no address left`, "give the network a larger prefix");
      }
    }
  },
};

/** Prefixes that no network of systems can have, and why. */
const special: readonly (readonly [string, string])[] = [
  ["0.0.0.0/8", "stands for a host's own network"],
  ["127.0.0.0/8", "is every host's loopback"],
  ["169.254.0.0/16", "is link-local: hosts choose addresses in it by themselves"],
  ["224.0.0.0/3", "is multicast, reserved and broadcast"],
  ["::/8", "holds the loopback, IPv4's addresses and what is not specified"],
  ["fe80::/10", "is link-local: every interface has addresses in it"],
  ["ff00::/8", "is multicast"],
];

/** The prefixes that a network declares, by their paths. */
function declaredPrefixes(network: Network): { path: string; text: string }[] {
  const fields: Readonly<Record<string, unknown>> = { ...network };
  return ["subnet", "subnet6", "subnets", "subnets6", "sir"].flatMap((key) => {
    const value = fields[key];
    const path = `networks.${network.name}.${key}`;
    if (typeof value === "string") return [{ path, text: value }];
    return Object.entries((value as Record<string, string> | undefined) ?? {}).map(([server, text]) => ({
      path: `${path}.${server}`,
      text,
    }));
  });
}

const specialPrefix: Rule<Declaration> = {
  id: "special-prefix",
  check: ({ testbed }, report) => {
    for (const { path, text } of testbed.networks.flatMap(declaredPrefixes)) {
      const prefix = parsePrefix(text);
      const taken = special.find(([range]) => prefix !== undefined && overlaps(prefix, parsePrefix(range) as Prefix));
      if (prefix === undefined || taken === undefined) continue;
      report(
        path,
        `${text} holds addresses of ${taken[0]}, which ${taken[1]}`,
        prefix.family === 4 ? "choose one like 10.0.1.0/24" : 'choose one like "fd00:1::/64"',
      );
    }
  },
};

/** What a lab may take for its servers, whichever slot it gets: lab/ranges.ts. */
const labRanges = ["198.18.0.0/15", "fdf1:f1a9::/32", "fdf1:f1aa::/32"].map((text) => parsePrefix(text) as Prefix);

/** A network that holds a server's address, or the link between servers, cuts servers off from one another or from their user. */
const serversAddress: Rule<Declaration> = {
  id: "servers-address",
  check: ({ testbed, servers }, report) => {
    const taken = servers.flatMap((server) => {
      const own = `the underlay of ${server.name}`;
      const underlay = [server.underlay.ipv4, server.underlay.ipv6].flatMap((text) => parseInterfaceAddress(text ?? "")?.prefix ?? []);
      const address = parseAddress(server.address);
      return [
        ...underlay.map((prefix) => ({ prefix, of: `${own} (${formatPrefix(prefix)})` })),
        ...(address === undefined ? [] : [{ prefix: hostPrefix(address), of: `the address of ${server.name} (${server.address})` }]),
        ...(isLabOff(server)
          ? labRanges.map((prefix) => ({ prefix, of: `${formatPrefix(prefix)}, which labs take their addresses from` }))
          : []),
      ];
    });
    const isOnUnderlay = (network: Network): boolean => kindOf(network).isOnUnderlay?.(network) === true;
    const own = new Map(
      servers.flatMap((server) =>
        [server.address, server.underlay.ipv4, server.underlay.ipv6].flatMap((text): [string, string][] =>
          text === undefined || text === "" ? [] : [[canonicalAddress(text.split("/")[0] ?? ""), server.name]],
        ),
      ),
    );
    for (const system of testbed.systems)
      for (const { name, address, address6 } of system.networks)
        for (const text of [address, address6]) {
          const server = text === undefined || text === asked ? undefined : own.get(canonicalAddress(text));
          if (server !== undefined)
            report(`systems.${system.name}.networks.${name}`, `${text} is an address of the server ${server}`, "choose another");
        }
    for (const { path, text } of testbed.networks.filter((network) => !isOnUnderlay(network)).flatMap(declaredPrefixes)) {
      const prefix = parsePrefix(text);
      const other = taken.find((one) => prefix !== undefined && overlaps(prefix, one.prefix));
      if (other !== undefined) report(path, `${text} overlaps ${other.of}`, "give the network another prefix");
    }
  },
};

/** Networks that a server routes for cannot share a prefix there. Kind bridge has a rule of its own, with more to say. */
const routedOverlap: Rule<Declaration> = {
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
const dockerMade: Rule<Declaration> = {
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

export const addressRules: readonly Rule<Declaration>[] = [
  address,
  taken,
  mac,
  full,
  routedOverlap,
  dockerMade,
  specialPrefix,
  serversAddress,
];
