/** Systems that forward, and the static routes of any. Pure. */
import type { Declaration } from "../config/declaration";
import type { Report, Rule } from "../config/faults";
import type { Route, System } from "../config/types.gen";
import type { Member } from "../kinds/contexts";
import { resolveMembers } from "../kinds/members";
import { hasNamespaces, kindOf } from "../kinds/registry";
import { type Address, contains, formatAddress, formatPrefix, parseAddress, parsePrefix } from "../net/cidr";

/** Of a container's own network. A packet may come back another way than it went (2), as by a tunnel's device. */
export const routerSysctls: Readonly<Record<string, string>> = {
  "net.ipv4.ip_forward": "1",
  "net.ipv6.conf.all.forwarding": "1",
  "net.ipv4.conf.all.rp_filter": "2",
  // Of devices that come later; docker turns IPv6 off in a container without network.
  "net.ipv6.conf.default.disable_ipv6": "0",
};

/** A container's network starts with what its server's has, and that forwards. */
export const hostSysctls: Readonly<Record<string, string>> = {
  "net.ipv4.ip_forward": "0",
  "net.ipv6.conf.all.forwarding": "0",
};

/** A system's interface, with all that are in its network. */
export interface Joined {
  readonly member: Member;
  readonly members: readonly Member[];
}

/** A route with the network whose interface it goes by. */
export interface SettledRoute {
  readonly network: string;
  readonly to: string;
  readonly via: string;
}

export const defaultRoute = "default";

/** As the kernel's tools write it, whichever way it is declared. */
function destination(to: string): string {
  const prefix = parsePrefix(to);
  return prefix === undefined || prefix.length === 0 ? defaultRoute : formatPrefix(prefix);
}

const familyOf = (address: Address): "ipv4" | "ipv6" => (address.family === 4 ? "ipv4" : "ipv6");

/** Whether a system reaches an address by its own interface, and nobody between. */
function isNeighbour({ member }: Joined, address: Address): boolean {
  const [prefix, own] = [member.prefixes[familyOf(address)], member.addresses[familyOf(address)]];
  return member.standsAlone !== true && prefix !== undefined && contains(prefix, address) && own?.value !== address.value;
}

/** The next hops of a route: one, or for a default by a system's name one of each family that it has. */
function nextHops({ to, via }: Route, joined: readonly Joined[]): { readonly network: string; readonly address: Address }[] {
  const prefix = parsePrefix(to);
  const fits = (address: Address): boolean => prefix === undefined || prefix.family === address.family;
  const literal = parseAddress(via);
  if (literal !== undefined) {
    const on = joined.find((one) => isNeighbour(one, literal));
    return on === undefined || !fits(literal) ? [] : [{ network: on.member.network, address: literal }];
  }
  for (const one of joined) {
    const hop = one.members.find(({ system }) => system === via);
    if (hop === undefined || hop.system === one.member.system) continue;
    return Object.values(hop.addresses)
      .filter((address) => fits(address) && isNeighbour(one, address))
      .map((address) => ({ network: one.member.network, address }));
  }
  return [];
}

export function settledRoutes(system: System, joined: readonly Joined[]): SettledRoute[] {
  return (system.routes ?? []).flatMap((route) =>
    nextHops(route, joined).map(({ network, address }) => ({ network, to: destination(route.to), via: formatAddress(address) })),
  );
}

function checkRoute(declaration: Declaration, system: System, route: Route, hops: readonly unknown[], report: Report, path: string): void {
  if (route.to !== defaultRoute && parsePrefix(route.to) === undefined)
    report(`${path}.to`, `"${route.to}" is no prefix`, 'write one like 10.1.0.0/16, or "default"');
  else if (parseAddress(route.via) === undefined && !declaration.testbed.systems.some(({ name }) => name === route.via))
    report(`${path}.via`, `"${route.via}" is no address, and no system`, "name a system that shares a network with it");
  else if (hops.length === 0)
    report(
      `${path}.via`,
      `${route.via} is nobody that ${system.name} reaches by an interface of its own, with an address of the route's family`,
      "name a next hop that is its neighbour",
    );
}

const routes: Rule<Declaration> = {
  id: "route",
  check: (declaration, report) => {
    for (const system of declaration.testbed.systems) {
      const networks = declaration.testbed.networks.filter(({ name }) => system.networks.some((own) => own.name === name));
      if (system.routes === undefined || networks.some(hasNamespaces)) continue;
      const joined = networks.flatMap((network): Joined[] => {
        const { members } = resolveMembers(declaration, network);
        const member = members.find((one) => one.system === system.name);
        return member === undefined ? [] : [{ member, members }];
      });
      const seen = new Map<string, number>();
      for (const [i, route] of system.routes.entries()) {
        const path = `systems.${system.name}.routes[${i}]`;
        const hops = nextHops(route, joined);
        checkRoute(declaration, system, route, hops, report, path);
        const to = destination(route.to);
        for (const { address } of hops) {
          const key = `${to} ${familyOf(address)}`;
          const other = seen.get(key);
          if (other !== undefined) report(`${path}.to`, `routes[${other}] has a way to ${to} already`, "leave one of them out");
          seen.set(key, i);
        }
      }
    }
  },
};

/** Where docker makes the interface it sets the routes too. */
const dockerRoutes: Rule<Declaration> = {
  id: "router-kind",
  check: ({ testbed }, report) => {
    for (const system of testbed.systems) {
      const joined = testbed.networks.filter(({ name }) => system.networks.some((own) => own.name === name));
      const made = joined.find((network) => kindOf(network).docker !== undefined);
      if (made === undefined) continue;
      for (const key of ["router", "routes", "nftables"] as const)
        if (system[key] !== undefined)
          report(
            `systems.${system.name}.${key}`,
            `docker sets up a system in a network of kind ${made.kind}`,
            "leave it out, or use another kind",
          );
    }
  },
};

export const routerRules: readonly Rule<Declaration>[] = [routes, dockerRoutes];
