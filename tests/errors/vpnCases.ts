/** Bad segments, routers, sites and tunnels. */
import { type Files, goodStacks } from "./harness";

const good = `
tenants: [{ name: lab }, { name: other }]
networks:
  - { name: in-a, tenant: lab, kind: macvlan, parent: local, subnet: 10.4.1.0/24, subnet6: "fd04:0:1::/64", gateway: gw-a }
  - { name: in-b, tenant: lab, kind: macvlan, parent: local, subnet: 10.4.2.0/24, gateway: gw-b }
  - { name: wan, tenant: lab, kind: macvlan, parent: vxlan 40, subnet: 10.40.0.0/24 }
  - { name: lan, tenant: lab, kind: macvlan, subnet: 10.6.1.0/24, serverAddresses: { flip: 10.6.1.250 } }
systems:
  - { name: gw-a, tenant: lab, server: flip, router: true, networks: [{ name: wan }, { name: in-a }] }
  - { name: gw-b, tenant: lab, server: flap, router: true, networks: [{ name: wan }, { name: in-b }] }
  - { name: a1, tenant: lab, server: flip, networks: [{ name: in-a }] }
  - { name: web, tenant: lab, server: flip, networks: [{ name: lan, address: 10.6.1.10 }], routes: [{ to: 10.9.0.0/16, via: db }] }
  - { name: db, tenant: lab, server: flap, networks: [{ name: lan }] }
sites:
  - { name: site-a, gateway: gw-a, inside: in-a }
  - { name: site-b, gateway: gw-b, inside: in-b }
tunnels:
  - { name: a-b, between: [site-a, site-b] }
  - { name: hosts, between: [gw-a, gw-b], mode: host-to-host }
links: [{ between: [flip, flap] }]
`;

function changed(...edits: readonly [from: string, to: string][]): Files {
  let testbed = good;
  for (const [from, to] of edits) {
    const next = testbed.replace(from, to);
    if (next === testbed) throw new Error(`nothing matches ${from}`);
    testbed = next;
  }
  return { testbed };
}

