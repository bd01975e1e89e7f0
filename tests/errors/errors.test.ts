/** One bad declaration and one golden message each: the message is part of the contract. */
import { describe, expect, it } from "vitest";
import { capabilities } from "../../components/capabilities/registry";
import { allKinds } from "../../components/kinds/registry";
import { routerRules } from "../../components/plan/routers";
import { testbedRules } from "../../components/plan/rules";
import { policyRules } from "../../components/plan/rules/policies";
import { faultsOf, type Files, goodStacks, goodTestbed, texts } from "./harness";
import { vpnCases } from "./vpnCases";

/** The good testbed with one thing changed; a change that changes nothing proves nothing. */
function edited(from: string, to: string): Files {
  const testbed = goodTestbed.replace(from, to);
  if (testbed === goodTestbed) throw new Error(`nothing matches ${from}`);
  return { testbed };
}

const real = (more: string): string => `config:
  flipflap:testbed: tt
  flipflap:server:
    address: 192.0.2.7
    hostKey: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA
    privateKeyFile: ~/.ssh/id
    uplink: enp5s0
${more}`;

/** Two systems in network `one`, and what else is said. */
const around =
  (one: string) =>
  (more: string, systems = ""): Files => ({
    testbed: `
tenants: [{ name: red }, { name: blue }]
networks:
  - { name: one, tenant: red, ${one} }
${more}
systems:
  - { name: web, tenant: red, server: flip, networks: [{ name: one }] }
  - { name: db, tenant: red, server: flap, networks: [{ name: one }] }
${systems}
links: [{ between: [flip, flap] }]
`,
  });

/** One segment over both servers, with a prefix. */
const l2 = (prefix: string): string => around(`kind: macvlan, parent: vxlan 7, ${prefix}`)("").testbed ?? "";

const evpn = around("kind: evpn, vn: 136, subnet: 10.1.2.0/24");
const ila = around('kind: ila, vn: 7, sir: "face:b00c:0:7::/64"');

const swarm = around("kind: swarm, subnet: 10.40.0.0/24");
const cilium = around("kind: cilium, subnets: { flip: 10.60.1.0/24, flap: 10.60.2.0/24 }");

/** Red's firewall over two networks, one of another's beside it, and its rules. */
const walled = (firewall: string, text: string, networks = "", systems = ""): Files => ({
  testbed: `
tenants: [{ name: red }, { name: blue }]
networks:
  - { name: one, tenant: red, kind: bridge, subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 } }
  - { name: other, tenant: blue, kind: bridge, subnets: { flip: 10.1.1.0/24, flap: 10.1.2.0/24 } }
${networks}
systems:
  - { name: web, tenant: red, server: flip, networks: [{ name: one }${networks === "" ? "" : ", { name: two }"}] }
  - { name: db, tenant: red, server: flap, networks: [{ name: one }] }
  - { name: blue-web, tenant: blue, server: flip, networks: [{ name: other }] }${systems}
links: [{ between: [flip, flap] }]
firewalls:
${firewall}
`,
  policies: { "policies/r.rules": text },
});

const accepting = "iptables -P FORWARD ACCEPT\n";

/** A testbed of bridges whose web is labelled, and one policy file. */
const policed = (text: string, network = "kind: bridge, subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 }"): Files => ({
  testbed: `
tenants: [{ name: red }]
networks: [{ name: one, tenant: red, ${network} }]
systems:
  - { name: web, tenant: red, server: flip, labels: { id: web }, networks: [{ name: one }] }
  - { name: db, tenant: red, server: flap, labels: { id: db }, networks: [{ name: one }] }
policies: [policies/p.json]
links: [{ between: [flip, flap] }]
`,
  policies: { "policies/p.json": text },
});
const ingress = (text: string): string => `[{ "endpointSelector": { "matchLabels": { "id": "web" } }, "ingress": [${text}] }]`;
const webPolicy = ingress('{ "toPorts": [{ "ports": [{ "port": "80", "protocol": "TCP" }] }] }');

const withoutHub = { flip: goodStacks.flap, flap: goodStacks.flap };

const realHub = (underlay: string): Files => ({
  ...evpn(""),
  stacks: {
    flip: `${real(`    underlay: ${underlay}\n`)}  flipflap:hub: true\n`,
    flap: goodStacks.flap,
  },
});

type Case = [what: string, files: Files, golden: string[]];

