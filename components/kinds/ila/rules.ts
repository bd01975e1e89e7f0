/** What an ILA network must not be declared as. */
import { findServer, firstHub, isLabOff, type ServerDeclaration, serversOf } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { IlaNetwork } from "../../config/types.gen";
import { contains, formatAddress, formatPrefix, overlaps, parseAddress, parsePrefix } from "../../net/cidr";
import { identifierOf, isHalf, luid, networkPrefix, survivesNeutral } from "../../net/ila";
import { checkUplinksJoined } from "../checks";
import type { KindRuleContext } from "../kind";
import { backendOn, checksumOf, isTranslated } from "./backends";

type IlaRule = Rule<KindRuleContext<IlaNetwork>>;

const halfOf = (text: string) => {
  const prefix = parsePrefix(text);
  return prefix !== undefined && isHalf(prefix) ? prefix : undefined;
};

const sirForm: IlaRule = {
  id: "ila-sir-form",
  check: ({ networks }, report) => {
    for (const { name, sir } of networks)
      if (halfOf(sir) === undefined) report(`networks.${name}.sir`, `"${sir}" is no IPv6 /64`, 'write one like "face:b00c:0:7::/64"');
  },
};

/** VNID and SIR prefix say the same thing; a packet between servers holds the one, a system sees the other. */
const oneToOne: IlaRule = {
  id: "ila-vn-sir",
  check: ({ networks }, report) => {
    for (const [i, network] of networks.entries()) {
      const whose = (other: IlaNetwork): string =>
        other.tenant === network.tenant ? `${other.name} of the same tenant` : `${other.name} of tenant ${other.tenant}`;
      for (const other of networks.slice(0, i)) {
        const [own, there] = [halfOf(network.sir), halfOf(other.sir)];
        if (network.vn === other.vn)
          report(
            `networks.${network.name}.vn`,
            `${network.vn} is the VNID of ${whose(other)}`,
            "one VNID goes with one SIR prefix: choose another",
          );
        if (own !== undefined && there !== undefined && own.network === there.network)
          report(
            `networks.${network.name}.sir`,
            `${formatPrefix(own)} is the SIR prefix of ${whose(other)}`,
            "one SIR prefix goes with one VNID: choose another",
          );
      }
    }
  },
};

const stackFile = (server: ServerDeclaration, key: string): string => `Pulumi.${server.name}.yaml: flipflap:server.${key}`;
const locators: IlaRule = {
  id: "ila-locator",
  check: ({ networks, declaration }, report) => {
    const needed = new Set(networks.flatMap((network) => serversOf(declaration, network)));
    const users = new Map<bigint, string>();
    for (const server of declaration.servers) {
      if (isLabOff(server) || (!needed.has(server) && server.locator === undefined)) continue;
      if (server.underlay.ipv6 === undefined && needed.has(server))
        report(stackFile(server, "underlay.ipv6"), "is missing: kind ila goes over IPv6", 'write one like "fd00:1::1/64"');
      if (server.locator === undefined) {
        report(stackFile(server, "locator"), "is missing: kind ila needs one of every server", 'write a /64 like "2001:db8:a:1::/64"');
        continue;
      }
      const locator = halfOf(server.locator);
      if (locator === undefined) {
        if (networks.length > 0)
          report(stackFile(server, "locator"), `"${server.locator}" is no IPv6 /64`, 'write one like "2001:db8:a:1::/64"');
        continue;
      }
      const other = users.get(locator.network);
      if (other !== undefined && networks.length > 0)
        report(stackFile(server, "locator"), `${formatPrefix(locator)} is also that of ${other}`, "give each server its own");
      users.set(locator.network, server.name);
      for (const network of networks) {
        const sir = halfOf(network.sir);
        if (sir !== undefined && overlaps(sir, locator))
          report(`networks.${network.name}.sir`, `${formatPrefix(sir)} is the locator of ${server.name}`, "choose another SIR prefix");
      }
    }
  },
};

const hub: IlaRule = {
  id: "ila-hub",
  check: ({ networks, declaration }, report) => {
    if (networks.length > 0 && firstHub(declaration) === undefined)
      report("flipflap:hub", "no stack file says hub: true, and kind ila needs etcd", "say so in one of them");
  },
};

const joined: IlaRule = {
  id: "ila-link-uplink",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) checkUplinksJoined(report, declaration, network.name, serversOf(declaration, network), "routed");
  },
};

const identifiers: IlaRule = {
  id: "ila-identifier",
  check: ({ networks, declaration }, report) => {
    for (const system of declaration.testbed.systems) {
      for (const membership of system.networks) {
        const network = networks.find((one) => one.name === membership.name);
        const address = parseAddress(membership.address6 ?? "");
        const sir = halfOf(network?.sir ?? "");
        if (network === undefined || sir === undefined || address === undefined || !contains(sir, address)) continue;
        const path = `systems.${system.name}.networks.${network.name}.address6`;
        const { type, checksumNeutral, vnid } = identifierOf(address);
        const example = formatAddress({ family: 6, value: networkPrefix(sir, network.vn).network + 1n });
        const fix = `write one like ${example}`;
        if (type !== luid) report(path, `the identifier's type is ${type}; systems have ${luid} (locally unique)`, fix);
        if (checksumNeutral) report(path, "the identifier has the C bit, which is only for packets between servers", fix);
        if (vnid !== network.vn) report(path, `the identifier's VNID is ${vnid}, the network's is ${network.vn}`, fix);
        if (checksumOf(network).startsWith("neutral") && !survivesNeutral(address))
          report(path, `in csum ${checksumOf(network)} the low 16 bits of an identifier are neither 0 nor ffff`, fix);
      }
    }
  },
};

const backends: IlaRule = {
  id: "ila-backends",
  check: ({ networks, declaration }, report) => {
    const byKernel = networks.filter(isTranslated);
    for (const network of networks) {
      const { name } = network;
      for (const server of Object.keys(network.backends ?? {}))
        if (findServer(declaration, server) === undefined)
          report(
            `networks.${name}.backends.${server}`,
            `there is no server "${server}"`,
            `name one of ${declaration.servers.map((s) => s.name).join(", ")}`,
          );
      if (!isTranslated(network)) continue;
      const servers = serversOf(declaration, network).map((server) => server.name);
      const used = new Set([...servers, ...Object.keys(network.backends ?? {})].map((server) => backendOn(network, server)));
      if (checksumOf(network) === "adjust-transport" && used.size > 1)
        report(
          `networks.${name}.backends`,
          "the kernel's adjust-transport (6.1) changes checksums by twice the difference, which only another such kernel undoes; eBPF changes them by what is right",
          "choose one backend, or another csum",
        );
      if (checksumOf(network) !== "neutral") continue;
      for (const server of servers.filter((one) => backendOn(network, one) === "kernel")) {
        const others = byKernel.filter(
          (other) =>
            other !== network && backendOn(other, server) === "kernel" && serversOf(declaration, other).some((s) => s.name === server),
        );
        if (others.length > 0)
          report(
            `networks.${name}.csum`,
            `in csum neutral the kernel translates all that comes to the locator of ${server}, also what is for ${others.map((o) => o.name).join(", ")}`,
            "use neutral-auto, or backend ebpf",
          );
      }
    }
  },
};

export const ilaRules: readonly IlaRule[] = [sirForm, oneToOne, locators, hub, joined, identifiers, backends];
