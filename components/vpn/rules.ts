/** What sites and tunnels must not be declared as. */
import { type Declaration, findNetwork, firstHub } from "../config/declaration";
import type { Rule } from "../config/faults";
import type { Tunnel } from "../config/types.gen";
import { oneOf } from "../config/validate";
import { hasNamespaces, kindOf } from "../kinds/registry";
import { formatPrefix, overlaps, parsePrefix } from "../net/cidr";
import {
  connectionsOf,
  endsOf,
  familiesOf,
  gatewaysOf,
  modeOf,
  outsideOf,
  prefixesOf,
  sitePrefixes,
  sitesOf,
  type TunnelEnd,
  tunnelsOf,
} from "./tunnels";

type VpnRule = Rule<Declaration>;

const site: VpnRule = {
  id: "site",
  check: (declaration, report) => {
    const { systems, networks } = declaration.testbed;
    for (const own of sitesOf(declaration)) {
      const { name, gateway, inside, prefixes } = own;
      const path = `sites.${name}`;
      const system = systems.find((one) => one.name === gateway);
      if (system === undefined)
        report(
          `${path}.gateway`,
          `there is no system "${gateway}"`,
          oneOf(
            gateway,
            systems.map((one) => one.name),
          ),
        );
      if (!networks.some((network) => network.name === inside))
        report(
          `${path}.inside`,
          `there is no network "${inside}"`,
          oneOf(
            inside,
            networks.map((network) => network.name),
          ),
        );
      else if (system !== undefined && !system.networks.some((own) => own.name === inside))
        report(`${path}.inside`, `${gateway} is not in ${inside}`, `add { name: ${inside} } to the networks of ${gateway}`);
      for (const text of prefixes ?? [])
        if (parsePrefix(text) === undefined) report(`${path}.prefixes`, `"${text}" is no prefix`, "write one like 10.1.0.0/16");
      if (prefixes === undefined && system !== undefined && sitePrefixes(declaration, own).length === 0)
        report(`${path}.inside`, `${inside} has no prefix, so tunnels have nothing to carry`, "give it one, or write prefixes");
    }
  },
};

/** By what a packet is for the gateways know which tunnel it belongs to. */
const siteOverlap: VpnRule = {
  id: "site-overlap",
  check: (declaration, report) => {
    const all = sitesOf(declaration);
    for (const [i, a] of all.entries()) {
      for (const b of all.slice(0, i)) {
        for (const own of sitePrefixes(declaration, a)) {
          const other = sitePrefixes(declaration, b).find((prefix) => overlaps(own, prefix));
          if (other !== undefined)
            report(
              `sites.${a.name}`,
              `${formatPrefix(own)} overlaps ${formatPrefix(other)} of site ${b.name}`,
              "give one of them other prefixes",
            );
        }
      }
    }
  },
};

const gateway: VpnRule = {
  id: "vpn-gateway",
  check: (declaration, report) => {
    for (const system of gatewaysOf(declaration)) {
      const path = `systems.${system.name}`;
      if (system.router !== true) report(`${path}.router`, "it is a gateway, and forwards nothing", "write router: true");
      const networks = system.networks.flatMap(({ name }) => findNetwork(declaration, name) ?? []);
      const odd = networks.find((network) => hasNamespaces(network) || kindOf(network).docker !== undefined);
      if (odd !== undefined) report(`${path}.networks.${odd.name}`, `a network of kind ${odd.kind} takes no gateways`, "use another kind");
      else if (outsideOf(declaration, system) === undefined)
        report(`${path}.networks`, "the gateway has no network but its site's inside", "add the network that it reaches others by");
      if (system.image !== undefined && system.image !== "strongswan" && !system.image.endsWith(".tar"))
        report(`${path}.image`, `${system.image} has no strongSwan`, "leave it out: a gateway's image is strongswan");
      if (system.command !== undefined) report(`${path}.command`, "a gateway runs strongSwan", "leave it out");
      for (const key of ["nftables"] as const) if (system[key]?.trim() === "") report(`${path}.${key}`, "names no file", "leave it out");
    }
  },
};

