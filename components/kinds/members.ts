/** The systems' interfaces: names, MACs and addresses, declared or by name. Pure. */
import type { Declaration } from "../config/declaration";
import type { Network, System } from "../config/types.gen";
import { allocate } from "../net/allocate";
import { type Address, formatPrefix, type Prefix, parseAddress, widthBits } from "../net/cidr";
import { macFor } from "../net/names";
import type { Member, Prefixes } from "./contexts";
import { kindOf } from "./registry";

export function interfaceName(system: System, index: number): string {
  return system.networks[index]?.interface ?? `eth${index}`;
}

/** In the place of an IPv4 address: it asks for one. */
export const asked = "dhcp";

/** Undefined where a network's prefixes have no address left. */
export interface Membership extends Omit<Member, "addresses"> {
  readonly declared: { readonly ipv4?: Address; readonly ipv6?: Address };
  readonly path: string;
}

function memberships(declaration: Declaration, network: Network): Membership[] {
  const kind = kindOf(network);
  return declaration.testbed.systems.flatMap((system) =>
    system.networks.flatMap((membership, index) => {
      if (membership.name !== network.name) return [];
      const ipv4 = parseAddress(membership.address ?? "");
      const ipv6 = parseAddress(membership.address6 ?? "");
      return [
        {
          system: system.name,
          tenant: system.tenant,
          server: system.server,
          network: network.name,
          interface: kind.docker?.interface ?? interfaceName(system, index),
          mac: kind.hasParentsMac?.(network) === true ? "" : (membership.mac ?? macFor(`${network.name} ${system.name}`)).toLowerCase(),
          ...(membership.address === asked && { asksForAddress: true }),
          prefixes: kind.prefixes(network, system.server),
          ...(kind.membersStandAlone === true && { standsAlone: true }),
          declared: { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) },
          path: `systems.${system.name}.networks.${network.name}`,
        },
      ];
    }),
  );
}

/** Addresses that are spoken for in a prefix: gateways, servers' own, and what is declared. */
function takenIn(
  declaration: Declaration,
  network: Network,
  all: readonly Membership[],
  prefix: Prefix,
  family: "ipv4" | "ipv6",
): Set<bigint> {
  const kind = kindOf(network);
  const gateways = declaration.servers.flatMap(({ name }) =>
    [kind.gateways(network, name)[family], kind.ownAddresses?.(network, name)[family]].flatMap((address) => address ?? []),
  );
  const declared = all.flatMap((m) => m.declared[family] ?? []);
  return new Set([...gateways, ...declared].filter((a) => a.family === prefix.family).map((a) => a.value));
}

export interface Resolved {
  readonly members: readonly Member[];
  /** Members that get no address because their prefix is full. */
  readonly full: readonly { readonly path: string; readonly prefix: string }[];
}

export function resolveMembers(declaration: Declaration, network: Network): Resolved {
  const all = memberships(declaration, network);
  const full: { path: string; prefix: string }[] = [];
  const taken = new Map<string, Set<bigint>>();
  const settle = (m: Membership, family: "ipv4" | "ipv6"): Address | undefined => {
    const prefix = m.prefixes[family];
    if (m.declared[family] !== undefined || prefix === undefined) return m.declared[family];
    if (family === "ipv4" && m.asksForAddress === true) return undefined;
    const text = formatPrefix(prefix);
    const set = taken.get(text) ?? takenIn(declaration, network, all, prefix, family);
    taken.set(text, set);
    const address = allocate(kindOf(network).pools?.(network, m.server)[family] ?? prefix, set, `${network.name} ${m.system}`);
    if (address === undefined) full.push({ path: m.path, prefix: text });
    else set.add(address.value);
    return address;
  };
  // In the order of names, so that the order of the file decides nothing.
  const ordered = [...all].sort((a, b) => (a.system < b.system ? -1 : 1));
  const members = ordered.map(({ declared: _, path: __, ...m }, i) => {
    const membership = ordered[i] as Membership;
    const [ipv4, ipv6] = [settle(membership, "ipv4"), settle(membership, "ipv6")];
    const mac = ipv4 === undefined ? undefined : kindOf(network).docker?.mac(ipv4);
    return { ...m, ...(mac !== undefined && { mac }), addresses: { ...(ipv4 && { ipv4 }), ...(ipv6 && { ipv6 }) } };
  });
  return { members, full };
}

/** "10.0.0.8/24" for each address of a member. */
export function addressTexts(member: Member, format: (address: Address) => string): string[] {
  return (["ipv4", "ipv6"] as const).flatMap((family) => {
    const [address, prefix] = [member.addresses[family], (member.prefixes as Prefixes)[family]];
    if (address === undefined || prefix === undefined) return [];
    return [`${format(address)}/${member.standsAlone === true ? widthBits[address.family] : prefix.length}`];
  });
}
