/** Sites joined by IPsec: gateways are systems with strongSwan, and tunnels lead between them. */
import { formatAddress } from "../../net/cidr";
import type { Capability, StartedWay, Way } from "../capability";
import { vpnGateway } from "./objects/gateway";
import { vpnTunnels } from "./objects/tunnels";
import { gatewayOf, kernelRequirements, serverAddition, vpnObservations, vpnRequirements, vpnSecrets } from "./plan";
import { vpnRules } from "./rules";
import {
  type Carried,
  carriedBy,
  endsOf,
  familiesOf,
  gatewaysOf,
  hostTunnels,
  insideOf,
  isGateway,
  modeOf,
  speakerOf,
  tunnelsOf,
} from "./tunnels";
import { espFilter, isEsp } from "./wire";

/** Through each tunnel: between systems behind the gateways where there are some. */
const ways: Capability["ways"] = (declaration): Way[] =>
  tunnelsOf(declaration)
    .flatMap((tunnel) => carriedBy(declaration, tunnel))
    .map(({ name, family, ends: [one, other] }) => ({
      name: `tunnel ${name}`,
      family,
      ends: [speakerOf(declaration, one), speakerOf(declaration, other)],
    }));

/** What each site starts: one tunnel a site. */
const started: Capability["started"] = (declaration): StartedWay[] => {
  const first = new Map<string, Carried>();
  for (const tunnel of tunnelsOf(declaration).filter((one) => modeOf(one) === "site-to-site"))
    for (const carried of carriedBy(declaration, tunnel))
      if (!first.has(carried.ends[0].gateway)) first.set(carried.ends[0].gateway, carried);
  return [...first.values()].flatMap(({ name, family, ends: [end, other] }) => {
    const [from, to] = [end, other].map((one) => insideOf(declaration, one)?.addresses[family]);
    // Without an address inside its site a gateway has nothing to ask from.
    if (from === undefined || to === undefined) return [];
    const ends = { from: formatAddress(from), to: formatAddress(to) };
    return [{ name, system: end.gateway, peer: other.gateway, ...ends, network: end.outside.network }];
  });
};

/** Tunnels that lead somewhere, between their gateways. */
const edges: Capability["edges"] = (declaration) =>
  tunnelsOf(declaration).flatMap((tunnel) => {
    const ends = endsOf(declaration, tunnel);
    if (ends === undefined) return [];
    const carried = familiesOf(tunnel, ends).map((family) => (family === "ipv4" ? "IPv4" : "IPv6"));
    const [first, second] = ends;
    const text = `${tunnel.name}: IPsec ${modeOf(tunnel)}, ${carried.join(" and ")}, ${first.gateway} to ${second.gateway}`;
    return [{ ends: [first.gateway, second.gateway] as const, text }];
  });

export const vpnCapability: Capability = {
  name: "vpn",
  rules: vpnRules,
  secrets: vpnSecrets,
  server: serverAddition,
  system: gatewayOf,
  observations: vpnObservations,
  ways,
  apart: hostTunnels,
  started,
  edges,
  conceals: (declaration) =>
    tunnelsOf(declaration).length === 0
      ? []
      : [{ filter: espFilter, isCarrier: isEsp, gateways: gatewaysOf(declaration).map(({ name }) => name) }],
  // Two gateways of one name and MAC would each get answers to what the other asked.
  standsAlone: isGateway,
  abilities: [
    { name: "tunnels (IPsec)", requires: vpnRequirements, cost: "refused" },
    {
      name: "tunnels by the kernel's ESP",
      requires: kernelRequirements,
      cost: "strongSwan carries ESP itself: a stream of some 300 Mb/s",
    },
  ],
  objectTypes: { vpnGateway, vpnTunnels },
};
