/** What an EVPN network must not be declared as. */
import { type Declaration, isLabOff, type ServerDeclaration } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { EvpnNetwork } from "../../config/types.gen";
import {
  contains,
  formatAddress,
  formatPrefix,
  isHostOf,
  overlaps,
  parseAddress,
  parseInterfaceAddress,
  parsePrefix,
} from "../../net/cidr";
import { checkUplinksJoined, subnetForm } from "../checks";
import { evpnServers, isRouted } from "./identifiers";
import type { KindRuleContext } from "../kind";

type EvpnRule = Rule<KindRuleContext<EvpnNetwork>>;

const vnTaken: EvpnRule = {
  id: "evpn-vn-taken",
  check: ({ networks }, report) => {
    const users = new Map<number, string>();
    for (const { name, vn } of networks) {
      const other = users.get(vn);
      if (other !== undefined)
        report(`networks.${name}.vn`, `${vn} is already the VNID of ${other}`, "one VNID is one network: choose another");
      users.set(vn, name);
    }
  },
};

const vtepFamily: EvpnRule = {
  id: "evpn-vtep",
  check: ({ networks }, report) => {
    for (const { name, vtep } of networks) {
      if (vtep === "ipv6")
        report(`networks.${name}.vtep`, "FRR 8.4 (Debian bookworm) has no IPv6 tunnel ends; FRR 10.6 is the first that has", "use ipv4");
    }
  },
};

const oneRouting: EvpnRule = {
  id: "evpn-irb-mixed",
  check: ({ networks }, report) => {
    const routed = networks.filter(isRouted);
    for (const { name, tenant, irb } of routed) {
      const first = routed.find((other) => other.tenant === tenant);
      if (first !== undefined && first.irb !== irb)
        report(
          `networks.${name}.irb`,
          `is ${irb ?? ""}, and ${first.name} of the same tenant is ${first.irb ?? ""}: one router has one way to reach the others`,
          "write the same in all of the tenant's networks",
        );
    }
  },
};

const routedPrefix: EvpnRule = {
  id: "evpn-irb-prefix",
  check: ({ networks }, report) => {
    const routed = networks.filter(isRouted);
    for (const [i, network] of routed.entries()) {
      const path = `networks.${network.name}`;
      if (network.subnet === undefined && network.subnet6 === undefined)
        report(`${path}.irb`, "there is no prefix to route", "give the network a subnet or subnet6, or leave irb out");
      for (const other of routed.slice(0, i)) {
        if (other.tenant !== network.tenant) continue;
        for (const key of ["subnet", "subnet6"] as const) {
          const [a, b] = [parsePrefix(network[key] ?? ""), parsePrefix(other[key] ?? "")];
          if (a !== undefined && b !== undefined && overlaps(a, b))
            report(
              `${path}.${key}`,
              `${formatPrefix(a)} overlaps ${formatPrefix(b)} of ${other.name}, and ${network.tenant}'s router routes both`,
              "give it another prefix, or leave irb out",
            );
        }
      }
    }
  },
};

const joined: EvpnRule = {
  id: "evpn-link-uplink",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) checkUplinksJoined(report, declaration, network.name, evpnServers(declaration, network), "tunnelled");
  },
};

function checkAddress(declaration: Declaration, hub: ServerDeclaration, report: Parameters<EvpnRule["check"]>[1]): void {
  const path = `Pulumi.${hub.name}.yaml: flipflap:server.underlay.routeServer`;
  const text = hub.underlay.routeServer;
  const underlay = parseInterfaceAddress(hub.underlay.ipv4)?.prefix;
  if (underlay === undefined) return;
  if (text === undefined) {
    const example = formatAddress({ family: 4, value: underlay.network + (1n << BigInt(32 - underlay.length)) - 2n });
    report(
      path,
      "is missing: the hub's route server needs an address of its own",
      `name a free one of ${formatPrefix(underlay)}, like ${example}`,
    );
    return;
  }
  const address = parseAddress(text);
  if (address?.family !== 4) report(path, `"${text}" is no IPv4 address`, "write one without prefix length");
  else if (!contains(underlay, address) || !isHostOf(underlay, address))
    report(path, `${text} is outside the underlay's ${formatPrefix(underlay)}`, "choose a free address inside");
  else {
    const users = declaration.servers.flatMap((server) => [
      { name: server.name, address: parseInterfaceAddress(server.underlay.ipv4)?.address },
      ...(server === hub ? [] : [{ name: `${server.name}'s route server`, address: parseAddress(server.underlay.routeServer ?? "") }]),
    ]);
    const user = users.find((other) => other.address?.value === address.value);
    if (user !== undefined) report(path, `${text} is already the address of ${user.name}`, "the route server needs one of its own");
  }
}

const routeServer: EvpnRule = {
  id: "evpn-route-server",
  check: ({ networks, declaration }, report) => {
    if (networks.length === 0) return;
    const hubs = declaration.servers.filter((server) => server.hub);
    if (hubs.length === 0)
      report("flipflap:hub", "no stack file says hub: true, and kind evpn needs a route server", "say so in one of them, or in two");
    for (const hub of hubs) if (!isLabOff(hub)) checkAddress(declaration, hub, report);
  },
};

export const evpnRules: readonly EvpnRule[] = [
  subnetForm<EvpnNetwork>("evpn-prefix-form"),
  vnTaken,
  vtepFamily,
  oneRouting,
  routedPrefix,
  joined,
  routeServer,
];
