/**
 * An address that belongs to a service on a server and to no device: a route in the table of local addresses. The server
 * answers for it on its links. A routing daemon on the same server does not take it for its own (FRR refuses to peer with
 * those), and finds it by the second route, in the main table, also while no link has a carrier.
 */
import { jsonList, sections } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { routeProtocol } from "./route";

export interface ServiceAddressSpec {
  /** IPv4. */
  readonly address: string;
}

const tables = ["local", "main"] as const;

const route = (address: string, table: string): string[] => [`${address}/32`, "dev", "lo", "table", table, "proto", String(routeProtocol)];

export const serviceAddress: ObjectType<ServiceAddressSpec> = {
  type: "serviceAddress",
  identity: (spec) => [spec.address],
  ensure: ({ address }) => sh`
    taken=$(ip -4 -o addr show to ${`${address}/32`})
    [ -z "$taken" ] || fail ${address}": this server has it on a device already ($taken); give the route server another"
    ip route replace local ${route(address, "local")}
    ip route replace ${route(address, "main")}
  `,
  remove: ({ address }) => sh`
    if [ -n "$(ip route show exact ${route(address, "main")})" ]; then ip route del ${route(address, "main")}; fi
    if [ -n "$(ip route show exact ${route(address, "local")})" ]; then ip route del local ${route(address, "local")}; fi
  `,
  check: ({ address }) =>
    sh`${tables.flatMap((table) => [sh`echo ${`=== ${table}`}`, sh`ip -j route show exact ${route(address, table)}`])}`,
  wanted: () => Object.fromEntries(tables.map((table) => [table, true])),
  found: (output) => {
    const parts = sections(output);
    const found = Object.fromEntries(tables.map((table) => [table, jsonList(parts.get(table)).length > 0]));
    return Object.values(found).some(Boolean) ? found : undefined;
  },
};
