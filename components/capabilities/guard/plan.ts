/** A server's guard: what the networks on it need opened. Pure. */
import { type Declaration, isGuarded, isRouter, type ServerDeclaration } from "../../config/declaration";
import type { AttachHook } from "../../host/contract/types.gen";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import type { Member, NetworkContext } from "../../kinds/contexts";
import { kindOf } from "../../kinds/registry";
import type { Requirement } from "../../kinds/requirement";
import type { Tap } from "../../kinds/tap";
import { formatPrefix, hostPrefix, overlaps, parseAddress, parseInterfaceAddress, type Prefix } from "../../net/cidr";

/** Prefixes of all networks on all servers, and the servers' own addresses; none that holds another. */
function insidePrefixes({ testbed, servers }: Declaration): string[] {
  const ofNetworks = testbed.networks.flatMap((network) =>
    servers.flatMap(({ name }): Prefix[] => Object.values(kindOf(network).prefixes(network, name))),
  );
  const ofServers = servers.flatMap(({ address, underlay }) => {
    const own = parseAddress(address);
    const links = [underlay.ipv4, underlay.ipv6].flatMap((text) => parseInterfaceAddress(text ?? "")?.prefix ?? []);
    return [...links, ...(own === undefined ? [] : [hostPrefix(own)])];
  });
  const all = [...ofNetworks, ...ofServers];
  const holds = (a: Prefix, b: Prefix): boolean => a.length < b.length && overlaps(a, b);
  return [...new Set(all.filter((prefix) => !all.some((other) => holds(other, prefix))).map(formatPrefix))].sort();
}

/** Where all is open, and one tenant's, there is nothing to guard, and nothing for a baseline to meet. */
const needsGuard = (declaration: Declaration): boolean => {
  const { networks } = declaration.testbed;
  const tenants = new Set(networks.map(({ tenant }) => tenant));
  return isGuarded(declaration) && (tenants.size > 1 || networks.some((network) => kindOf(network).isOpen !== true));
};

/**
 * What a system may send at its port: from its own MAC and addresses, unless it forwards for others; and without VLAN tags where a
 * filter looks into its packets.
 */
export function portHooks(context: NetworkContext, member: Member, tap: Tap): AttachHook[] {
  const { declaration, network } = context;
  const kind = kindOf(network);
  if (!needsGuard(declaration) || tap.by !== "port" || kind.isOpen === true || kind.guardsPorts === true) return [];
  const anySource = isRouter(declaration, member.system);
  const untagged = kind.guard?.(context).untagged === true;
  if (anySource && !untagged) return [];
  return [{ type: "guard", args: { anySource, untagged }, wanted: { guard: "on" } }];
}

const addressOf = (text: string | undefined): string[] => (text === undefined || text === "" ? [] : [text.split("/")[0] ?? ""]);

export function guardObjects(
  declaration: Declaration,
  server: ServerDeclaration,
  contexts: ReadonlyMap<string, NetworkContext>,
): HostObject[] {
  if (!needsGuard(declaration)) return [];
  const parts = [...contexts.values()].map((context) => kindOf(context.network).guard?.(context) ?? { guarded: [] });
  // What networks of a kind share is told by each.
  const guarded = new Map(parts.flatMap((part) => part.guarded).map((one) => [[...one.devices].sort().join(" "), one]));
  const others = declaration.servers.filter(({ name }) => name !== server.name);
  const addresses = ({ underlay }: ServerDeclaration): string[] => [...addressOf(underlay.ipv4), ...addressOf(underlay.ipv6)];
  return [
    declare(objectTypes.guard, "guard", {
      guarded: [...guarded].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one),
      untagged: [...new Set(parts.flatMap(({ untagged, wires = [] }) => (untagged === true ? wires : [])))].sort(),
      tunnels: {
        // Of all servers: what is open here must not forge what is taken there.
        ports: [...new Set(declaration.testbed.networks.flatMap((network) => kindOf(network).tunnelPorts?.(network) ?? []))].sort(
          (a, b) => a - b,
        ),
        to: addresses(server),
        from: others.flatMap(addresses).sort(),
      },
      uplink: server.uplink,
      inside: insidePrefixes(declaration),
    }) as HostObject,
  ];
}

export function guardRequirements(declaration: Declaration): Requirement[] {
  if (!needsGuard(declaration)) return [];
  return [
    { tool: "nft", why: "tuning.guard, which is on by default (package nftables)" },
    ...["CONFIG_NF_TABLES_INET", "CONFIG_NF_TABLES_ARP", "CONFIG_NF_TABLES_BRIDGE"].map((kernelOption) => ({
      kernelOption,
      why: "tuning.guard, which is on by default",
    })),
  ];
}
