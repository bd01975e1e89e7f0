/** A server's own settings, whatever sits on it: sysctls, NICs and their offloads, underlay addresses, impairments. Pure. */
import { type Declaration, linkDevice, linkMtuBytes, type ServerDeclaration } from "../config/declaration";
import type { Offloads } from "../config/types.gen";
import { declare, type HostObject } from "../host/objectType";
import { objectTypes } from "../host/objects";
import { kindOf } from "../kinds/registry";
import type { Requirement } from "../kinds/requirement";

const { addresses, impairment, neighbours, nic, offloads, programs, services, sysctls } = objectTypes;

/** The reports' settings: physical TSO off, the rest on. */
const uplinkOffloadDefaults: Offloads = { tso: false, gso: true, gro: true, txChecksum: true, rxChecksum: true };

export const congestionControl = (declaration: Declaration): string => declaration.testbed.tuning?.congestionControl ?? "reno";

export function serverSysctls(declaration: Declaration): Record<string, string> {
  const own = declaration.testbed.tuning?.sysctls ?? {};
  const routed = declaration.testbed.networks.filter((n) => kindOf(n).routesOnServer);
  const ipv6 = routed.some((n) => declaration.servers.some((s) => kindOf(n).prefixes(n, s.name).ipv6));
  return {
    "net.ipv4.ip_forward": "1",
    ...(ipv6 ? { "net.ipv6.conf.all.forwarding": "1" } : {}),
    "net.ipv4.tcp_congestion_control": congestionControl(declaration),
    ...Object.fromEntries(Object.entries(own).map(([key, value]) => [key, String(value)])),
  };
}

/** What the kinds want of a server's kernel; what the testbed declares itself comes before. */
function kindSysctls(declaration: Declaration, server: ServerDeclaration): Record<string, string> {
  const joined = declaration.testbed.networks.filter((n) => kindOf(n).servers(declaration, n).includes(server));
  const wanted = Object.assign({}, ...joined.map((n) => kindOf(n).sysctls)) as Record<string, string>;
  const declared = serverSysctls(declaration);
  return Object.fromEntries(Object.entries(wanted).filter(([key]) => !(key in declared)));
}

export function serverSettings(declaration: Declaration, server: ServerDeclaration): HostObject[] {
  const { testbed } = declaration;
  const links = testbed.links.filter((link) => link.between.includes(server.name));
  const own = [server.underlay.ipv4, server.underlay.ipv6].filter((text): text is string => text !== undefined && text !== "");
  const peers = declaration.servers.filter(
    (peer) =>
      peer.name !== server.name && links.some((link) => link.between.includes(peer.name) && linkDevice(link, server) === server.uplink),
  );
  const known = peers.flatMap((peer) => {
    const mac = peer.underlay.mac;
    if (mac === undefined) return [];
    return [peer.underlay.ipv4, peer.underlay.ipv6].flatMap((text) =>
      text === undefined ? [] : [{ address: text.split("/")[0] ?? "", mac }],
    );
  });
  const ofKinds = kindSysctls(declaration, server);
  const objects: unknown[] = [
    declare(programs, "programs", {}),
    declare(services, "services", { stopped: testbed.tuning?.stopServices ?? ["irqbalance", "NetworkManager"] }),
    declare(sysctls, "sysctls", {
      values: serverSysctls(declaration),
      ...(Object.keys(ofKinds).length > 0 && { whereKnown: ofKinds }),
    }),
    ...links.flatMap((link) => {
      const device = linkDevice(link, server);
      return [
        declare(nic, `nic-${device}`, { device, mtuBytes: linkMtuBytes(link) }),
        declare(offloads, `offloads-${device}`, { device, features: { ...uplinkOffloadDefaults, ...testbed.tuning?.uplinkOffloads } }),
        ...(link.impairment === undefined ? [] : [declare(impairment, `impairment-${device}`, { device, ...link.impairment })]),
      ];
    }),
    declare(addresses, `addresses-${server.uplink}`, { device: server.uplink, addresses: own }),
    ...(known.length > 0 ? [declare(neighbours, `neighbours-${server.uplink}`, { device: server.uplink, entries: known })] : []),
  ];
  return objects as HostObject[];
}

export function impairmentRequirements(declaration: Declaration, server: ServerDeclaration): Requirement[] {
  const own = declaration.testbed.links.filter((link) => link.between.includes(server.name));
  return own.flatMap(({ between, impairment: worse = {} }): Requirement[] => {
    const of = (key: string): string => `links.${between.join("-")}.impairment.${key}`;
    return [
      ...(["delayMs", "jitterMs"] as const).flatMap((key) =>
        worse[key] === undefined ? [] : [{ kernelOption: "CONFIG_NET_SCH_NETEM", why: of(key) }],
      ),
      ...(worse.rateMbit === undefined ? [] : [{ kernelOption: "CONFIG_NET_SCH_TBF", why: of("rateMbit") }]),
      ...(worse.lossPercent === undefined ? [] : [{ kernelOption: "CONFIG_NET_CLS_BPF", why: of("lossPercent") }]),
      ...(Object.keys(worse).length === 0 ? [] : [{ tool: "tc", why: "links' impairments (package iproute2)" }]),
    ];
  });
}
