/** What a macvlan network must not be declared as. */
import { type Declaration, linkDevice, type ServerDeclaration, serversOf } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import type { MacvlanNetwork } from "../../config/types.gen";
import { contains, formatPrefix, isHostOf, overlaps, parseAddress, parseInterfaceAddress, parsePrefix, type Prefix } from "../../net/cidr";
import { checkUplinksJoined, subnetForm } from "../checks";
import type { KindRuleContext } from "../kind";
import { driverOf, modeOf, parentOf } from "./parents";

type MacvlanRule = Rule<KindRuleContext<MacvlanNetwork>>;

const prefixesOf = ({ subnet, subnet6 }: MacvlanNetwork): Prefix[] => [subnet, subnet6].flatMap((text) => parsePrefix(text ?? "") ?? []);

const idRange: MacvlanRule = {
  id: "macvlan-id",
  check: ({ networks, declaration }, report) => {
    const most = { vlan: 4094, vxlan: 16777215 };
    for (const network of networks) {
      const parent = parentOf(network);
      if (parent.sort !== "vlan" && parent.sort !== "vxlan") continue;
      const path = `networks.${network.name}.parent`;
      if (parent.id > most[parent.sort])
        report(path, `${parent.sort} ${parent.id} is over ${most[parent.sort]}`, "choose a smaller number");
      const evpn = declaration.testbed.networks.find((other) => other.kind === "evpn" && other.vn === parent.id);
      if (parent.sort === "vxlan" && evpn !== undefined)
        report(path, `${parent.id} is the VNID of ${evpn.name}`, "one VNID is one network: choose another");
    }
  },
};

/** The device of a server that a network's frames leave by, as they are or with a tag; none where they leave it in a tunnel or not at all. */
function wireOf(network: MacvlanNetwork, server: ServerDeclaration): string | undefined {
  const parent = parentOf(network);
  return parent.sort === "local" || parent.sort === "vxlan" ? undefined : parent.sort === "nic" ? parent.device : server.uplink;
}

/** Two networks with one number are one network, whatever servers they are on. */
const numberTwice: MacvlanRule = {
  id: "macvlan-number",
  check: ({ networks }, report) => {
    const users = new Map<string, string>();
    for (const { name, parent = "uplink" } of networks) {
      if (!parent.includes(" ")) continue;
      const other = users.get(parent);
      if (other !== undefined)
        report(`networks.${name}.parent`, `${parent} is already that of ${other}`, "one number is one network: choose another");
      users.set(parent, other ?? name);
    }
  },
};

/** What two networks on one device of a server would share: all their frames. */
const parentShared: MacvlanRule = {
  id: "macvlan-parent-shared",
  check: ({ networks, declaration }, report) => {
    const told = new Set<string>();
    // On every server that has both; once is enough.
    const sayOf = (network: MacvlanNetwork, what: string, fix: string): void => {
      const path = `networks.${network.name}.parent`;
      if (!told.has(`${path} ${what}`)) report(path, what, fix);
      told.add(`${path} ${what}`);
    };
    const check = (network: MacvlanNetwork, other: MacvlanNetwork): void => {
      const { parent: wire = "uplink" } = other;
      const tagged = [network, other].filter((one) => parentOf(one).sort === "vlan").length;
      const say = (what: string, fix: string): void => sayOf(network, what, fix);
      if (tagged === 2) return;
      if (other.tenant !== network.tenant)
        say(
          `${wire} is already that of ${other.name}, of tenant ${other.tenant}, and nothing keeps frames apart on one device${tagged === 1 ? ", nor who tags them" : ""}`,
          tagged === 1 ? "use vlan N or vxlan N for both, or another NIC" : "use vxlan N or vlan N, or another NIC",
        );
      else if (tagged === 1) return;
      else if (driverOf(other) !== driverOf(network))
        say(`${wire} has the ${driverOf(other)} interfaces of ${other.name}`, "a device takes one driver: use the same");
      else if (modeOf(other) === "passthru" || modeOf(network) === "passthru")
        say(`${wire} is already that of ${other.name}`, "mode passthru has its parent for itself: use another");
    };
    for (const server of declaration.servers) {
      const here = networks.filter((network) => serversOf(declaration, network).includes(server));
      for (const [i, network] of here.entries()) {
        const wire = wireOf(network, server);
        if (wire === undefined) continue;
        for (const other of here.slice(0, i)) if (wireOf(other, server) === wire) check(network, other);
        const port = declaration.testbed.networks.find((one) => one.kind === "bridge" && one.port !== undefined && one.port === wire);
        if (port !== undefined && serversOf(declaration, port).includes(server))
          sayOf(network, `${wire} is the port of ${port.name}`, "a device has one user: use another NIC");
      }
    }
  },
};

const parentPlace: MacvlanRule = {
  id: "macvlan-parent",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      const servers = serversOf(declaration, network);
      const parent = parentOf(network);
      const path = `networks.${network.name}.parent`;
      const names = servers.map(({ name }) => name);
      if (parent.sort === "local" && servers.length > 1)
        report(path, `local is of one server, and systems sit on ${names.join(" and ")}`, "use vxlan N, or put them on one server");
      if (parent.sort === "nic") {
        for (const server of servers) {
          if (server.uplink === parent.device) report(path, `${parent.device} is the uplink of ${server.name}`, "write uplink");
          else if (!declaration.testbed.links.some((l) => l.between.includes(server.name) && linkDevice(l, server) === parent.device))
            report(
              path,
              `${parent.device} of ${server.name} is on no link`,
              `declare one: links: [{ between: [...], interfaces: { ${server.name}: ${parent.device} } }]`,
            );
        }
      } else if (parent.sort !== "local" && servers.length > 1) {
        checkUplinksJoined(report, declaration, network.name, servers, parent.sort === "uplink" ? "one segment" : "carried");
      }
    }
  },
};

