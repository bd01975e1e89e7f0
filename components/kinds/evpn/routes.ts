/** The routes of EVPN as a route server tells them, in the words of a testbed. Pure. */
import type { Declaration } from "../../config/declaration";
import { evpnNetworks, routerVns } from "./identifiers";
import { vtepOf } from "./speaker";

/** RFC 7432: what a route announces. */
export const routeTypes = { 2: "macadv", 3: "multicast", 5: "prefix" } as const;

export interface EvpnRoute {
  readonly type: (typeof routeTypes)[keyof typeof routeTypes];
  readonly vn: number;
  readonly routeDistinguisher: string;
  readonly nextHop: string;
  readonly mac?: string;
  readonly ip?: string;
  /** Of type 5. */
  readonly prefix?: string;
  readonly routeTargets: readonly string[];
  /** Of the MAC mobility community (RFC 7432, 7.7); 0 where it never moved. */
  readonly sequence: number;
  /** The server that sent it to the route server. */
  readonly from: string;
}

interface GobgpPath {
  readonly nlri: {
    readonly type: number;
    readonly value: {
      readonly rd: { readonly admin: string; readonly assigned: number };
      readonly mac?: string;
      readonly ip?: string;
      readonly labels?: readonly number[];
      readonly prefix?: string;
      readonly prefix_len?: number;
    };
  };
  readonly attrs: readonly {
    readonly type: number;
    readonly nexthop?: string;
    readonly value?: unknown;
    readonly label?: number;
    readonly mpls_label?: number;
  }[];
  readonly "neighbor-ip"?: string;
}

const attributeTypes = { mpReach: 14, extendedCommunities: 16, pmsiTunnel: 22 } as const;

function routeOf(path: GobgpPath): EvpnRoute[] {
  const type = (routeTypes as Readonly<Record<number, EvpnRoute["type"]>>)[path.nlri.type];
  if (type === undefined) return [];
  const { rd, mac, ip, labels, prefix } = path.nlri.value;
  const attribute = (number: number): GobgpPath["attrs"][number] | undefined => path.attrs.find((a) => a.type === number);
  const communities = (attribute(attributeTypes.extendedCommunities)?.value ?? []) as {
    type: number;
    subtype: number;
    value?: string;
    sequence?: number;
  }[];
  const targets = communities.filter((c) => c.subtype === 2 && typeof c.value === "string").map((c) => c.value ?? "");
  return [
    {
      type,
      vn: labels?.[0] ?? Number(targets[0]?.split(":")[1] ?? 0),
      routeDistinguisher: `${rd.admin}:${rd.assigned}`,
      nextHop: attribute(attributeTypes.mpReach)?.nexthop ?? "",
      ...(type === "macadv" && mac !== undefined ? { mac } : {}),
      ...(prefix !== undefined ? { prefix } : {}),
      ...(ip !== undefined && ip !== "<nil>" ? { ip } : {}),
      routeTargets: targets,
      sequence: communities.find((c) => c.type === 6 && c.subtype === 0)?.sequence ?? 0,
      from: path["neighbor-ip"] ?? "",
    },
  ];
}

/** What `gobgp global rib -a evpn -j` prints; nothing where there is nothing, or no answer. */
export function readRoutes(output: string): EvpnRoute[] {
  const text = output.trim();
  if (!text.startsWith("{")) return [];
  const table = JSON.parse(text) as Readonly<Record<string, readonly GobgpPath[]>>;
  return Object.keys(table)
    .sort()
    .flatMap((key) => (table[key] ?? []).flatMap(routeOf));
}

export interface VnRoutes {
  readonly vn: number;
  readonly network: string;
  readonly macIp: number;
  readonly multicast: number;
  readonly prefixes: number;
  /** Those that it has members or tunnel ends on. */
  readonly servers: readonly string[];
}

export function routesByVn(declaration: Declaration, routes: readonly EvpnRoute[]): VnRoutes[] {
  const networks = evpnNetworks(declaration);
  const serverOf = new Map(declaration.servers.map((server) => [vtepOf(server), server.name]));
  const names = new Map([
    ...networks.map(({ vn, name }) => [vn, name] as const),
    ...[...routerVns(declaration)].map(([tenant, vn]) => [vn, `(routers of ${tenant})`] as const),
  ]);
  const vns = [...new Set([...names.keys(), ...routes.map((route) => route.vn)])].sort((a, b) => a - b);
  return vns.map((vn) => {
    const own = routes.filter((route) => route.vn === vn);
    return {
      vn,
      network: names.get(vn) ?? "(not declared)",
      macIp: own.filter((route) => route.type === "macadv").length,
      multicast: own.filter((route) => route.type === "multicast").length,
      prefixes: own.filter((route) => route.type === "prefix").length,
      servers: [...new Set(own.map((route) => serverOf.get(route.nextHop) ?? route.nextHop))].sort(),
    };
  });
}
