/** What a server holds for the firewalls of its tenants. Pure. */
import { createHash } from "node:crypto";
import type { Declaration, ServerDeclaration } from "../../config/declaration";
import type { Firewall } from "../../config/types.gen";
import type { AttachHook, FirewallHook, FirewallSite } from "../../host/contract/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import { packed } from "../../host/packed";
import type { Member, NetworkContext } from "../../kinds/contexts";
import type { Tap } from "../../kinds/tap";
import { formatAddress } from "../../net/cidr";
import type { ServerAddition } from "../capability";
import { covers, firewallsOf, membersOf, networksOf } from "./covered";
import { firewallSite, type FirewallSpec } from "./objects/firewall";
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

function specOf(declaration: Declaration, firewall: Firewall, server: string): FirewallSpec {
  const text = declaration.firewallRules[firewall.rules]?.text ?? "";
  return {
    site: siteOf(declaration, firewall, server),
    rules: packed(text),
  };
}

export function serverAddition(declaration: Declaration, server: ServerDeclaration): ServerAddition {
  const here = firewallsOf(declaration).filter((firewall) =>
    membersOf(declaration, firewall).some((member) => member.server === server.name),
  );
  if (here.length === 0) return { requirements: [], settings: [] };
  const specs = here.map((firewall) => specOf(declaration, firewall, server.name));
  const hash = createHash("sha256")
    .update(JSON.stringify(specs.map(({ site }) => site)))
    .digest("hex")
    .slice(0, 16);
  const names = specs.map(({ site }) => site.name);
  return {
    requirements: [],
    settings: [],
    agent: specs.map((spec) => declare(firewallSite, `firewall-${spec.site.name}`, spec) as HostObject),
    settled: [declare(firewallsInForce, "firewalls", { names, hash }) as HostObject],
  };
}
