/** Which interfaces a tenant's firewall looks at. Pure. */
import type { Declaration } from "../../config/declaration";
import type { Firewall, Network } from "../../config/types.gen";
import type { Member } from "../../kinds/contexts";
import { resolveMembers } from "../../kinds/members";

export const firewallsOf = ({ testbed }: Declaration): readonly Firewall[] => testbed.firewalls ?? [];

/** The networks by which it looks at systems, in the testbed's order. */
export const networksOf = ({ testbed }: Declaration, { tenant, networks }: Firewall): Network[] =>
  testbed.networks.filter((network) => network.tenant === tenant && (networks?.includes(network.name) ?? true));

export const covers = ({ tenant, networks, systems }: Firewall, member: Member): boolean =>
  member.tenant === tenant && (networks?.includes(member.network) ?? true) && (systems?.includes(member.system) ?? true);

export const membersOf = (declaration: Declaration, firewall: Firewall): Member[] =>
  networksOf(declaration, firewall).flatMap((network) =>
    resolveMembers(declaration, network).members.filter((member) => covers(firewall, member)),
  );
