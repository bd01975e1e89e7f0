/** What a server holds for the firewalls of its tenants. Pure. */
import { createHash } from "node:crypto";
import type { Declaration, ServerDeclaration } from "../../config/declaration";
import type { Firewall } from "../../config/types.gen";
import type { AttachHook, FirewallHook, FirewallSite } from "../../host/contract/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import type { Member, NetworkContext } from "../../kinds/contexts";
import type { Tap } from "../../kinds/tap";
import { formatAddress } from "../../net/cidr";
import type { ServerAddition } from "../capability";
import { covers, firewallsOf, membersOf, networksOf } from "./covered";
import { firewallSite, rulesFile } from "./objects/firewall";
import { firewallsInForce } from "./objects/inForce";

export function firewallHooks({ declaration }: NetworkContext, member: Member, tap: Tap): AttachHook[] {
  const firewall = firewallsOf(declaration).find((one) => covers(one, member));
  if (firewall === undefined || tap.by !== "port") return [];
  const router = declaration.testbed.systems.some(({ name, router }) => name === member.system && router === true);
  const args: FirewallHook = { firewall: firewall.tenant, network: member.network, router };
  return [{ type: "firewall", args: { ...args }, wanted: { firewall: "on" } }];
}

function siteOf(declaration: Declaration, firewall: Firewall, server: string): FirewallSite {
  return {
    name: firewall.tenant,
    rules: declaration.firewallRules[firewall.rules]?.hash ?? "",
    networks: networksOf(declaration, firewall).map(({ name }) => name),
    ends: membersOf(declaration, firewall).flatMap((member) =>
      [member.addresses.ipv4, member.addresses.ipv6].flatMap((address) =>
        address === undefined
          ? []
          : [{ address: formatAddress(address), system: member.system, network: member.network, here: member.server === server }],
      ),
    ),
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