export const vpnCases: [what: string, files: Files, golden: string[]][] = [
  ["sites and tunnels as they should be", { testbed: good }, []],
  [
    "a segment's prefix with host bits",
    changed(["subnet: 10.40.0.0/24", "subnet: 10.40.0.1/24"]),
    ['[macvlan-prefix-form] networks.wan.subnet: "10.40.0.1/24" is no IPv4 prefix; write 10.40.0.0/24'],
  ],
  [
    "a VLAN's number that does not fit",
    changed(["parent: vxlan 40", "parent: vlan 4095"]),
    ["[macvlan-id] networks.wan.parent: vlan 4095 is over 4094; choose a smaller number"],
  ],
  [
    "a VNID that an EVPN network has",
    changed(["  - { name: lan,", "  - { name: evpn, tenant: lab, kind: evpn, vn: 40, subnet: 10.7.0.0/24 }\n  - { name: lan,"]),
    ["[macvlan-id] networks.wan.parent: 40 is the VNID of evpn; one VNID is one network: choose another"],
  ],
  [
    "two tenants on one uplink",
    changed(
      ["  - { name: lan,", "  - { name: theirs, tenant: other, kind: macvlan, subnet: 10.7.0.0/24 }\n  - { name: lan,"],
      ["  - { name: db,", "  - { name: spy, tenant: other, server: flip, networks: [{ name: theirs }] }\n  - { name: db,"],
    ),
    [
      "[macvlan-parent-shared] networks.lan.parent: uplink is already that of theirs, of tenant other, and nothing keeps frames apart on one device; use vxlan N or vlan N, or another NIC",
    ],
  ],
  [
    "a tenant on the uplink beside another's VLAN of it",
    changed(
      ["  - { name: lan,", "  - { name: theirs, tenant: other, kind: macvlan, parent: vlan 60, subnet: 10.7.0.0/24 }\n  - { name: lan,"],
      ["  - { name: db,", "  - { name: spy, tenant: other, server: flip, networks: [{ name: theirs }] }\n  - { name: db,"],
    ),
    [
      "[macvlan-parent-shared] networks.lan.parent: vlan 60 is already that of theirs, of tenant other, and nothing keeps frames apart on one device, nor who tags them; use vlan N or vxlan N for both, or another NIC",
    ],
  ],
  [
    "a NIC that is a bridge's port already",
    changed(
      [
        "  - { name: lan, tenant: lab, kind: macvlan,",
        "  - { name: segment, tenant: lab, kind: bridge, mode: l2, port: eth7, subnet: 10.7.0.0/24 }\n  - { name: lan, tenant: lab, kind: macvlan, parent: eth7,",
      ],
      [
        "  - { name: db,",
        "  - { name: near, tenant: lab, server: flip, networks: [{ name: segment }] }\n  - { name: far, tenant: lab, server: flap, networks: [{ name: segment }] }\n  - { name: db,",
      ],
      [
        "links: [{ between: [flip, flap] }]",
        "links: [{ between: [flip, flap] }, { between: [flip, flap], interfaces: { flip: eth7, flap: eth7 } }]",
      ],
    ),
    ["[macvlan-parent-shared] networks.lan.parent: eth7 is the port of segment; a device has one user: use another NIC"],
  ],
  [
    "a bridge that carries nothing to who was quiet",
    changed(
      [
        "  - { name: lan,",
        "  - { name: quiet, tenant: lab, kind: bridge, mode: nat, subnet: 10.7.0.0/24, floods: false }\n  - { name: deaf, tenant: lab, kind: bridge, mode: l2, subnet: 10.8.0.0/24, floods: false, ageingSeconds: 0 }\n  - { name: lan,",
      ],
      ["  - { name: db,", "  - { name: near, tenant: lab, server: flip, networks: [{ name: quiet }, { name: deaf }] }\n  - { name: db,"],
    ),
    [
      "[bridge-floods] networks.quiet.floods: in mode nat the server knows its systems' MACs for good and asks nobody: one that was quiet for ageingSeconds is not reached; leave it out, or use mode l2 or router",
      "[bridge-floods] networks.deaf.floods: with ageingSeconds: 0 the bridge knows no station, and carries nothing; leave one of the two out",
    ],
  ],
  [
    "one VNID for two",
    changed(["kind: macvlan, subnet: 10.6.1.0/24", "kind: macvlan, parent: vxlan 40, subnet: 10.6.1.0/24"]),
    ["[macvlan-number] networks.lan.parent: vxlan 40 is already that of wan; one number is one network: choose another"],
  ],
  [
    "a local segment on two servers",
    changed(["parent: vxlan 40", "parent: local"]),
    [
      "[macvlan-parent] networks.wan.parent: local is of one server, and systems sit on flap and flip; use vxlan N, or put them on one server",
    ],
  ],
  [
    "a NIC that is on no link",
    changed(["parent: vxlan 40", "parent: eth7"]),
    [
      "[macvlan-parent] networks.wan.parent: eth7 of flap is on no link; declare one: links: [{ between: [...], interfaces: { flap: eth7 } }]",
      "[macvlan-parent] networks.wan.parent: eth7 of flip is on no link; declare one: links: [{ between: [...], interfaces: { flip: eth7 } }]",
    ],
  ],
  [
    "the uplink by its name",
    changed(["parent: vxlan 40", "parent: up0"]),
    [
      "[macvlan-parent] networks.wan.parent: up0 is the uplink of flap; write uplink",
      "[macvlan-parent] networks.wan.parent: up0 is the uplink of flip; write uplink",
    ],
  ],
  [
    "passthru on the uplink, with two systems and the server itself",
    changed(
      ["kind: macvlan, subnet: 10.6.1.0/24", "kind: macvlan, mode: passthru, subnet: 10.6.1.0/24"],
      ["name: db, tenant: lab, server: flap", "name: db, tenant: lab, server: flip"],
    ),
    [
      "[macvlan-mode] networks.lan.mode: passthru would take the uplink from its server; name the NIC of another link as parent, or use vxlan N",
      "[macvlan-mode] networks.lan.serverAddresses: mode passthru leaves the parent to one system; leave them out",
      "[macvlan-mode] networks.lan.mode: passthru has one system a server, and web and db sit on flip; use bridge",
    ],
  ],
  [
    "a MAC where there is none of one's own",
    changed(
      ["kind: macvlan, subnet: 10.6.1.0/24", "kind: macvlan, driver: ipvlan, subnet: 10.6.1.0/24"],
      ["address: 10.6.1.10 }", 'address: 10.6.1.10, mac: "02:00:00:00:00:01" }'],
    ),
    ["[macvlan-mac] systems.web.networks.lan.mac: driver ipvlan gives systems the parent's MAC; leave it out"],
  ],
  [
    "a gateway that there is not",
    changed(["gateway: gw-b }", "gateway: gw-c }"]),
    ['[macvlan-gateway] networks.in-b.gateway: there is no system "gw-c"; name a system of the network'],
  ],
  [
    "a gateway that is elsewhere",
    changed(["subnet: 10.40.0.0/24 }", "subnet: 10.40.0.0/24, gateway: a1 }"]),
    ["[macvlan-gateway] networks.wan.gateway: a1 is not in the network; add { name: wan } to its networks"],
  ],
  [
    "a gateway that forwards nothing",
    changed(["subnet: 10.6.1.0/24,", "subnet: 10.6.1.0/24, gateway: db,"]),
    ["[macvlan-gateway] networks.lan.gateway: db forwards nothing; write router: true in systems.db"],
  ],
  [
    "a gateway by ipvlan",
    changed(["parent: vxlan 40, subnet: 10.40.0.0/24", "parent: vxlan 40, driver: ipvlan, subnet: 10.40.0.0/24, gateway: gw-a"]),
    ["[macvlan-gateway] networks.wan.gateway: no system of driver ipvlan can be a next hop: all have one MAC; use driver: macvlan"],
  ],
  [
    "a server's address outside",
    changed(["flip: 10.6.1.250", "flip: 10.6.2.250"]),
    ["[macvlan-server-address] networks.lan.serverAddresses.flip: 10.6.2.250 is no host of 10.6.1.0/24; choose one of the network"],
  ],
  [
    "a server's address that a system has",
    changed(["flip: 10.6.1.250", "flip: 10.6.1.10"]),
    ["[macvlan-server-address] networks.lan.serverAddresses.flip: 10.6.1.10 is already that of web; choose another"],
  ],
  [
    "an address of a server without systems",
    changed(["flip: 10.6.1.250 }", "flip: 10.6.1.250, flop: 10.6.1.251 }"]),
    ["[macvlan-server-address] networks.lan.serverAddresses.flop: there is no such server; name another"],
  ],
  [
    "dhcp where nobody hears it",
    changed(
      ["kind: macvlan, subnet: 10.6.1.0/24", "kind: bridge, mode: nat, subnet: 10.6.1.0/24"],
      [", serverAddresses: { flip: 10.6.1.250 }", ""],
      ["address: 10.6.1.10", "address: dhcp"],
    ),
    [
      "[address] systems.web.networks.lan.address: nobody hears it ask in a network of kind bridge nat; use a segment: macvlan, or bridge in mode l2",
    ],
  ],
  [
    "a route to no prefix",
    changed(["to: 10.9.0.0/16", "to: 10.9.0.1/16"]),
    ['[route] systems.web.routes[0].to: "10.9.0.1/16" is no prefix; write one like 10.1.0.0/16, or "default"'],
  ],
  [
    "a route by nobody",
    changed(["via: db", "via: dp"]),
    ['[route] systems.web.routes[0].via: "dp" is no address, and no system; name a system that shares a network with it'],
  ],
  [
    "a route by who is no neighbour",
    changed(["via: db", "via: 10.40.0.1"]),
    [
      "[route] systems.web.routes[0].via: 10.40.0.1 is nobody that web reaches by an interface of its own, with an address of the route's family; name a next hop that is its neighbour",
    ],
  ],
  [
    "a route by the system's own address",
    changed(["via: db", "via: 10.6.1.10"]),
    [
      "[route] systems.web.routes[0].via: 10.6.1.10 is nobody that web reaches by an interface of its own, with an address of the route's family; name a next hop that is its neighbour",
    ],
  ],
  [
    "two ways to one prefix",
    changed(["routes: [{ to: 10.9.0.0/16, via: db }]", "routes: [{ to: default, via: db }, { to: 0.0.0.0/0, via: 10.6.1.77 }]"]),
    ["[route] systems.web.routes[1].to: routes[0] has a way to default already; leave one of them out"],
  ],
  [
    "a router that docker sets up",
    changed(["kind: macvlan, subnet: 10.6.1.0/24, serverAddresses: { flip: 10.6.1.250 }", "kind: swarm, subnet: 10.6.1.0/24"]),
    ["[router-kind] systems.web.routes: docker sets up a system in a network of kind swarm; leave it out, or use another kind"],
  ],
  [
    "a gateway's interface with strongSwan's name",
    changed(["networks: [{ name: wan }, { name: in-a }]", "networks: [{ name: wan, interface: ipsec0 }, { name: in-a }]"]),
    ["[vpn-gateway] systems.gw-a.networks: ipsec0 is what strongSwan may call its own; give the interface another name"],
  ],
  [
    "a gateway's rules that touch what keeps it closed",
    {
      ...changed(["name: gw-a, tenant: lab,", "name: gw-a, tenant: lab, nftables: rules.nft,"]),
      policies: { "rules.nft": "flush table inet flipflap_vpn\n" },
    },
    ["[vpn-gateway] systems.gw-a.nftables: rules.nft names flipflap_vpn, which keeps the gateway closed; give the table another name"],
  ],
  [
    "a file of rules that there is not",
    changed(["name: a1, tenant: lab,", "name: a1, tenant: lab, nftables: rules.nft,"]),
    ['[nftables-file] systems.a1.nftables: there is no file "rules.nft"; make it, or leave it out'],
  ],
  [
    "a site with nothing right",
    changed(["gateway: gw-b, inside: in-b", "gateway: gw-c, inside: in-c"]),
    [
      '[site] sites.site-b.gateway: there is no system "gw-c"; did you mean "gw-a"?',
      '[site] sites.site-b.inside: there is no network "in-c"; did you mean "in-a"?',
    ],
  ],
  [
    "a site whose gateway is not inside, and prefixes that are none",
    changed(["gateway: gw-b, inside: in-b", "gateway: gw-b, inside: in-a, prefixes: [10.4.2.1/24]"]),
    [
      "[site] sites.site-b.inside: gw-b is not in in-a; add { name: in-a } to the networks of gw-b",
      '[site] sites.site-b.prefixes: "10.4.2.1/24" is no prefix; write one like 10.1.0.0/16',
      "[tunnel] tunnels.a-b.families: site-a and site-b have no family in common; give both prefixes of one",
    ],
  ],
  [
    "sites that overlap",
    changed(["subnet: 10.4.2.0/24", "subnet: 10.4.1.0/25"]),
    ["[site-overlap] sites.site-b: 10.4.1.0/25 overlaps 10.4.1.0/24 of site site-a; give one of them other prefixes"],
  ],
  [
    "a gateway that forwards nothing, of another image, with a command",
    changed(
      ["name: gw-b, tenant: lab, server: flap, router: true,", "name: gw-b, tenant: lab, server: flap, image: tools, command: [sleep],"],
      [", gateway: gw-b }", " }"],
    ),
    [
      "[vpn-gateway] systems.gw-b.router: it is a gateway, and forwards nothing; write router: true",
      "[vpn-gateway] systems.gw-b.image: tools has no strongSwan; leave it out: a gateway's image is strongswan",
      "[vpn-gateway] systems.gw-b.command: a gateway runs strongSwan; leave it out",
    ],
  ],
  [
    "a gateway without an outside",
    changed([
      "server: flap, router: true, networks: [{ name: wan }, { name: in-b }]",
      "server: flap, router: true, networks: [{ name: in-b }]",
    ]),
    ["[vpn-gateway] systems.gw-b.networks: the gateway has no network but its site's inside; add the network that it reaches others by"],
  ],
  [
    "a tunnel to nowhere",
    changed(["between: [site-a, site-b]", "between: [site-a, site-c]"]),
    ['[tunnel] tunnels.a-b.between: there is no site "site-c"; did you mean "site-a"?'],
  ],
  [
    "a tunnel between a site and a gateway",
    changed(["between: [site-a, site-b]", "between: [site-a, gw-b]"]),
    ["[tunnel] tunnels.a-b.between: gw-b is a system, and mode site-to-site joins sites; name its site, or write mode: host-to-host"],
  ],
  [
    "a tunnel of a family that an end has not",
    changed(["between: [site-a, site-b]", "between: [site-a, site-b], families: [ipv6], outer: ipv6"]),
    [
      "[tunnel] tunnels.a-b.outer: gw-a has no ipv6 address in wan; give the network a subnet6, or choose the other family",
      "[tunnel] tunnels.a-b.outer: gw-b has no ipv6 address in wan; give the network a subnet6, or choose the other family",
      "[tunnel] tunnels.a-b.families: site-b has no ipv6 prefix; leave ipv6 out, or give it one",
    ],
  ],
  [
    "a tunnel to itself",
    changed(["{ name: site-b, gateway: gw-b, inside: in-b }", "{ name: site-b, gateway: gw-a, inside: in-a, prefixes: [10.5.0.0/16] }"]),
    ["[tunnel] tunnels.a-b.between: both ends are gw-a; name two gateways"],
  ],
  [
    "two tunnels for the same packets",
    changed(["  - { name: hosts,", "  - { name: again, between: [site-b, site-a] }\n  - { name: hosts,"]),
    ["[tunnel-twice] tunnels.again: carries the ipv4 packets of a-b; leave one of them out"],
  ],
  [
    "a tunnel of two families whose parts are called as another",
    changed(
      ["subnet: 10.4.2.0/24, gateway", 'subnet: 10.4.2.0/24, subnet6: "fd04:0:2::/64", gateway'],
      ["  - { name: hosts,", "  - { name: a-b-ipv4, between: [gw-a, gw-b], mode: host-to-host }\n  - { name: hosts2,"],
      ["  - { name: hosts2, between: [gw-a, gw-b], mode: host-to-host }\n", ""],
    ),
    ["[tunnel-name] tunnels.a-b-ipv4: strongSwan would know both it and a-b by the name a-b-ipv4; rename one of them"],
  ],
  [
    "proposals that strongSwan does not know",
    changed(
      ["between: [site-a, site-b]", "between: [site-a, site-b], esp: [aes128gcm16-x25519, aes-256-gcm]"],
      ["tunnels:\n", "vpn: { ike: [aes256-sha256-modp2049] }\ntunnels:\n"],
    ),
    [
      '[vpn-proposal] vpn.ike: "modp2049" of "aes256-sha256-modp2049" is no word of strongSwan\'s; write one like "aes128gcm16-x25519" or "aes256-sha256-modp2048"',
      '[vpn-proposal] tunnels.a-b.esp: "256" of "aes-256-gcm" is no word of strongSwan\'s; write one like "aes128gcm16-x25519" or "aes256-sha256-modp2048"',
    ],
  ],
  [
    "certificates for sites without a tunnel, and no hub",
    {
      testbed: `${good.replace(/tunnels:\n(.*\n){2}/, "")}vpn: { auth: certificates }\n`,
      stacks: { flip: goodStacks.flap, flap: goodStacks.flap },
    },
    [
      "[vpn-hub] sites: secrets and certificates of gateways arise on the hub, and no server is it; write flipflap:hub: true in one stack file",
    ],
  ],
  [
    "tunnels without a hub",
    {
      ...changed(["between: [site-a, site-b]", "between: [site-a, site-b], families: [ipv4]"]),
      stacks: { flip: goodStacks.flap, flap: goodStacks.flap },
    },
    [
      "[vpn-hub] tunnels: secrets and certificates of gateways arise on the hub, and no server is it; write flipflap:hub: true in one stack file",
    ],
  ],
];
