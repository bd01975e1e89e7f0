/** Sites, gateways and what their tunnels carry, settled from what is declared. Pure. */
import { type Declaration, findNetwork } from "../../config/declaration";
import type { Site, System, Tunnel } from "../../config/types.gen";
import type { Member } from "../../kinds/contexts";
import { resolveMembers } from "../../kinds/members";
import { kindOf } from "../../kinds/registry";
import { type Address, families, type Family, parsePrefix, type Prefix, widthBits } from "../../net/cidr";

const familyOfPrefix = (prefix: Prefix): Family => (prefix.family === 4 ? "ipv4" : "ipv6");

/** What a tunnel ends in, seen from one of its two ends. */
export interface TunnelEnd {
  readonly gateway: string;
  /** The site's, or the gateway's own name. */
  readonly name: string;
  /** Of the gateway, on its way to others. */
  readonly outside: Member;
  readonly prefixes: readonly Prefix[];
}

/** What one tunnel carries of one family: a pair of IPsec SAs (a child, in the words of IKE). */
export interface Carried {
  readonly name: string;
  readonly tunnel: Tunnel;
  readonly family: Family;
  /** The first starts it. */
  readonly ends: readonly [TunnelEnd, TunnelEnd];
}

/** All that two gateways carry between addresses of one family: one IKE SA, for a second one would be told that nothing is left for it. */
export interface Connection {
  readonly name: string;
  readonly outer: Family;
  readonly carried: readonly Carried[];
}

export const modeOf = ({ mode }: Tunnel): NonNullable<Tunnel["mode"]> => mode ?? "site-to-site";

export const sitesOf = (declaration: Declaration): readonly Site[] => declaration.testbed.sites ?? [];
export const tunnelsOf = (declaration: Declaration): readonly Tunnel[] => declaration.testbed.tunnels ?? [];

export function sitePrefixes(declaration: Declaration, site: Site): Prefix[] {
  if (site.prefixes !== undefined) return site.prefixes.flatMap((text) => parsePrefix(text) ?? []);
  const network = findNetwork(declaration, site.inside);
  const gateway = declaration.testbed.systems.find(({ name }) => name === site.gateway);
  return network === undefined || gateway === undefined ? [] : Object.values(kindOf(network).prefixes(network, gateway.server));
}

/** By the names of their systems: who is the gateway of a site, or an end of a tunnel itself. */
export function gatewaysOf(declaration: Declaration): System[] {
  const named = new Set([
    ...sitesOf(declaration).map(({ gateway }) => gateway),
    ...tunnelsOf(declaration).flatMap((tunnel) => (modeOf(tunnel) === "host-to-host" ? tunnel.between : [])),
  ]);
  return declaration.testbed.systems.filter(({ name }) => named.has(name));
}

export const isGateway = (declaration: Declaration, system: string): boolean => gatewaysOf(declaration).some(({ name }) => name === system);

/** All of a system's addresses. */
export function addressesOf(declaration: Declaration, system: System): Address[] {
  return system.networks.flatMap(({ name }) => {
    const network = findNetwork(declaration, name);
    const member = network && resolveMembers(declaration, network).members.find((one) => one.system === system.name);
    return Object.values(member?.addresses ?? {});
  });
}

/** The first of a gateway's networks that no site of it has for its inside. */
export function outsideOf(declaration: Declaration, gateway: System): Member | undefined {
  const insides = new Set(sitesOf(declaration).flatMap((site) => (site.gateway === gateway.name ? [site.inside] : [])));
  const outside = gateway.networks.find(({ name }) => !insides.has(name));
  const network = outside && findNetwork(declaration, outside.name);
  return network && resolveMembers(declaration, network).members.find(({ system }) => system === gateway.name);
}

const whole = (address: Address): Prefix => ({ family: address.family, network: address.value, length: widthBits[address.family] });

/** Undefined where a name names nothing, or nothing that can be an end. */
export function endOf(declaration: Declaration, tunnel: Tunnel, name: string): TunnelEnd | undefined {
  const site = modeOf(tunnel) === "site-to-site" ? sitesOf(declaration).find((one) => one.name === name) : undefined;
  if (modeOf(tunnel) === "site-to-site" && site === undefined) return undefined;
  const gateway = declaration.testbed.systems.find((one) => one.name === (site?.gateway ?? name));
  const outside = gateway && outsideOf(declaration, gateway);
  if (outside === undefined) return undefined;
  const prefixes = site === undefined ? Object.values(outside.addresses).map(whole) : sitePrefixes(declaration, site);
  return { gateway: outside.system, name, outside, prefixes };
}

export function endsOf(declaration: Declaration, tunnel: Tunnel): readonly [TunnelEnd, TunnelEnd] | undefined {
  const [first, second] = tunnel.between.map((name) => endOf(declaration, tunnel, name));
  return first === undefined || second === undefined ? undefined : [first, second];
}