const cases: Case[] = [
  ...vpnCases,
  [
    "a property with a typing error",
    edited("mode: routed", "mood: routed"),
    ['[schema] networks.red-net.mood: is not known here; did you mean "mode"?'],
  ],
  [
    "a value outside its choice",
    edited("mode: routed", "mode: flat"),
    ['[schema] networks.red-net.mode: "flat" is not allowed; choose one of "l2", "routed", "nat", "router"'],
  ],
  [
    "a kind that there is not",
    edited("kind: bridge", "kind: vxlan"),
    [
      '[schema] networks.red-net: "vxlan" is no kind of network; choose one of "bridge", "cilium", "evpn", "ila", "macvlan", "netns", "swarm"',
    ],
  ],
  [
    "a number out of range",
    edited("[flip, flap] }]", "[flip, flap], mtuBytes: 100 }]"),
    ["[schema] links[0].mtuBytes: 100 is out of range; it must be >= 1280"],
  ],
  [
    "no YAML",
    { testbed: "tenants: [red\nnetworks:" },
    [
      "[yaml] testbeds/tt.yaml: Flow sequence in block collection must be sufficiently indented and end with a ] at line 2, column 1; mend the YAML there",
    ],
  ],
  [
    "a testbed file that there is not",
    {
      stacks: {
        flip: goodStacks.flip.replace("testbed: tt", "testbed: none"),
        flap: goodStacks.flap.replace("testbed: tt", "testbed: none"),
      },
    },
    ["[testbed-file] testbeds/none.yaml: there is no such file; make it, or choose one of tt"],
  ],
  [
    "no stack file",
    { stacks: {} },
    ["[stack-files] Pulumi.<server>.yaml: there is no stack file; make one for each server: docs/config.md, StackFile"],
  ],
  [
    "stacks with two testbeds",
    { stacks: { flap: goodStacks.flap, flip: goodStacks.flip.replace("testbed: tt", "testbed: other") } },
    [
      '[one-testbed] Pulumi.flip.yaml: flipflap:testbed: "other" is not what Pulumi.flap.yaml names ("tt"); all stacks of a project deploy one testbed: name the same in every stack file',
    ],
  ],
  [
    "a server that is neither lab nor real",
    { stacks: { ...goodStacks, flip: goodStacks.flip.replace("server: lab", "server: labb") } },
    ['[schema] Pulumi.flip.yaml: flipflap:server: "labb" is not allowed; write "lab"'],
  ],
  [
    "a lab that does not run",
    { lab: undefined },
    [
      "[lab-running] Pulumi.flap.yaml: flipflap:server: the lab is not running; start it: npm run up, or flipflap lab start",
      "[lab-running] Pulumi.flip.yaml: flipflap:server: the lab is not running; start it: npm run up, or flipflap lab start",
    ],
  ],
  [
    "two systems of one name",
    edited("name: db", "name: web"),
    ["[unique-name] systems.web: there are two of this name; rename one of them"],
  ],
  [
    "an unknown tenant",
    edited("name: db, tenant: red", "name: db, tenant: rad"),
    [
      '[unknown-tenant] systems.db.tenant: there is no tenant "rad"; did you mean "red"?',
      "[foreign-network] systems.db.networks.red-net: the network is of tenant red, the system of rad; put it in a network of rad",
    ],
  ],
  [
    "an unknown server",
    edited("tenant: blue, server: flip", "tenant: blue, server: flop"),
    ['[unknown-server] systems.blue-web.server: there is no server "flop"; did you mean "flap"?'],
  ],
  [
    "an unknown network",
    edited("tenant: blue, server: flip, networks: [{ name: blue-net }]", "tenant: blue, server: flip, networks: [{ name: blue-nett }]"),
    ['[unknown-network] systems.blue-web.networks.blue-nett: there is no such network; did you mean "blue-net"?'],
  ],
  [
    "a network of another tenant",
    edited("tenant: blue, server: flip, networks: [{ name: blue-net }]", "tenant: blue, server: flip, networks: [{ name: red-net }]"),
    ["[foreign-network] systems.blue-web.networks.red-net: the network is of tenant red, the system of blue; put it in a network of blue"],
  ],
  [
    "a system twice in a network",
    edited(
      "server: flip, networks: [{ name: red-net }]",
      "server: flip, networks: [{ name: red-net }, { name: red-net, interface: eth0 }]",
    ),
    [
      "[twice-in-network] systems.web.networks.red-net: the system sits in it twice; leave one of them out",
      "[twice-in-network] systems.web.networks: two interfaces are called eth0; give each an interface name of its own",
    ],
  ],
  [
    "the agent's name",
    edited("name: db", "name: agent"),
    ["[reserved-name] systems.agent.name: ff-agent is a container of flipflap's own; choose another name"],
  ],
  ...(
    [
      ["127.0.1.0/24", "127.0.0.0/8, which is every host's loopback"],
      ["0.0.0.0/4", "0.0.0.0/8, which stands for a host's own network"],
      ["169.254.7.0/24", "169.254.0.0/16, which is link-local: hosts choose addresses in it by themselves"],
      ["239.1.0.0/24", "224.0.0.0/3, which is multicast, reserved and broadcast"],
    ] as const
  ).map(([subnet, what]): Case => [
    `the subnet ${subnet}`,
    { testbed: l2(`subnet: ${subnet}`) },
    [`[special-prefix] networks.one.subnet: ${subnet} holds addresses of ${what}; choose one like 10.0.1.0/24`],
  ]),
  ...(
    [
      ["fe80:1::/64", "fe80::/10, which is link-local: every interface has addresses in it"],
      ["ff05::/64", "ff00::/8, which is multicast"],
      ["::/64", "::/8, which holds the loopback, IPv4's addresses and what is not specified"],
    ] as const
  ).map(([subnet, what]): Case => [
    `the subnet ${subnet}`,
    { testbed: l2(`subnet6: "${subnet}"`) },
    [`[special-prefix] networks.one.subnet6: ${subnet} holds addresses of ${what}; choose one like "fd00:1::/64"`],
  ]),
  [
    "the guard off with two tenants",
    edited("links:", "tuning: { guard: off }\nlinks:"),
    [
      "[guard-off] tuning.guard: is off, with 2 tenants (red, blue) that would reach one another and the servers; leave it out, or declare the networks of one tenant only",
    ],
  ],
  [
    "a subnet that holds a lab's servers",
    { testbed: l2("subnet: 198.19.0.0/16") },
    ["[servers-address] networks.one.subnet: 198.19.0.0/16 overlaps the underlay of flap (198.19.9.0/24); give the network another prefix"],
  ],
  [
    "a subnet that could hold those of a lab that does not run",
    { testbed: l2("subnet: 198.19.0.0/24"), lab: undefined, needsLab: false },
    [
      "[servers-address] networks.one.subnet: 198.19.0.0/24 overlaps 198.18.0.0/15, which labs take their addresses from; give the network another prefix",
    ],
  ],
  [
    "a server's own address, on a segment that is the servers' own link",
    {
      testbed:
        around("kind: macvlan, subnet: 198.19.9.0/24")("").testbed?.replace(
          "name: web, tenant: red, server: flip, networks: [{ name: one }]",
          "name: web, tenant: red, server: flip, networks: [{ name: one, address: 198.19.9.2 }]",
        ) ?? "",
    },
    ["[servers-address] systems.web.networks.one: 198.19.9.2 is an address of the server flap; choose another"],
  ],
  [
    "a name of a variable with an equals sign, and one with a line end",
    edited(
      "server: flip, networks: [{ name: red-net }]",
      'server: flip, env: { "A=B": x, "C\\nD": y, E_1: z }, networks: [{ name: red-net }]',
    ),
    [
      '[env-name] systems.web.env."A=B": is no name of a variable; leave out = and blanks',
      '[env-name] systems.web.env."C\\nD": is no name of a variable; leave out = and blanks',
    ],
  ],
  [
    "aliases of aliases",
    {
      testbed: `a: &a [x, x, x, x, x, x, x, x, x, x]\n${"bcdefgh"
        .split("")
        .map((name, i) => `${name}: &${name} [${Array.from({ length: 10 }, () => `*${"abcdefg"[i]}`).join(", ")}]`)
        .join("\n")}\n`,
    },
    ["[yaml] testbeds/tt.yaml: Excessive alias count indicates a resource exhaustion attack; write out what the aliases (*name) stand for"],
  ],
  [
    "a system that is called as a router's namespace",
    edited("name: db", "name: tenant-red"),
    ["[reserved-name] systems.tenant-red.name: ff-tenant-red is the namespace of red's router; choose another name"],
  ],
  [
    "two networks whose devices would have one name",
    { testbed: goodTestbed.replaceAll("red-net", "network-17882").replaceAll("blue-net", "network-18567") },
    [
      "[same-device] networks.network-18567.name: its devices would be called as those of network-17882 (br-networ28ffa9); choose another name, best one of 12 characters or less",
    ],
  ],
  [
    "files of somebody else's",
    edited(
      "server: flip, networks: [{ name: red-net }]",
      "server: flip, image: /srv/x.tar, router: true, nftables: ../../etc/passwd, networks: [{ name: red-net }]",
    ),
    [
      '[outside-project] systems.web.nftables: "../../etc/passwd" is outside of the project; copy the file into the project',
      '[outside-project] systems.web.image: "/srv/x.tar" is outside of the project; copy the file into the project',
    ],
  ],
  [
    "a login with more than a name",
    {
      stacks: {
        flap: goodStacks.flap,
        flip: real('    user: "root\\n  ProxyCommand touch /tmp/x"\n    underlay: { ipv4: 198.51.100.1/24 }'),
      },
    },
    [
      '[schema] Pulumi.flip.yaml: flipflap:server.user: "root\\n  ProxyCommand touch /tmp/x" does not fit (must match pattern "^[A-Za-z0-9_][A-Za-z0-9_.@-]*$"); SSH user: root, or one with passwordless sudo and in the group docker.',
    ],
  ],
  [
    "a server that no link joins with the hub",
    {
      testbed: `
tenants: [{ name: red }]
networks: [{ name: one, tenant: red, kind: evpn, vn: 136, subnet: 10.1.2.0/24 }]
systems: [{ name: web, tenant: red, server: flap, networks: [{ name: one }] }]
links: []
`,
    },
    [
      "[hub-unlinked] networks.one: kind evpn meets at the hub flip, and no link joins flap with it; name flap in a link of flip's, or add links: [{ between: [flip, flap] }]",
    ],
  ],
  [
    "an address outside the subnet",
    edited("server: flip, networks: [{ name: red-net }]", "server: flip, networks: [{ name: red-net, address: 10.0.2.5 }]"),
    ["[address] systems.web.networks.red-net.address: 10.0.2.5 is outside 10.0.1.0/24; choose one inside"],
  ],
  [
    "the gateway's address",
    edited("server: flip, networks: [{ name: red-net }]", "server: flip, networks: [{ name: red-net, address: 10.0.1.1 }]"),
    ["[address] systems.web.networks.red-net.address: 10.0.1.1 is the gateway of 10.0.1.0/24; choose another"],
  ],
  [
    "an address twice",
    edited(
      "server: flip, networks: [{ name: red-net }]",
      "server: flip, networks: [{ name: red-net, address: 10.0.1.5 }] }\n  - { name: web2, tenant: red, server: flip, networks: [{ name: red-net, address: 10.0.1.5 }]",
    ),
    ["[address-taken] systems.web2.networks.red-net.address: 10.0.1.5 is already used by web; choose another"],
  ],
  [
    "a multicast MAC",
    edited("server: flip, networks: [{ name: red-net }]", 'server: flip, networks: [{ name: red-net, mac: "01:00:5e:00:00:01" }]'),
    [
      "[mac-multicast] systems.web.networks.red-net.mac: 01:00:5e:00:00:01 is a multicast address; choose one whose first byte is even, like 02:00:00:00:00:01",
    ],
  ],
  [
    "a full subnet",
    edited("flip: 10.0.1.0/24", "flip: 10.0.1.0/31"),
    ["[subnet-full] systems.web.networks.red-net: 10.0.1.0/31 has no address left; give the network a larger prefix"],
  ],
  [
    "an MTU that the link does not carry",
    edited("mode: routed, subnets: { flip: 10.0.1", "mode: routed, mtuBytes: 9100, subnets: { flip: 10.0.1"),
    [
      "[mtu-sum] networks.red-net.mtuBytes: 9100 bytes do not fit the link flip-flap (9000); lower it to 9000, or raise the link's mtuBytes to 9100",
    ],
  ],
  [
    "one NIC on two links",
    edited("[{ between: [flip, flap] }]", "[{ between: [flip, flap] }, { between: [flip, flap], interfaces: { flap: up1 } }]"),
    ["[link-interface] links[1].interfaces.flip: up0 of flip is already on the link flip-flap; name another NIC of flip"],
  ],
  [
    "no link",
    edited("[{ between: [flip, flap] }]", "[]"),
    ["[link-missing] networks.red-net: no link joins flap and flip, where its systems sit; add links: [{ between: [flap, flip] }]"],
  ],
  [
    "a secret without a hub",
    { testbed: `${goodTestbed}secrets: [{ name: token }]\n`, stacks: { flip: goodStacks.flap, flap: goodStacks.flap } },
    ["[hub] secrets: arise on the hub, and no stack file says flipflap:hub: true; say so in one of them"],
  ],
  [
    "an underlay address without length",
    { testbed: goodTestbed, stacks: { ...goodStacks, flip: real("    underlay: { ipv4: 198.18.0.1 }\n") } },
    [
      '[underlay] Pulumi.flip.yaml: flipflap:server.underlay.ipv4: "198.18.0.1" is no IPv4 address with prefix length; write one like 198.18.0.1/24',
    ],
  ],
  [
    "underlay addresses of two prefixes on one link",
    { testbed: goodTestbed, stacks: { ...goodStacks, flip: real("    underlay: { ipv4: 198.51.100.1/24 }\n") } },
    [
      "[underlay] Pulumi.flip.yaml: flipflap:server.underlay.ipv4: 198.51.100.1/24 and 198.19.9.2/24 of flap are on one link but not in one prefix; give both addresses of one prefix",
    ],
  ],
  [
    "a real server without what it needs",
    { stacks: { ...goodStacks, flip: real("") } },
    ["[schema] Pulumi.flip.yaml: flipflap:server.underlay: is missing; add it: The server's addresses on its uplink."],
  ],
  [
    "a file with nothing in it",
    edited("server: flip, networks: [{ name: red-net }]", "server: flip, files: [{ path: /etc/x }], networks: [{ name: red-net }]"),
    ["[file-content] systems.web.files./etc/x: has content and secret, or neither; give it one of the two"],
  ],
  [
    "an unknown image",
    edited("server: flip, networks: [{ name: red-net }]", "server: flip, image: debian, networks: [{ name: red-net }]"),
    [
      '[image] systems.web.image: "debian" is neither an image of images/ nor an archive (.tar); name one of images/images.ts, or the path of an archive made by docker save',
    ],
  ],
  [
    "a prefix with host bits",
    edited("flip: 10.0.1.0/24", "flip: 10.0.1.7/24"),
    ['[bridge-prefix-form] networks.red-net.subnets.flip: "10.0.1.7/24" is no IPv4 prefix; write 10.0.1.0/24'],
  ],
  [
    "one subnet in mode routed",
    edited("subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 }", "subnet: 10.0.1.0/24"),
    ["[bridge-prefix-place] networks.red-net.subnet: mode routed needs a prefix for each server; use subnets: { flip: ..., flap: ... }"],
  ],
  [
    "a server without a prefix",
    edited("flip: 10.0.1.0/24, flap: 10.0.2.0/24", "flip: 10.0.1.0/24"),
    ["[bridge-prefix-missing] networks.red-net.subnets: has no prefix for flap, which has systems in it; add flap: a prefix of its own"],
  ],
  [
    "a prefix for a server that there is not",
    edited("flap: 10.1.2.0/24", "flop: 10.1.2.0/24"),
    ["[bridge-unknown-server] networks.blue-net.subnets.flop: there is no such server; name one of flap, flip, or make Pulumi.flop.yaml"],
  ],
  [
    "overlapping prefixes of two tenants",
    edited("flip: 10.1.1.0/24", "flip: 10.0.0.0/16"),
    [
      "[bridge-prefix-overlap] networks.blue-net.subnets.flip: 10.0.0.0/16 overlaps 10.0.2.0/24 of networks.red-net.subnets.flap; servers route by prefix alone: give it another, or use mode l2",
      "[bridge-prefix-overlap] networks.blue-net.subnets.flip: 10.0.0.0/16 overlaps 10.0.1.0/24 of networks.red-net.subnets.flip; servers route by prefix alone: give it another, or use mode l2",
    ],
  ],
  [
    "a prefix of the underlay",
    edited("flip: 10.0.1.0/24", "flip: 198.19.9.0/25"),
    [
      "[servers-address] networks.red-net.subnets.flip: 198.19.9.0/25 overlaps the underlay of flap (198.19.9.0/24); give the network another prefix",
    ],
  ],
  [
    "IPv6 over an underlay without",
    {
      testbed: goodTestbed.replace("flap: 10.0.2.0/24 }", 'flap: 10.0.2.0/24 }, subnets6: { flip: "fd00:1::/64", flap: "fd00:2::/64" }'),
      stacks: { ...goodStacks, flip: real("    underlay: { ipv4: 198.19.9.7/24 }\n") },
    },
    [
      "[bridge-underlay-missing] networks.red-net.subnets6: flip has no IPv6 underlay address to route it over; give Pulumi.flip.yaml an underlay.ipv6, or leave subnets6 out",
    ],
  ],
  [
    "an l2 network over two servers without a port",
    edited("mode: routed, subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 }", "mode: l2, subnet: 10.0.1.0/24"),
    [
      "[bridge-port] networks.red-net.port: is missing: systems sit on flap and flip, and an l2 bridge ends at its server; name a NIC of a link as port, put the systems on one server, or use mode routed",
    ],
  ],
  [
    "the uplink as a port",
    edited("mode: routed, subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 }", "mode: l2, port: up0, subnet: 10.0.1.0/24"),
    [
      "[bridge-port] networks.red-net.port: up0 is the uplink, whose underlay addresses would stop working; add a second link with interfaces of its own",
    ],
  ],
  [
    "links that are not the uplinks'",
    edited("between: [flip, flap] }", "between: [flip, flap], interfaces: { flip: up1, flap: up1 } }"),
    [
      "[bridge-link-uplink] networks.red-net: is routed over uplinks, and no link joins those of flap and flip; add links: [{ between: [flap, flip] }] without interfaces",
    ],
  ],
  [
    "a VNID out of range",
    evpn("  - { name: two, tenant: red, kind: evpn, vn: 16777216 }"),
    ["[schema] networks.two.vn: 16777216 is out of range; it must be <= 16777215"],
  ],
  [
    "a VNID used twice",
    evpn("  - { name: two, tenant: red, kind: evpn, vn: 136 }"),
    ["[evpn-vn-taken] networks.two.vn: 136 is already the VNID of one; one VNID is one network: choose another"],
  ],
  [
    "an EVPN subnet that is none",
    evpn("  - { name: two, tenant: red, kind: evpn, vn: 137, subnet: 10.1.3.1/24 }"),
    ['[evpn-prefix-form] networks.two.subnet: "10.1.3.1/24" is no IPv4 prefix; write 10.1.3.0/24'],
  ],
  [
    "an address outside an EVPN subnet",
    evpn("", "  - { name: far, tenant: red, server: flip, networks: [{ name: one, address: 10.1.3.8 }] }"),
    ["[address] systems.far.networks.one.address: 10.1.3.8 is outside 10.1.2.0/24; choose one inside"],
  ],
  [
    "an interface name that the kernel cannot hold",
    evpn("", "  - { name: far, tenant: red, server: flip, networks: [{ name: one, interface: sixteen-letters- }] }"),
    [
      '[schema] systems.far.networks.one.interface: "sixteen-letters-" does not fit (must match pattern "^[a-zA-Z][a-zA-Z0-9_.-]{0,14}$"); The interface\'s name in the container, up to 15 characters. Default: eth0, eth1, ... in order.',
    ],
  ],
  [
    "IPv6 tunnel ends",
    evpn("  - { name: two, tenant: red, kind: evpn, vn: 137, vtep: ipv6 }"),
    ["[evpn-vtep] networks.two.vtep: FRR 8.4 (Debian bookworm) has no IPv6 tunnel ends; FRR 10.6 is the first that has; use ipv4"],
  ],
  [
    "symmetric routing",
    evpn(
      "  - { name: two, tenant: red, kind: evpn, vn: 137, irb: symmetric, subnet: 10.9.0.0/24 }\n  - { name: three, tenant: red, kind: evpn, vn: 138, irb: asymmetric, subnet: 10.8.0.0/24 }",
    ),
    [
      "[evpn-irb-mixed] networks.three.irb: is asymmetric, and two of the same tenant is symmetric: one router has one way to reach the others; write the same in all of the tenant's networks",
    ],
  ],
  [
    "routed networks of one tenant that overlap",
    evpn(
      "  - { name: two, tenant: red, kind: evpn, vn: 137, irb: asymmetric, subnet: 10.1.0.0/16 }\n  - { name: three, tenant: red, kind: evpn, vn: 138, irb: asymmetric, subnet: 10.1.7.0/24 }\n  - { name: four, tenant: red, kind: evpn, vn: 139, irb: asymmetric }",
    ),
    [
      "[evpn-irb-prefix] networks.three.subnet: 10.1.7.0/24 overlaps 10.1.0.0/16 of two, and red's router routes both; give it another prefix, or leave irb out",
      "[evpn-irb-prefix] networks.four.irb: there is no prefix to route; give the network a subnet or subnet6, or leave irb out",
    ],
  ],
  [
    "an EVPN network over links that are not the uplinks'",
    { testbed: evpn("").testbed!.replace("between: [flip, flap] }", "between: [flip, flap], interfaces: { flip: up1, flap: up1 } }") },
    [
      "[evpn-link-uplink] networks.one: is tunnelled over uplinks, and no link joins those of flap and flip; add links: [{ between: [flap, flip] }] without interfaces",
    ],
  ],
  [
    "two hubs that both hold the secrets",
    { ...evpn(""), stacks: { flip: goodStacks.flip, flap: goodStacks.flip } },
    ["[hub] flipflap:hub: flap and flip say true; a testbed has one hub; another says second"],
  ],
  [
    "a second hub without a first",
    { ...evpn(""), stacks: { flip: goodStacks.flip.replace("hub: true", "hub: second"), flap: goodStacks.flap } },
    ["[hub] flipflap:hub: flip says second, and none says true; say true in one of them"],
  ],
  [
    "EVPN without a hub",
    { ...evpn(""), stacks: withoutHub },
    [
      "[evpn-route-server] flipflap:hub: no stack file says hub: true, and kind evpn needs a route server; say so in one of them, or in two",
    ],
  ],
  [
    "a route server without an address",
    realHub("{ ipv4: 198.19.9.77/24 }"),
    [
      "[evpn-route-server] Pulumi.flip.yaml: flipflap:server.underlay.routeServer: is missing: the hub's route server needs an address of its own; name a free one of 198.19.9.0/24, like 198.19.9.254",
    ],
  ],
  [
    "a route server whose address is a server's",
    realHub("{ ipv4: 198.19.9.77/24, routeServer: 198.19.9.2 }"),
    [
      "[evpn-route-server] Pulumi.flip.yaml: flipflap:server.underlay.routeServer: 198.19.9.2 is already the address of flap; the route server needs one of its own",
    ],
  ],
  [
    "SIR prefixes that are none",
    ila('  - { name: two, tenant: red, kind: ila, vn: 8, sir: "face:b00c::/48" }'),
    ['[ila-sir-form] networks.two.sir: "face:b00c::/48" is no IPv6 /64; write one like "face:b00c:0:7::/64"'],
  ],
  [
    "a VNID and a SIR prefix of two networks",
    ila(
      '  - { name: two, tenant: red, kind: ila, vn: 7, sir: "face:b00c:0:8::/64" }\n  - { name: three, tenant: blue, kind: ila, vn: 9, sir: "face:b00c:0:7::/64" }',
    ),
    [
      "[ila-vn-sir] networks.two.vn: 7 is the VNID of one of the same tenant; one VNID goes with one SIR prefix: choose another",
      "[ila-vn-sir] networks.three.sir: face:b00c:0:7::/64 is the SIR prefix of one of tenant red; one SIR prefix goes with one VNID: choose another",
    ],
  ],
  [
    "a VNID over 28 bits",
    ila('  - { name: two, tenant: red, kind: ila, vn: 268435456, sir: "face:b00c:0:8::/64" }'),
    ["[schema] networks.two.vn: 268435456 is out of range; it must be <= 268435455"],
  ],
  [
    "an IPv4 subnet of an ILA network",
    ila('  - { name: two, tenant: red, kind: ila, vn: 8, sir: "face:b00c:0:8::/64", subnet: 10.1.0.0/24 }'),
    [
      "[schema] networks.two.subnet: is not of this kind of network; leave it out: ILA carries IPv6 only, and sir with vn makes its addresses",
    ],
  ],
  [
    "identifiers of another form",
    ila(
      "",
      `  - { name: a1, tenant: red, server: flip, networks: [{ name: one, address6: "face:b00c:0:7:4000:7:0:1" }] }
  - { name: a2, tenant: red, server: flip, networks: [{ name: one, address6: "face:b00c:0:7:3000:7:0:1" }] }
  - { name: a3, tenant: red, server: flip, networks: [{ name: one, address6: "face:b00c:0:7:2000:8:0:1" }] }
  - { name: a4, tenant: red, server: flip, networks: [{ name: one, address6: "face:b00c:0:7:2000:7:1:0" }] }`,
    ),
    [
      "[address] systems.a1.networks.one.address6: face:b00c:0:7:4000:7:0:1 is outside face:b00c:0:7:2000:7::/96; choose one inside",
      "[address] systems.a2.networks.one.address6: face:b00c:0:7:3000:7:0:1 is outside face:b00c:0:7:2000:7::/96; choose one inside",
      "[address] systems.a3.networks.one.address6: face:b00c:0:7:2000:8:0:1 is outside face:b00c:0:7:2000:7::/96; choose one inside",
      "[ila-identifier] systems.a1.networks.one.address6: the identifier's type is 2; systems have 1 (locally unique); write one like face:b00c:0:7:2000:7:0:1",
      "[ila-identifier] systems.a2.networks.one.address6: the identifier has the C bit, which is only for packets between servers; write one like face:b00c:0:7:2000:7:0:1",
      "[ila-identifier] systems.a3.networks.one.address6: the identifier's VNID is 8, the network's is 7; write one like face:b00c:0:7:2000:7:0:1",
      "[ila-identifier] systems.a4.networks.one.address6: in csum neutral the low 16 bits of an identifier are neither 0 nor ffff; write one like face:b00c:0:7:2000:7:0:1",
    ],
  ],
  [
    "an IPv4 address in an ILA network",
    ila("", "  - { name: far, tenant: red, server: flip, networks: [{ name: one, address: 10.1.3.8 }] }"),
    ["[address] systems.far.networks.one.address: the network has no IPv4 prefix on flip; give it one, or leave the address out"],
  ],
  [
    "backends that do not understand each other",
    ila(
      '  - { name: two, tenant: red, kind: ila, vn: 8, sir: "face:b00c:0:8::/64", csum: adjust-transport, backends: { flip: kernel, flop: ebpf } }\n  - { name: three, tenant: red, kind: ila, vn: 9, sir: "face:b00c:0:9::/64", backend: kernel }\n  - { name: four, tenant: red, kind: ila, vn: 10, sir: "face:b00c:0:10::/64", backend: kernel, csum: no-action }',
      "  - { name: far, tenant: red, server: flip, networks: [{ name: three }, { name: four }] }",
    ),
    [
      '[ila-backends] networks.two.backends.flop: there is no server "flop"; name one of flap, flip',
      "[ila-backends] networks.two.backends: the kernel's adjust-transport (6.1) changes checksums by twice the difference, which only another such kernel undoes; eBPF changes them by what is right; choose one backend, or another csum",
      "[ila-backends] networks.three.csum: in csum neutral the kernel translates all that comes to the locator of flip, also what is for four; use neutral-auto, or backend ebpf",
    ],
  ],
  [
    "ILA without a hub",
    { ...ila(""), stacks: withoutHub },
    ["[ila-hub] flipflap:hub: no stack file says hub: true, and kind ila needs etcd; say so in one of them"],
  ],
  [
    "an ILA network over links that are not the uplinks'",
    { testbed: ila("").testbed!.replace("between: [flip, flap] }", "between: [flip, flap], interfaces: { flip: up1, flap: up1 } }") },
    [
      "[ila-link-uplink] networks.one: is routed over uplinks, and no link joins those of flap and flip; add links: [{ between: [flap, flip] }] without interfaces",
    ],
  ],
  [
    "locators that are none, or missing",
    {
      ...ila(""),
      stacks: {
        flip: `${real('    underlay: { ipv4: 198.19.9.77/24 }\n    locator: "2001:db8:a::/48"\n')}  flipflap:hub: true\n`,
        flap: real("    underlay: { ipv4: 198.19.9.78/24 }\n"),
      },
    },
    [
      '[ila-locator] Pulumi.flap.yaml: flipflap:server.underlay.ipv6: is missing: kind ila goes over IPv6; write one like "fd00:1::1/64"',
      '[ila-locator] Pulumi.flap.yaml: flipflap:server.locator: is missing: kind ila needs one of every server; write a /64 like "2001:db8:a:1::/64"',
      '[ila-locator] Pulumi.flip.yaml: flipflap:server.underlay.ipv6: is missing: kind ila goes over IPv6; write one like "fd00:1::1/64"',
      '[ila-locator] Pulumi.flip.yaml: flipflap:server.locator: "2001:db8:a::/48" is no IPv6 /64; write one like "2001:db8:a:1::/64"',
    ],
  ],
  [
    "a SIR prefix that is a locator",
    { testbed: ila("").testbed!.replace("face:b00c:0:7::/64", "fdf1:f1aa:9:1::/64") },
    ["[ila-locator] networks.one.sir: fdf1:f1aa:9:1::/64 is the locator of flip; choose another SIR prefix"],
  ],
  [
    "a server without an underlay",
    { stacks: { flip: real(""), flap: goodStacks.flap } },
    ["[schema] Pulumi.flip.yaml: flipflap:server.underlay: is missing; add it: The server's addresses on its uplink."],
  ],
  [
    "a secret with the name of a kind's own",
    edited("links: [{", "secrets: [{ name: evpn-bgp }]\nlinks: [{"),
    ["[reserved-name] secrets.evpn-bgp.name: a kind of network uses this name; choose another name"],
  ],
  [
    "prefixes of kind netns",
    evpn("  - { name: base, tenant: red, kind: netns }\n  - { name: other, tenant: red, kind: netns, subnet: 10.30.0.1/24 }"),
    [
      "[netns-prefix-form] networks.base: has no prefix; give it a subnet or subnet6",
      '[netns-prefix-form] networks.other.subnet: "10.30.0.1/24" is no IPv4 prefix; write 10.30.0.0/24',
    ],
  ],
  [
    "a baseline of one server on two",
    evpn(
      "  - { name: base, tenant: red, kind: netns, subnet: 10.30.0.0/24 }",
      "  - { name: one-end, tenant: red, server: flip, networks: [{ name: base }] }\n  - { name: two-end, tenant: red, server: flap, networks: [{ name: base }] }",
    ),
    [
      "[netns-one-server] networks.base: has systems on flap and flip, and kind netns is the baseline of one server, without a link; put them on one server, or make a network for each",
    ],
  ],
  [
    "a prefix that the server routes for two kinds",
    {
      testbed: goodTestbed
        .replace("systems:", "  - { name: base, tenant: red, kind: netns, subnet: 10.0.1.128/25 }\nsystems:")
        .replace("links:", "  - { name: bare, tenant: red, server: flip, networks: [{ name: base }] }\nlinks:"),
    },
    [
      "[routed-overlap] networks.base: 10.0.1.128/25 overlaps 10.0.1.0/24 of red-net on flip; servers route by prefix alone: give it another",
    ],
  ],
  [
    "a namespace that wants to be a container",
    evpn(
      "  - { name: base, tenant: red, kind: netns, subnet: 10.30.0.0/24 }",
      "  - { name: bare, tenant: red, server: flip, image: tools, router: true, networks: [{ name: base }] }",
    ),
    [
      "[netns-system] systems.bare.image: a system of kind netns is a namespace without a container; leave it out, or use another kind",
      "[netns-system] systems.bare.router: a system of kind netns is a namespace without a container; leave it out, or use another kind",
    ],
  ],
  [
    "a swarm without a hub",
    { ...swarm(""), stacks: withoutHub },
    ["[swarm-hub] networks.one: a swarm has a manager, and no server is the hub; write flipflap:hub: true in one stack file"],
  ],
  [
    "swarm subnets that docker cannot share, and that overlap",
    swarm("  - { name: two, tenant: red, kind: swarm, subnet: 10.40.0.0/28 }"),
    [
      "[swarm-subnet] networks.two.subnet: 10.40.0.0/28 is too small to share with docker; take a /26 or larger",
      "[swarm-subnet] networks.two.subnet: 10.40.0.0/28 overlaps with that of one; one swarm has no two subnets that overlap: choose another",
    ],
  ],
  [
    "an address that the swarm gives to itself, and what docker decides",
    swarm("", "  - { name: more, tenant: red, server: flip, networks: [{ name: one, address: 10.40.0.200, interface: net0 }] }"),
    [
      "[docker-made] systems.more.networks.one.interface: kind swarm leaves it to docker; leave it out",
      "[swarm-membership] systems.more.networks.one.address: 10.40.0.200 is in 10.40.0.192/26, which the swarm gives to itself; choose a lower one",
    ],
  ],
  [
    "swarm's servers that no link joins",
    { testbed: (swarm("").testbed ?? "").replace("[flip, flap] }]", "[flip, flap], interfaces: { flip: up1 } }]") },
    [
      "[swarm-links] networks.one: is tunnelled over uplinks, and no link joins those of flap and flip; add links: [{ between: [flap, flip] }] without interfaces",
    ],
  ],
  [
    "Cilium without a hub",
    { ...cilium(""), stacks: withoutHub },
    ["[cilium-hub] networks.one: Cilium's servers meet at an etcd, and no server is the hub; write flipflap:hub: true in one stack file"],
  ],
  [
    "networks that one Cilium cannot carry together",
    cilium("  - { name: two, tenant: blue, kind: cilium, routing: native, mtuBytes: 1500, subnets: { flip: 10.61.1.0/24 } }"),
    [
      "[cilium-together] networks.two.tenant: Cilium keeps no tenants apart, and one is of red; use another kind, or one tenant and policies",
      "[cilium-together] networks.two.routing: one Cilium carries them all, and one is otherwise; write the same in every network of the kind",
      "[cilium-together] networks.two.mtuBytes: one Cilium carries them all, and one has another; write the same in every network of the kind",
      "[cilium-together] networks.two.subnets: what holds all of flip's prefixes, 10.60.0.0/15, overlaps with that of flap; give each server neighbouring prefixes: 10.60.1.0/25 and 10.60.1.128/25",
    ],
  ],
  [
    "subnets of Cilium that overlap, are none, or are too small",
    { testbed: (cilium("").testbed ?? "").replace("flip: 10.60.1.0/24, flap: 10.60.2.0/24", "flip: 10.60.2.0/29") },
    [
      "[cilium-subnets] networks.one.subnets.flip: 10.60.2.0/29 is too small; take a /28 or larger",
      "[cilium-subnets] networks.one.subnets.flap: is missing, and the server has systems of the network; add it",
    ],
  ],
  [
    "an address that Cilium's docker network keeps",
    cilium("", "  - { name: more, tenant: red, server: flip, networks: [{ name: one, address: 10.60.1.254 }] }"),
    ["[cilium-membership] systems.more.networks.one.address: 10.60.1.254 stays free for docker; choose another"],
  ],
  [
    "Cilium's servers that no link joins",
    { testbed: (cilium("").testbed ?? "").replace("[flip, flap] }]", "[flip, flap], interfaces: { flip: up1 } }]") },
    [
      "[cilium-links] networks.one: is carried over uplinks, and no link joins those of flap and flip; add links: [{ between: [flap, flip] }] without interfaces",
    ],
  ],
  [
    "a policy file that is not there",
    { ...policed(webPolicy), policies: {} },
    ["[policy-file] policies: policies/p.json: there is no such file; make it, or leave it out"],
  ],
  [
    "a firewall of nobody, one too many, and one of others' things",
    walled(
      "  - { tenant: rad, rules: policies/r.rules }\n  - { tenant: red, rules: policies/r.rules, networks: [other, onn], systems: [webb] }\n  - { tenant: red, rules: policies/r.rules }",
      accepting,
    ),
    [
      '[firewall-scope] firewalls[0].tenant: there is no tenant "rad"; did you mean "red"?',
      "[firewall-scope] firewalls[1].networks: other is blue's; leave it out: a firewall of blue's may look at it",
      '[firewall-scope] firewalls[1].networks: there is no network "onn"; did you mean "one"?',
      '[firewall-scope] firewalls[1].systems: there is no system "webb"; did you mean "web"?',
      "[firewall-scope] firewalls[2].tenant: red has a firewall already; put the rules of both into one file: -i, -o, -s and -d tell networks and systems apart",
      "[firewall-reach] firewalls[0]: it looks at no system; name systems of rad's that are in its networks, or leave it out",
      "[firewall-reach] firewalls[1]: it looks at no system; name systems of red's that are in its networks, or leave it out",
    ],
  ],
  [
    "a firewall of two systems with one address",
    walled(
      "  - { tenant: red, rules: policies/r.rules }",
      accepting,
      "  - { name: two, tenant: red, kind: bridge, mode: l2, subnet: 10.0.1.0/24 }",
      "\n  - { name: same, tenant: red, server: flip, networks: [{ name: two, address: 10.0.1.9 }] }\n  - { name: first, tenant: red, server: flip, networks: [{ name: one, address: 10.0.1.9 }] }",
    ),
    [
      "[firewall-reach] firewalls[0]: 10.0.1.9 is of first and of same: their packets cannot be told apart; give the networks prefixes of their own, or name one of them in networks",
    ],
  ],
  [
    "a firewall of a system that asks for its address",
    walled(
      "  - { tenant: red, rules: policies/r.rules }",
      accepting,
      "  - { name: two, tenant: red, kind: bridge, mode: l2, subnet: 10.0.3.0/24 }",
      "\n  - { name: asks, tenant: red, server: flip, networks: [{ name: two, address: dhcp }] }",
    ),
    [
      "[firewall-reach] systems.asks.networks.two: red's firewall cannot know an address that is told later; give it one, or leave asks out of firewalls[0].systems",
    ],
  ],
  [
    "a firewall whose file is not there",
    walled("  - { tenant: red, rules: policies/q.rules }", accepting),
    ['[firewall-file] firewalls[0].rules: there is no file "policies/q.rules"; make it, or leave it out'],
  ],
  [
    "a firewall where no program is in the packets' way",
    walled(
      "  - { tenant: red, rules: policies/r.rules }",
      accepting,
      "  - { name: two, tenant: red, kind: macvlan, parent: uplink, subnet: 10.2.0.0/24 }",
    ),
    [
      "[firewall-reach] firewalls[0].networks: packets come to systems of two past the programs at their interfaces; name the others in firewalls[0].networks",
    ],
  ],
  [
    "a firewall on docker's own interfaces",
    walled("  - { tenant: red, rules: policies/r.rules }", accepting, "  - { name: two, tenant: red, kind: swarm, subnet: 10.40.0.0/24 }"),
    [
      "[docker-made] systems.web.networks.two: docker joins a system to a network of kind swarm, and to no other; put it in this network alone",
      "[firewall-reach] firewalls[0].networks: no program of ours is at the interfaces of two, which is of kind swarm; name the others in firewalls[0].networks",
    ],
  ],
  [
    "rules that no program can hold, and one that is none",
    walled(
      "  - { tenant: red, rules: policies/r.rules }",
      `*nat
-A POSTROUTING -s 10.0.1.0/24 -j MASQUERADE
COMMIT
*filter
:FORWARD DROP [0:0]
-A INPUT -p tcp --dport 22 -j ACCEPT
-A FORWARD -i docker0 -j ACCEPT
-A FORWARD -m limit --limit 5/min -m limit --limit 1/hour -j ACCEPT
-A FORWARD -m hashlimit --hashlimit-upto 5/sec --hashlimit-name ssh -j ACCEPT
-A FORWARD -m string --string GET --algo bm -j DROP
-A FORWARD -p tcp --dport http -j ACEPT
COMMIT
`,
    ),
    [
      "[firewall-rules] policies/r.rules:2:1: the table nat is the server's: a tenant's packets meet the table filter alone; leave it out",
      "[firewall-rules] policies/r.rules:6:1: FORWARD is what enters or leaves the tenant's systems; INPUT is of the server itself; write it for FORWARD, or leave it out",
      "[firewall-rules] policies/r.rules:7:1: -i docker0: the firewall looks at no network of this name; name one of one",
      "[firewall-rules] policies/r.rules:8:1: a rule has one limit; write a chain with the second one",
      "[firewall-rules] policies/r.rules:9:1: hashlimit is not held yet; write -m limit, which counts all packets of the rule together",
      "[firewall-rules] policies/r.rules:10:1: -m string is of the kernel's own tables alone; write the rule without it",
      "[firewall-rules] policies/r.rules:11:35: there is no chain and no target ACEPT; make the chain before: -N ACEPT, or :ACEPT - [0:0]",
    ],
  ],
  [
    "sets that are not there, or are none that is held",
    walled(
      "  - { tenant: red, rules: policies/r.rules }",
      `create bad hash:mac
create old hash:ip timeout 30
create six hash:net family inet6
create ends hash:ip,port
add six 10.0.0.0/8
add ends 10.0.0.1,icmp:echo-request
iptables -P FORWARD DROP
iptables -A FORWARD -m set --match-set gone src -j ACCEPT
iptables -A FORWARD -m set --match-set six src -j ACCEPT
iptables -A FORWARD -m set --match-set ends src -j ACCEPT
iptables -A FORWARD -m set ! --match-set ends src,dst -j ACCEPT
`,
    ),
    [
      "[firewall-rules] policies/r.rules:1:12: sets of type hash:mac are not held; write rules of its members, or one of hash:ip, hash:net, bitmap:ip, hash:ip,port, hash:net,port",
      "[firewall-rules] policies/r.rules:2:20: members that end by themselves are not held; create it without",
      '[firewall-rules] policies/r.rules:5:9: "10.0.0.0/8" is of the other family than six; write it like fd00::/64',
      '[firewall-rules] policies/r.rules:6:10: "10.0.0.1,icmp:echo-request" has a protocol without ports; write it like 10.0.0.0/24,tcp:80',
      "[firewall-rules] policies/r.rules:8:1: there is no set gone; say what is in it, before: create gone hash:net, add gone 10.0.0.0/8",
      "[firewall-rules] policies/r.rules:9:1: the set six is of IPv6; name one of the rule's family",
      "[firewall-rules] policies/r.rules:10:1: the set ends has ports; write src,dst or the like: one for the address, one for the port",
      "[firewall-rules] policies/r.rules:11:1: ! --match-set ends is not held: its members have ports; write a chain that returns what is in it",
    ],
  ],
  [
    "rules that say nothing of a family",
    walled("  - { tenant: red, rules: policies/r.rules }", "ip6tables -P FORWARD ACCEPT\n"),
    [
      "[firewall-rules] policies/r.rules: it says nothing of IPv4, of which nothing would pass; say so with iptables -P FORWARD DROP, or let all pass with iptables -P FORWARD ACCEPT",
    ],
  ],
  ["a policy file that is no JSON", policed("[{"), ["[policy-json] policies/p.json: is no JSON, from line 1 on; mend it there"]],
  [
    "a policy with unknown words",
    policed('[{ "endpointSelektor": {}, "ingress": [{ "fromEntities": ["all"] }], "egress": [] }]'),
    [
      "[schema] policies/p.json[0].endpointSelector: is missing; add it: The systems that it protects. `{}` selects all.",
      '[schema] policies/p.json[0].endpointSelektor: is not known here; did you mean "endpointSelector"?',
      "[schema] policies/p.json[0].egress: is not known here; write it as ingress of the systems that are reached: policies have one direction, and replies are allowed",
      "[schema] policies/p.json[0].ingress[0].fromEntities: is not known here; write fromEndpoints with a selector, or fromCIDR",
    ],
  ],
  [
    "a protocol misspelt",
    policed(ingress('{ "toPorts": [{ "ports": [{ "port": "80", "protocol": "TPC" }] }] }')),
    [
      '[schema] policies/p.json[0].ingress[0].toPorts[0].ports[0].protocol: "TPC" is not allowed; choose one of "TCP", "UDP", "SCTP", "ANY", "tcp", "udp", "sctp", "any"',
    ],
  ],
  [
    "ports out of range",
    policed(ingress('{ "toPorts": [{ "ports": [{ "port": "70000" }, { "port": "http" }, { "port": 80, "endPort": 70 }] }] }')),
    [
      '[policy-port] policies/p.json[0].ingress[0].toPorts[0].ports[0].port: "70000" is no port; write a number from 1 to 65535',
      '[policy-port] policies/p.json[0].ingress[0].toPorts[0].ports[1].port: "http" is no port; write a number from 1 to 65535',
      "[policy-port] policies/p.json[0].ingress[0].toPorts[0].ports[2].endPort: 70 is before 80; write the range's last port",
    ],
  ],
  [
    "prefixes that are none",
    policed(ingress('{ "fromCIDR": ["10.0.0.1/8"] }, { "fromCIDRSet": [{ "cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"] }] }')),
    [
      '[policy-cidr] policies/p.json[0].ingress[0].fromCIDR[0]: "10.0.0.1/8" is no prefix; write 10.0.0.0/8',
      "[policy-cidr] policies/p.json[0].ingress[1].fromCIDRSet[0].except[0]: 11.0.0.0/16 is no part of 10.0.0.0/8; leave it out, or write a part of it",
    ],
  ],
  [
    "systems and prefixes in one entry",
    policed(ingress('{ "fromEndpoints": [{}], "fromCIDR": ["10.0.0.0/8"] }')),
    ["[policy-one-source] policies/p.json[0].ingress[0]: names systems and prefixes at once; make two entries of it: each allows more"],
  ],
  [
    "expressions without values",
    policed(ingress('{ "fromEndpoints": [{ "matchExpressions": [{ "key": "id", "operator": "In" }] }] }')),
    ["[policy-expression] policies/p.json[0].ingress[0].fromEndpoints[0].matchExpressions[0].values: In asks for values; list them"],
  ],
  [
    "requests of HTTP, which need a proxy",
    policed(
      ingress(
        '{ "toPorts": [{ "ports": [{ "port": "80", "protocol": "TCP" }], "rules": { "http": [{ "method": "GET", "path": "/public" }] } }] }',
      ),
    ),
    [
      "[policy-backend] policies/p.json[0].ingress[0].toPorts[0].ports[0]: iptables on the bridge (network one) cannot do it; what HTTP asks for is seen by a proxy only (Cilium's is Envoy), and none is here; leave rules.http out",
    ],
  ],
  [
    "policies on kinds that take none",
    policed(webPolicy, "kind: evpn, vn: 5, subnet: 10.1.0.0/24"),
    [
      "[policy-backend] networks.one: kind evpn takes no policies, and web is selected by some; put what is to be protected into a network of kind bridge, swarm or cilium, or change its labels",
    ],
  ],
  [
    "policies beside another network of the same addresses",
    {
      ...policed(webPolicy),
      testbed: (policed(webPolicy, "kind: bridge, mode: l2, subnet: 10.0.1.0/24").testbed ?? "")
        .replace(
          "subnet: 10.0.1.0/24 }]",
          "subnet: 10.0.1.0/24 }, { name: two, tenant: red, kind: bridge, mode: l2, subnet: 10.0.1.0/24 }]",
        )
        .replace(
          "server: flap, labels: { id: db }, networks: [{ name: one }]",
          "server: flip, labels: { id: db }, networks: [{ name: two }]",
        ),
    },
    [
      "[policy-connections] networks.one: has policies, and two has its addresses too on flip: what one lets in would be let into the other; give one of them another subnet",
    ],
  ],
  [
    "policies with a filter of nft",
    policed(webPolicy, "kind: bridge, subnets: { flip: 10.0.1.0/24, flap: 10.0.2.0/24 }, filter: nft"),
    [
      "[policy-backend] networks.one: holds web, which policies protect; policies are rules of iptables there; write filter: iptables, or iptables-legacy",
    ],
  ],
];