function checkEnds(declaration: Declaration, tunnel: Tunnel, say: (key: string, what: string, fix: string) => void): void {
  const sites = sitesOf(declaration).map(({ name }) => name);
  const systems = declaration.testbed.systems.map(({ name }) => name);
  const [known, word] = modeOf(tunnel) === "site-to-site" ? [sites, "site"] : [systems, "system"];
  for (const name of tunnel.between) {
    if (known.includes(name)) continue;
    const other = word === "site" ? systems : sites;
    if (other.includes(name))
      say(
        "between",
        `${name} is a ${word === "site" ? "system" : "site"}, and mode ${modeOf(tunnel)} joins ${word}s`,
        word === "site" ? "name its site, or write mode: host-to-host" : "name its gateway, or leave mode out",
      );
    else say("between", `there is no ${word} "${name}"`, oneOf(name, known));
  }
}

/** A prefix that is none has a fault of its own, and what follows from it is not worth saying. */
function hasBadPrefix(declaration: Declaration, ends: readonly TunnelEnd[]): boolean {
  const names = ends.flatMap((end) => [
    end.outside.network,
    ...sitesOf(declaration).flatMap(({ name, inside }) => (name === end.name ? [inside] : [])),
  ]);
  return names.some((name) => {
    const { subnet, subnet6 } = (findNetwork(declaration, name) ?? {}) as { subnet?: string; subnet6?: string };
    return [subnet, subnet6].some((text) => text !== undefined && parsePrefix(text) === undefined);
  });
}

const tunnel: VpnRule = {
  id: "tunnel",
  check: (declaration, report) => {
    for (const one of tunnelsOf(declaration)) {
      const say = (key: string, what: string, fix: string): void => report(`tunnels.${one.name}.${key}`, what, fix);
      checkEnds(declaration, one, say);
      const ends = endsOf(declaration, one);
      if (ends === undefined || hasBadPrefix(declaration, ends)) continue;
      const [first, second] = ends;
      if (first.gateway === second.gateway) {
        say("between", `both ends are ${first.gateway}`, "name two gateways");
        continue;
      }
      const outer = one.outer ?? "ipv4";
      for (const end of ends)
        if (end.outside.addresses[outer] === undefined)
          say(
            "outer",
            `${end.gateway} has no ${outer} address in ${end.outside.network}`,
            `give the network a ${outer === "ipv4" ? "subnet" : "subnet6"}, or choose the other family`,
          );
      for (const family of one.families ?? [])
        for (const end of ends)
          if (prefixesOf(end, family).length === 0)
            say("families", `${end.name} has no ${family} prefix`, `leave ${family} out, or give it one`);
      if (one.families === undefined && familiesOf(one, ends).length === 0)
        say("families", `${first.name} and ${second.name} have no family in common`, "give both prefixes of one");
    }
  },
};

/** A second one for the same packets would be chosen by chance. */
const tunnelTwice: VpnRule = {
  id: "tunnel-twice",
  check: (declaration, report) => {
    const users = new Map<string, string>();
    for (const connection of connectionsOf(declaration)) {
      for (const { tunnel: own, family, ends } of connection.carried) {
        const key = `${family} ${ends
          .map((end) => prefixesOf(end, family).map(formatPrefix).join(","))
          .sort()
          .join(" ")}`;
        const other = users.get(key);
        if (other !== undefined && other !== own.name)
          report(`tunnels.${own.name}`, `carries the ${family} packets of ${other}`, "leave one of them out");
        users.set(key, own.name);
      }
    }
  },
};

const hub: VpnRule = {
  id: "vpn-hub",
  check: (declaration, report) => {
    if (tunnelsOf(declaration).length > 0 && firstHub(declaration) === undefined)
      report(
        "tunnels",
        "secrets and certificates of gateways arise on the hub, and no server is it",
        "write flipflap:hub: true in one stack file",
      );
  },
};

export const vpnRules: readonly VpnRule[] = [site, siteOverlap, gateway, tunnel, tunnelTwice, hub];