const mode: MacvlanRule = {
  id: "macvlan-mode",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      if (modeOf(network) !== "passthru") continue;
      const path = `networks.${network.name}.mode`;
      if (driverOf(network) === "ipvlan") report(path, "driver ipvlan has no passthru", "use bridge, private or vepa");
      if (parentOf(network).sort === "uplink")
        report(path, "passthru would take the uplink from its server", "name the NIC of another link as parent, or use vxlan N");
      if (network.serverAddresses !== undefined)
        report(`networks.${network.name}.serverAddresses`, "mode passthru leaves the parent to one system", "leave them out");
      for (const server of serversOf(declaration, network)) {
        const here = declaration.testbed.systems.filter((s) => s.server === server.name && s.networks.some((n) => n.name === network.name));
        if (here.length > 1)
          report(
            path,
            `passthru has one system a server, and ${here.map(({ name }) => name).join(" and ")} sit on ${server.name}`,
            "use bridge",
          );
      }
    }
  },
};

const noMac: MacvlanRule = {
  id: "macvlan-mac",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      if (driverOf(network) !== "ipvlan" && modeOf(network) !== "passthru") continue;
      const why = driverOf(network) === "ipvlan" ? "driver ipvlan" : "mode passthru";
      for (const system of declaration.testbed.systems)
        for (const membership of system.networks)
          if (membership.name === network.name && membership.mac !== undefined)
            report(`systems.${system.name}.networks.${network.name}.mac`, `${why} gives systems the parent's MAC`, "leave it out");
    }
  },
};

const gateway: MacvlanRule = {
  id: "macvlan-gateway",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      const { name, gateway: named } = network;
      if (named === undefined) continue;
      const path = `networks.${name}.gateway`;
      // Whose MAC is everybody's is not asked to pass a packet on: what is for none of the addresses goes to the server.
      if (driverOf(network) === "ipvlan")
        report(path, "no system of driver ipvlan can be a next hop: all have one MAC", "use driver: macvlan");
      const system = declaration.testbed.systems.find((one) => one.name === named);
      if (system === undefined) report(path, `there is no system "${named}"`, "name a system of the network");
      else if (!system.networks.some((membership) => membership.name === name))
        report(path, `${named} is not in the network`, `add { name: ${name} } to its networks`);
      else if (system.router !== true) report(path, `${named} forwards nothing`, `write router: true in systems.${named}`);
    }
  },
};

function checkServerAddress(
  network: MacvlanNetwork,
  declaration: Declaration,
  server: string,
  text: string,
  say: (what: string, fix: string) => void,
): void {
  const { name } = network;
  const prefixes = prefixesOf(network);
  const address = parseAddress(text);
  const taken = declaration.testbed.systems.find((s) =>
    s.networks.some((n) => n.name === name && (n.address === text || n.address6 === text)),
  );
  if (!declaration.servers.some((one) => one.name === server)) say("there is no such server", "name another");
  else if (!serversOf(declaration, network).some((one) => one.name === server))
    say("has no system of the network", "leave it out, or put a system there");
  else if (address === undefined) say(`"${text}" is no address`, "write one without prefix length");
  else if (!prefixes.some((prefix) => contains(prefix, address) && isHostOf(prefix, address)))
    say(
      `${text} is no host of ${prefixes.map(formatPrefix).join(" or ") || "a prefix, since the network has none"}`,
      "choose one of the network",
    );
  else if (taken !== undefined) say(`${text} is already that of ${taken.name}`, "choose another");
}

const serverAddresses: MacvlanRule = {
  id: "macvlan-server-address",
  check: ({ networks, declaration }, report) => {
    for (const network of networks) {
      for (const [server, text = ""] of Object.entries(network.serverAddresses ?? {}))
        checkServerAddress(network, declaration, server, text, (what, fix) =>
          report(`networks.${network.name}.serverAddresses.${server}`, what, fix),
        );
      if (network.serverAddresses === undefined) continue;
      // The server itself has a route to the prefix then.
      for (const prefix of prefixesOf(network)) {
        for (const { name, underlay } of declaration.servers) {
          const own = [underlay.ipv4, underlay.ipv6].flatMap((text) => parseInterfaceAddress(text ?? "")?.prefix ?? []);
          const clash = own.find((other) => overlaps(prefix, other));
          if (clash !== undefined)
            report(
              `networks.${network.name}.serverAddresses`,
              `${formatPrefix(prefix)} overlaps the underlay of ${name} (${formatPrefix(clash)})`,
              "give the network another prefix",
            );
        }
      }
    }
  },
};

export const macvlanRules: readonly MacvlanRule[] = [
  subnetForm<MacvlanNetwork>("macvlan-prefix-form"),
  idRange,
  numberTwice,
  parentShared,
  parentPlace,
  mode,
  noMac,
  gateway,
  serverAddresses,
];
