/** What sites and tunnels must not be declared as. */
import { type Declaration, findNetwork, firstHub } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { Tunnel } from "../../config/types.gen";
import { oneOf } from "../../config/validate";
import { interfaceName } from "../../kinds/members";
import { hasNamespaces, kindOf } from "../../kinds/registry";
import { formatPrefix, overlaps, parsePrefix } from "../../net/cidr";
import { guardTable, tunnelDevice } from "./guard";
import { vpnSecrets } from "./plan";
import {
  connectionsOf,
  endsOf,
  familiesOf,
  gatewaysOf,
  modeOf,
  outsideOf,
  prefixesOf,
  sitePrefixes,
  sitesOf,
  type TunnelEnd,
  tunnelsOf,
} from "./tunnels";

type VpnRule = Rule<Declaration>;

const site: VpnRule = {
  id: "site",
  check: (declaration, report) => {
    const { systems, networks } = declaration.testbed;
    for (const own of sitesOf(declaration)) {
      const { name, gateway, inside, prefixes } = own;
      const path = `sites.${name}`;
      const system = systems.find((one) => one.name === gateway);
      if (system === undefined)
        report(
          `${path}.gateway`,
          `there is no system "${gateway}"`,
          oneOf(
            gateway,
            systems.map((one) => one.name),
          ),
        );
      if (!networks.some((network) => network.name === inside))
        report(
          `${path}.inside`,
          `there is no network "${inside}"`,
          oneOf(
            inside,
            networks.map((network) => network.name),
          ),
        );
      else if (system !== undefined && !system.networks.some((own) => own.name === inside))
        report(`${path}.inside`, `${gateway} is not in ${inside}`, `add { name: ${inside} } to the networks of ${gateway}`);
      for (const text of prefixes ?? [])
        if (parsePrefix(text) === undefined) report(`${path}.prefixes`, `"${text}" is no prefix`, "write one like 10.1.0.0/16");
      if (prefixes === undefined && system !== undefined && sitePrefixes(declaration, own).length === 0)
        report(`${path}.inside`, `${inside} has no prefix, so tunnels have nothing to carry`, "give it one, or write prefixes");
    }
  },
};

/** By what a packet is for the gateways know which tunnel it belongs to. */
const siteOverlap: VpnRule = {
  id: "site-overlap",
  check: (declaration, report) => {
    const all = sitesOf(declaration);
    for (const [i, a] of all.entries()) {
      for (const b of all.slice(0, i)) {
        for (const own of sitePrefixes(declaration, a)) {
          const other = sitePrefixes(declaration, b).find((prefix) => overlaps(own, prefix));
          if (other !== undefined)
            report(
              `sites.${a.name}`,
              `${formatPrefix(own)} overlaps ${formatPrefix(other)} of site ${b.name}`,
              "give one of them other prefixes",
            );
        }
      }
    }
  },
};

const gateway: VpnRule = {
  id: "vpn-gateway",
  check: (declaration, report) => {
    for (const system of gatewaysOf(declaration)) {
      const path = `systems.${system.name}`;
      if (system.router !== true) report(`${path}.router`, "it is a gateway, and forwards nothing", "write router: true");
      const networks = system.networks.flatMap(({ name }) => findNetwork(declaration, name) ?? []);
      const odd = networks.find((network) => hasNamespaces(network) || kindOf(network).docker !== undefined);
      if (odd !== undefined) report(`${path}.networks.${odd.name}`, `a network of kind ${odd.kind} takes no gateways`, "use another kind");
      else if (outsideOf(declaration, system) === undefined)
        report(`${path}.networks`, "the gateway has no network but its site's inside", "add the network that it reaches others by");
      if (system.image !== undefined && system.image !== "strongswan" && !system.image.endsWith(".tar"))
        report(`${path}.image`, `${system.image} has no strongSwan`, "leave it out: a gateway's image is strongswan");
      if (system.command !== undefined) report(`${path}.command`, "a gateway runs strongSwan", "leave it out");
      for (const i of system.networks.keys())
        if (interfaceName(system, i) === tunnelDevice)
          report(`${path}.networks`, `${tunnelDevice} is what strongSwan may call its own`, "give the interface another name");
      if (declaration.nftables[system.nftables ?? ""]?.includes(guardTable) === true)
        report(`${path}.nftables`, `${system.nftables} names ${guardTable}, which keeps the gateway closed`, "give the table another name");
    }
  },
};

function checkEnds(declaration: Declaration, tunnel: Tunnel, say: (key: string, what: string, fix: string) => void): void {
  const sites = sitesOf(declaration).map(({ name }) => name);
  const systems = declaration.testbed.systems.map(({ name }) => name);
  const [known, word] = modeOf(tunnel) === "site-to-site" ? [sites, "site"] : [systems, "system"];
  for (const name of tunnel.between) {
    if (known.includes(name)) continue;
    const other = word === "site" ? systems : sites;
    if (other.includes(name))
      say(
        "between",
        `${name} is a ${word === "site" ? "system" : "site"}, and mode ${modeOf(tunnel)} joins ${word}s`,
        word === "site" ? "name its site, or write mode: host-to-host" : "name its gateway, or leave mode out",
      );
    else say("between", `there is no ${word} "${name}"`, oneOf(name, known));
  }
}

