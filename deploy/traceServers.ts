/** Servers' tracers, and what each is told. */
import { contractVersion, type TracePlan } from "../components/host/contract/types.gen";
import type { Declaration, ServerDeclaration } from "../components/config/declaration";
import { kindOf } from "../components/kinds/registry";
import { parseAddress } from "../components/net/cidr";

/** The connection by which a server tells of packets would tell of itself. A name is no address that a filter could have. */
const ownConnection = ({ address, port }: ServerDeclaration): string =>
  parseAddress(address) === undefined ? `tcp port ${port}` : `tcp port ${port} and host ${address}`;

export const tracePlan = (
  declaration: Declaration,
  server: ServerDeclaration,
  asked: Pick<TracePlan, "filter" | "points"> & Partial<Pick<TracePlan, "sampleOf" | "seconds" | "also" | "probe">>,
): TracePlan => ({
  contract: contractVersion,
  sampleOf: 1,
  seconds: 0,
  also: "",
  probe: { targets: [], identifier: 0 },
  exclude: ownConnection(server),
  redirects: declaration.testbed.networks.some((network) => kindOf(network).redirects?.(network) === true),
  ...asked,
});
