/** What a server holds for the firewalls of its tenants. Pure. */
import { createHash } from "node:crypto";
import { type Declaration, isRouter, type ServerDeclaration } from "../../config/declaration";
import type { Firewall, Network } from "../../config/types.gen";
import type { AttachHook, FirewallEnd, FirewallHook, FirewallSite } from "../../host/contract/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import type { Addresses, Member, NetworkContext } from "../../kinds/contexts";
import type { AgentRulesPlace } from "../../host/objects/experimentRules";
import { resolveMembers } from "../../kinds/members";
import { kindOf } from "../../kinds/registry";
import type { Tap } from "../../kinds/tap";
import { formatAddress } from "../../net/cidr";
import type { ServerAddition } from "../capability";
import { covers, firewallsOf, membersOf, networksOf } from "./covered";
import { firewallSite, insteadLeaf, rulesFile, rulesLeaf, statusLeaf } from "./objects/firewall";
import { firewallsInForce } from "./objects/inForce";

export function firewallHooks({ declaration }: NetworkContext, member: Member, tap: Tap): AttachHook[] {
  const firewall = firewallsOf(declaration).find((one) => covers(one, member));
  if (firewall === undefined || tap.by !== "port") return [];
  const args: FirewallHook = { firewall: firewall.tenant, network: member.network, router: isRouter(declaration, member.system) };
  return [{ type: "firewall", args: { ...args }, wanted: { firewall: "on" } }];
}

const addressesOf = (addresses: Addresses): string[] =>
  [addresses.ipv4, addresses.ipv6].flatMap((address) => (address === undefined ? [] : formatAddress(address)));

/** Of the systems that it looks at; of a router all, by whatever network they are reached. */
function endsOf(declaration: Declaration, firewall: Firewall, server: string): FirewallEnd[] {
  const looked = membersOf(declaration, firewall);
  const routers = new Set(looked.map(({ system }) => system).filter((system) => isRouter(declaration, system)));
  const others = declaration.testbed.networks
    .flatMap((network) => resolveMembers(declaration, network).members)
    .filter((member) => routers.has(member.system) && !covers(firewall, member));
  const ofSystems = [...looked, ...others].flatMap((member) =>
    addressesOf(member.addresses).map((address) => ({
      address,
      system: member.system,
      network: member.network,
      here: member.server === server,
    })),
  );
  const gateways = networksOf(declaration, firewall).flatMap((network) => {
    const kind = kindOf(network);
    const all = kind
      .servers(declaration, network)
      .flatMap(({ name }) => [kind.gateways(network, name), kind.ownAddresses?.(network, name) ?? {}].flatMap(addressesOf));
    return [...new Set(all)].map((address) => ({ address, system: "", network: network.name, here: true, gateway: true }));
  });
  const known = new Set(ofSystems.map(({ address }) => address));
  return [...ofSystems, ...gateways.filter(({ address }) => !known.has(address))];
}

const siteOf = (declaration: Declaration, firewall: Firewall, server: string): FirewallSite => ({
  name: firewall.tenant,
  rules: declaration.firewallRules[firewall.rules]?.hash ?? "",
  networks: networksOf(declaration, firewall).map(({ name }) => name),
  ends: endsOf(declaration, firewall, server),
});

/** An experiment's rules stand in front of the firewall's own. */
export function experimentRules(declaration: Declaration, network: Network): AgentRulesPlace | undefined {
  const firewall = firewallsOf(declaration).find((one) => networksOf(declaration, one).includes(network));
  if (firewall === undefined) return undefined;
  const { tenant, rules } = firewall;
  return {
    declared: rulesLeaf(tenant, declaration.firewallRules[rules]?.hash ?? ""),
    instead: insteadLeaf(tenant),
    status: statusLeaf(tenant),
  };
}

export function serverAddition(declaration: Declaration, server: ServerDeclaration): ServerAddition {
  const here = firewallsOf(declaration).filter((firewall) =>
    membersOf(declaration, firewall).some((member) => member.server === server.name),
  );
  if (here.length === 0) return { requirements: [], settings: [] };
  const sites = here.map((firewall) => siteOf(declaration, firewall, server.name));
  const owner = { stack: server.name };
  const hash = createHash("sha256").update(JSON.stringify(sites)).digest("hex").slice(0, 16);
  return {
    requirements: [],
    settings: [],
    files: here.map((firewall, i) => {
      const site = sites[i] as FirewallSite;
      return { name: `rules-${site.name}`, path: firewall.rules, to: rulesFile(owner, site), hash: site.rules };
    }),
    agent: sites.map((site) => declare(firewallSite, `firewall-${site.name}`, site) as HostObject),
    settled: [declare(firewallsInForce, "firewalls", { names: sites.map(({ name }) => name), hash }) as HostObject],
  };
}