describe("faults of a declaration", () => {
  it("has none where there is none", () => {
    expect(texts(faultsOf({}))).toEqual([]);
  });

  it.each(cases)("%s", (_, files, golden) => {
    expect(texts(faultsOf(files))).toEqual(golden);
  });

  it("are reported all at once", () => {
    const testbed = goodTestbed.replace("name: db, tenant: red", "name: db, tenant: rad").replace("flip: 10.0.1.0/24", "flip: 10.0.1.7/24");
    expect(faultsOf({ testbed }).length).toBeGreaterThan(1);
  });

  it("have a golden case for every rule", () => {
    const covered = new Set(cases.flatMap(([, , golden]) => golden.map((text) => /^\[([a-z0-9-]+)\]/.exec(text)?.[1])));
    const ofAll = [...allKinds, ...capabilities].flatMap(({ rules: own }): readonly { readonly id: string }[] => own);
    const rules = [...testbedRules, ...policyRules, ...routerRules, ...ofAll].map((rule) => rule.id);
    const loading = [
      "schema",
      "yaml",
      "policy-file",
      "policy-json",
      "nftables-file",
      "firewall-file",
      "testbed-file",
      "stack-files",
      "one-testbed",
      "lab-running",
    ];
    expect([...rules, ...loading].filter((id) => !covered.has(id))).toEqual([]);
    expect(new Set(rules).size).toBe(rules.length);
  });
});
