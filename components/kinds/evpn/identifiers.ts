/** The numbers of BGP EVPN, and who gets which. Pure. */
import { type Declaration, type ServerDeclaration, serversOf } from "../../config/declaration";
import type { EvpnNetwork, Network } from "../../config/types.gen";
import { hash32, macFor } from "../../net/names";

export const defaultAsn = 65000;
export const defaultHoldSeconds = 9;
export const vxlanPort = 4789;

/** One for all gateways: a system that moves finds its gateway by the MAC that it knows. Never advertised. */
export const gatewayMac = macFor("evpn anycast gateway");

export const isRouted = ({ irb = "none" }: EvpnNetwork): boolean => irb !== "none";
export const isSymmetric = ({ irb }: EvpnNetwork): boolean => irb === "symmetric";

export const isEvpn = (network: Network): network is EvpnNetwork => network.kind === "evpn";

export const evpnNetworks = (declaration: Declaration): EvpnNetwork[] => declaration.testbed.networks.filter(isEvpn);

export const asnOf = (declaration: Declaration): number => declaration.testbed.bgp?.asn ?? defaultAsn;

const indexCount = 0xffff;

/**
 * The index of a VN's route distinguishers (RFC 4364, type 1: two bytes beside the router id). The VNID itself where it
 * fits; else one by the VNID, free of every other's, the same on all servers.
 */
export function rdIndexes(vnids: readonly number[]): Map<number, number> {
  const indexes = new Map(vnids.filter((vn) => vn <= indexCount).map((vn) => [vn, vn]));
  const taken = new Set(indexes.values());
  for (const vn of [...vnids].sort((a, b) => a - b)) {
    if (indexes.has(vn)) continue;
    let index = (hash32(`rd ${vn}`) % indexCount) + 1;
    while (taken.has(index)) index = (index % indexCount) + 1;
    taken.add(index);
    indexes.set(vn, index);
  }
  return indexes;
}

/** VNIDs for routers start here: the last 16 bits of the 24 are for a tenant to fall on. */
const routerVnBase = 0xff0000;

/** The VNs that join the routers of a tenant with symmetric routing: by the tenant's name, free of every declared VNID. */
export function routerVns(declaration: Declaration): ReadonlyMap<string, number> {
  const networks = evpnNetworks(declaration);
  // Kind macvlan has tunnels with VNIDs of its own.
  const ofSegments = declaration.testbed.networks.flatMap((network) =>
    network.kind === "macvlan" ? Number(/^vxlan (\d+)$/.exec(network.parent ?? "")?.[1] ?? []) : [],
  );
  const taken = new Set([...networks.map((network) => network.vn), ...ofSegments]);
  const vns = new Map<string, number>();
  for (const tenant of [...new Set(networks.filter(isSymmetric).map((network) => network.tenant))].sort()) {
    let offset = hash32(`router ${tenant}`) & 0xffff;
    while (taken.has(routerVnBase + offset)) offset = (offset + 1) & 0xffff;
    taken.add(routerVnBase + offset);
    vns.set(tenant, routerVnBase + offset);
  }
  return vns;
}

export function routeDistinguisher(declaration: Declaration, vn: number, routerId: string): string {
  const vns = [...evpnNetworks(declaration).map((network) => network.vn), ...routerVns(declaration).values()];
  const index = rdIndexes(vns).get(vn);
  return `${routerId}:${index}`;
}

/** Type 0 (RFC 8365): two bytes of AS, four of which the VNID needs three. */
export function routeTarget(declaration: Declaration, vn: number): string {
  return `${asnOf(declaration)}:${vn}`;
}

/** Asymmetric routing puts a packet into the network of its destination where it starts: that network must be there. */
export function evpnServers(declaration: Declaration, network: EvpnNetwork): ServerDeclaration[] {
  if (network.irb !== "asymmetric") return serversOf(declaration, network);
  const routed = evpnNetworks(declaration).filter((other) => other.tenant === network.tenant && other.irb === "asymmetric");
  const names = new Set(routed.flatMap((other) => serversOf(declaration, other).map((server) => server.name)));
  return declaration.servers.filter((server) => names.has(server.name));
}