/** A prefix that is none has a fault of its own, and what follows from it is not worth saying. */
function hasBadPrefix(declaration: Declaration, ends: readonly TunnelEnd[]): boolean {
  const names = ends.flatMap((end) => [
    end.outside.network,
    ...sitesOf(declaration).flatMap(({ name, inside }) => (name === end.name ? [inside] : [])),
  ]);
  return names.some((name) => {
    const { subnet, subnet6 } = (findNetwork(declaration, name) ?? {}) as { subnet?: string; subnet6?: string };
    return [subnet, subnet6].some((text) => text !== undefined && parsePrefix(text) === undefined);
  });
}

const tunnel: VpnRule = {
  id: "tunnel",
  check: (declaration, report) => {
    for (const one of tunnelsOf(declaration)) {
      const say = (key: string, what: string, fix: string): void => report(`tunnels.${one.name}.${key}`, what, fix);
      checkEnds(declaration, one, say);
      const ends = endsOf(declaration, one);
      if (ends === undefined || hasBadPrefix(declaration, ends)) continue;
      const [first, second] = ends;
      if (first.gateway === second.gateway) {
        say("between", `both ends are ${first.gateway}`, "name two gateways");
        continue;
      }
      const outer = one.outer ?? "ipv4";
      for (const end of ends)
        if (end.outside.addresses[outer] === undefined)
          say(
            "outer",
            `${end.gateway} has no ${outer} address in ${end.outside.network}`,
            `give the network a ${outer === "ipv4" ? "subnet" : "subnet6"}, or choose the other family`,
          );
      for (const family of one.families ?? [])
        for (const end of ends)
          if (prefixesOf(end, family).length === 0)
            say("families", `${end.name} has no ${family} prefix`, `leave ${family} out, or give it one`);
      if (one.families === undefined && familiesOf(one, ends).length === 0)
        say("families", `${first.name} and ${second.name} have no family in common`, "give both prefixes of one");
    }
  },
};

/** A second one for the same packets would be chosen by chance. */
const tunnelTwice: VpnRule = {
  id: "tunnel-twice",
  check: (declaration, report) => {
    const users = new Map<string, string>();
    for (const connection of connectionsOf(declaration)) {
      for (const { tunnel: own, family, ends } of connection.carried) {
        const key = `${family} ${ends
          .map((end) => prefixesOf(end, family).map(formatPrefix).join(","))
          .sort()
          .join(" ")}`;
        const other = users.get(key);
        if (other !== undefined && other !== own.name)
          report(`tunnels.${own.name}`, `carries the ${family} packets of ${other}`, "leave one of them out");
        users.set(key, own.name);
      }
    }
  },
};

/** A tunnel of two families is two to strongSwan, each with a name made of its own. */
const tunnelName: VpnRule = {
  id: "tunnel-name",
  check: (declaration, report) => {
    const users = new Map<string, string>();
    for (const { tunnel: own, name } of connectionsOf(declaration).flatMap(({ carried }) => carried)) {
      const other = users.get(name);
      if (other !== undefined && other !== own.name)
        report(`tunnels.${own.name}`, `strongSwan would know both it and ${other} by the name ${name}`, "rename one of them");
      users.set(name, own.name);
    }
  },
};

/**
 * strongSwan's own words (5.9): ciphers, then integrity or the function that makes keys, then the group of the key exchange.
 * One that it does not know it says so in its log alone, and has no connection.
 */
const proposalWord =
  /^((aes|camellia)(128|192|256)?(ctr|(gcm|ccm)(8|12|16|64|96|128)?|gmac)?|3des|null|chacha20poly1305|(prf)?(md5|sha1|sha|sha2|sha(2_)?(256|384|512)|aesxcbc|aescmac)(_96|_128|_160)?|modp(768|1024|1536|2048|3072|4096|6144|8192|1024s160|2048s224|2048s256|null|none)|ecp(192|224|256|384|521)(bp)?|curve(25519|448)|x(25519|448)|noesn|esn)$/;

const proposals: VpnRule = {
  id: "vpn-proposal",
  check: (declaration, report) => {
    const check = (path: string, list: readonly string[]): void => {
      for (const proposal of list) {
        const odd = proposal.split("-").find((word) => !proposalWord.test(word));
        if (odd !== undefined)
          report(
            path,
            `"${odd}" of "${proposal}" is no word of strongSwan's`,
            'write one like "aes128gcm16-x25519" or "aes256-sha256-modp2048"',
          );
      }
    };
    check("vpn.ike", declaration.testbed.vpn?.ike ?? []);
    for (const { name, esp } of tunnelsOf(declaration)) check(`tunnels.${name}.esp`, esp ?? []);
  },
};

const hub: VpnRule = {
  id: "vpn-hub",
  check: (declaration, report) => {
    if (vpnSecrets(declaration).length > 0 && firstHub(declaration) === undefined)
      report(
        tunnelsOf(declaration).length > 0 ? "tunnels" : "sites",
        "secrets and certificates of gateways arise on the hub, and no server is it",
        "write flipflap:hub: true in one stack file",
      );
  },
};

export const vpnRules: readonly VpnRule[] = [site, siteOverlap, gateway, tunnel, tunnelTwice, tunnelName, proposals, hub];