export const prefixesOf = ({ prefixes }: TunnelEnd, family: Family): Prefix[] =>
  prefixes.filter((prefix) => familyOfPrefix(prefix) === family);

/** The families that a tunnel carries. */
export function familiesOf(tunnel: Tunnel, ends: readonly TunnelEnd[]): Family[] {
  return families.filter(
    (family) => (tunnel.families ?? families).includes(family) && ends.every((end) => prefixesOf(end, family).length > 0),
  );
}

export function carriedBy(declaration: Declaration, tunnel: Tunnel): Carried[] {
  const ends = endsOf(declaration, tunnel);
  if (ends === undefined) return [];
  const carried = familiesOf(tunnel, ends);
  return carried.map((family) => ({ name: carried.length === 1 ? tunnel.name : `${tunnel.name}-${family}`, tunnel, family, ends }));
}

export function connectionsOf(declaration: Declaration): Connection[] {
  const groups = new Map<string, { outer: Family; carried: Carried[] }>();
  for (const tunnel of tunnelsOf(declaration)) {
    const outer = tunnel.outer ?? "ipv4";
    for (const one of carriedBy(declaration, tunnel)) {
      const pair = one.ends.map(({ gateway }) => gateway).sort();
      // No name of a system ends in a digit's family: the two of a pair do not meet.
      const name = `${pair.join("_")}${outer === "ipv6" ? "_ipv6" : ""}`;
      const group = groups.get(name) ?? { outer, carried: [] };
      group.carried.push(one);
      groups.set(name, group);
    }
  }
  return [...groups].map(([name, group]) => ({ name, ...group }));
}

/** A connection as one of its gateways has it. */
export interface OwnConnection {
  readonly name: string;
  readonly outer: Family;
  readonly own: Address;
  readonly peer: { readonly gateway: string; readonly address: Address };
  readonly children: readonly {
    readonly carried: Carried;
    readonly starts: boolean;
    readonly local: readonly Prefix[];
    readonly remote: readonly Prefix[];
  }[];
}

export function connectionsOfGateway(connections: readonly Connection[], gateway: string): OwnConnection[] {
  return connections.flatMap(({ name, outer, carried }): OwnConnection[] => {
    const [one] = carried;
    const here = one?.ends.find((end) => end.gateway === gateway);
    const there = one?.ends.find((end) => end.gateway !== gateway);
    const [own, address] = [here?.outside.addresses[outer], there?.outside.addresses[outer]];
    if (there === undefined || own === undefined || address === undefined) return [];
    const children = carried.map((child) => {
      const [first, second] = child.ends;
      const starts = first.gateway === gateway;
      const [local, remote] = starts ? [first, second] : [second, first];
      return { carried: child, starts, local: prefixesOf(local, child.family), remote: prefixesOf(remote, child.family) };
    });
    return [{ name, outer, own, peer: { gateway: there.gateway, address }, children }];
  });
}

/** The secret that the gateways of a connection know one another by. No name of a user has an underscore. */
export const pskOf = ({ name }: Pick<Connection, "name">): string => `psk_${name}`;
export const certificateOf = (gateway: string): string => `vpn_certificate_${gateway}`;

/** Who speaks for an end: somebody behind the gateway, or else the gateway. */
export function speakerOf(declaration: Declaration, end: TunnelEnd): Member {
  const site = sitesOf(declaration).find(({ name, gateway }) => name === end.name && gateway === end.gateway);
  const network = site && findNetwork(declaration, site.inside);
  // A gateway's own name may be that of a site, too.
  const isHost = site === undefined || end.prefixes.every((prefix) => prefix.length === widthBits[prefix.family]);
  if (network === undefined || isHost) return end.outside;
  const { members } = resolveMembers(declaration, network);
  return members.find(({ system }) => system !== end.gateway) ?? members.find(({ system }) => system === end.gateway) ?? end.outside;
}

/** Where a gateway is inside its site. */
export function insideOf(declaration: Declaration, end: TunnelEnd): Member | undefined {
  const site = sitesOf(declaration).find(({ name, gateway }) => name === end.name && gateway === end.gateway);
  const network = site && findNetwork(declaration, site.inside);
  return network && resolveMembers(declaration, network).members.find(({ system }) => system === end.gateway);
}

/** Pairs of gateways, both ways, that have a tunnel for their own packets, and no other way: "FROM TO". */
export function hostTunnels(declaration: Declaration): ReadonlySet<string> {
  const found = tunnelsOf(declaration)
    .filter((tunnel) => modeOf(tunnel) === "host-to-host")
    .flatMap((tunnel) => carriedBy(declaration, tunnel))
    .flatMap(({ ends: [a, b] }) => [`${a.gateway} ${b.gateway}`, `${b.gateway} ${a.gateway}`]);
  return new Set(found);
}
