/** What firewalls must not be declared as. */
import type { Declaration } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import { oneOf } from "../../config/validate";
import { canReadRules, readRules } from "../../host/agentProgram";
import { kindOf } from "../../kinds/registry";
import { formatAddress } from "../../net/cidr";
import { firewallsOf, membersOf, networksOf } from "./covered";

type FirewallRule = Rule<Declaration>;

const scope: FirewallRule = {
  id: "firewall-scope",
  check: (declaration, report) => {
    const { tenants, networks, systems } = declaration.testbed;
    const all = firewallsOf(declaration);
    for (const [i, firewall] of all.entries()) {
      const path = `firewalls[${i}]`;
      const { tenant } = firewall;
      const names = tenants.map(({ name }) => name);
      if (!names.includes(tenant)) {
        report(`${path}.tenant`, `there is no tenant "${tenant}"`, oneOf(tenant, names));
        continue;
      }
      if (all.slice(0, i).some((other) => other.tenant === tenant))
        report(
          `${path}.tenant`,
          `${tenant} has a firewall already`,
          "put the rules of both into one file: -i, -o, -s and -d tell networks and systems apart",
        );
      for (const [key, things] of [
        ["networks", networks],
        ["systems", systems],
      ] as const)
        for (const name of firewall[key] ?? []) {
          const own = things.filter((thing) => thing.tenant === tenant).map((thing) => thing.name);
          const found = things.find((thing) => thing.name === name);
          if (found === undefined) report(`${path}.${key}`, `there is no ${key.slice(0, -1)} "${name}"`, oneOf(name, own));
          else if (found.tenant !== tenant)
            report(`${path}.${key}`, `${name} is ${found.tenant}'s`, `leave it out: a firewall of ${found.tenant}'s may look at it`);
        }
    }
  },
};

const reach: FirewallRule = {
  id: "firewall-reach",
  check: (declaration, report) => {
    for (const [i, firewall] of firewallsOf(declaration).entries()) {
      const path = `firewalls[${i}]`;
      const members = membersOf(declaration, firewall);
      if (members.length === 0)
        report(path, "it looks at no system", `name systems of ${firewall.tenant}'s that are in its networks, or leave it out`);
      const owners = new Map<string, string>();
      for (const { system, network, addresses, asksForAddress } of members) {
        if (asksForAddress === true)
          report(
            `systems.${system}.networks.${network}`,
            `${firewall.tenant}'s firewall cannot know an address that is told later`,
            `give it one, or leave ${system} out of ${path}.systems`,
          );
        for (const address of [addresses.ipv4, addresses.ipv6].flatMap((one) => (one === undefined ? [] : formatAddress(one)))) {
          const owner = owners.get(address);
          if (owner !== undefined && owner !== system)
            report(
              path,
              `${address} is of ${owner} and of ${system}: their packets cannot be told apart`,
              "give the networks prefixes of their own, or name one of them in networks",
            );
          owners.set(address, system);
        }
      }
      for (const network of networksOf(declaration, firewall)) {
        if (!members.some((member) => member.network === network.name)) continue;
        const kind = kindOf(network);
        const others = `name the others in ${path}.networks`;
        if (kind.attach === undefined || kind.docker !== undefined)
          report(`${path}.networks`, `no program of ours is at the interfaces of ${network.name}, which is of kind ${kind.kind}`, others);
        else if (kind.redirects?.(network) === true)
          report(`${path}.networks`, `packets come to systems of ${network.name} past the programs at their interfaces`, others);
      }
    }
  },
};

const families = [
  ["ipv4", "IPv4", "iptables"],
  ["ipv6", "IPv6", "ip6tables"],
] as const;

const text: FirewallRule = {
  id: "firewall-rules",
  check: (declaration, report) => {
    for (const firewall of firewallsOf(declaration)) {
      const { text } = declaration.firewallRules[firewall.rules] ?? {};
      if (text === undefined || !canReadRules()) continue;
      const networks = networksOf(declaration, firewall).map(({ name }) => name);
      const reading = readRules({ text, networks, short: true });
      for (const { line, column, what, fix } of reading.faults) report(`${firewall.rules}:${line}:${column}`, what, fix);
      if (reading.faults.length > 0) continue;
      const members = membersOf(declaration, firewall);
      for (const [family, name, program] of families)
        if (!reading.families.includes(family) && members.some(({ addresses }) => addresses[family] !== undefined))
          report(
            firewall.rules,
            `it says nothing of ${name}, of which nothing would pass`,
            `say so with ${program} -P FORWARD DROP, or let all pass with ${program} -P FORWARD ACCEPT`,
          );
    }
  },
};

export const firewallRules: readonly FirewallRule[] = [scope, reach, text];
