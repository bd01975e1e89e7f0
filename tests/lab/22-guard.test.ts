/** What a hostile review got through, with the guard off (it gets through: the attacks are real) and on (it does not). */
import { beforeAll, describe, expect, inject, it } from "vitest";
import type { Status } from "../../cli/verbs/status";
import { portName } from "../../components/net/names";
import { Project, succeeded } from "../../support/scratchProject";
import {
  addressBytes,
  arpRequest,
  ethernet,
  hostile,
  ipv4,
  macBytes,
  ping,
  routerAdvertisement,
  sendWords,
  udp,
  vxlan,
} from "../support/frames";
import { onLab } from "../support/onLab";

const project = new Project(inject("root"));
const { bringUp, onServer, passes, inSystem, changesOfAnotherUp } = onLab(project);
const servers = ["flip", "flap"];

const testbed = `
tenants: [{ name: red }, { name: blue }]
networks:
  - { name: rednat, tenant: red, kind: bridge, mode: nat, subnet: 10.90.0.0/24 }
  - { name: redl2, tenant: red, kind: bridge, mode: l2, subnet: 10.91.0.0/24 }
  - { name: redlocal, tenant: red, kind: macvlan, parent: local, subnet: 10.92.0.0/24, serverAddresses: { flip: 10.92.0.254 } }
  - { name: redroute, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.93.1.0/24, flap: 10.93.2.0/24 } }
  - { name: redrouter, tenant: red, kind: bridge, mode: router, subnets: { flip: 10.95.1.0/24, flap: 10.95.2.0/24 } }
  - { name: basenet, tenant: blue, kind: netns, subnet: 10.94.0.0/24 }
  - { name: blueevpn, tenant: blue, kind: evpn, vn: 136, subnet: 10.1.2.0/24 }
  - { name: blueroute, tenant: blue, kind: bridge, mode: routed, subnets: { flip: 10.96.1.0/24, flap: 10.96.2.0/24 } }
systems:
  - { name: nat1, tenant: red, server: flip, networks: [{ name: rednat, address: 10.90.0.11 }] }
  - { name: l21, tenant: red, server: flip, networks: [{ name: redl2, address: 10.91.0.11 }] }
  - { name: loc1, tenant: red, server: flip, networks: [{ name: redlocal, address: 10.92.0.11 }] }
  - { name: open1, tenant: red, server: flip, labels: { id: open }, networks: [{ name: redroute, address: 10.93.1.11 }] }
  - { name: shut1, tenant: red, server: flip, labels: { id: shut }, networks: [{ name: redroute, address: 10.93.1.12 }] }
  - { name: rt1, tenant: red, server: flip, networks: [{ name: redrouter, address: 10.95.1.11 }] }
  - { name: base1, tenant: blue, server: flip, networks: [{ name: basenet, address: 10.94.0.11 }] }
  - { name: base2, tenant: blue, server: flip, networks: [{ name: basenet, address: 10.94.0.12 }] }
  - { name: b1, tenant: blue, server: flip, networks: [{ name: blueevpn, address: 10.1.2.11 }] }
  - { name: b2, tenant: blue, server: flap, networks: [{ name: blueevpn, address: 10.1.2.12 }] }
  - { name: c1, tenant: blue, server: flip, networks: [{ name: blueroute, address: 10.96.1.11 }] }
  - { name: c2, tenant: blue, server: flap, networks: [{ name: blueroute, address: 10.96.2.11 }] }
policies: [policies/shut.json]
links: [{ between: [flip, flap], mtuBytes: 9000 }]
`;
const policy = [{ endpointSelector: { matchLabels: { id: "shut" } }, ingress: [{ fromEndpoints: [{ matchLabels: { id: "nobody" } }] }] }];

interface Place {
  readonly management: string;
  readonly underlay: { readonly flip: string; readonly flap: string };
}
let place: Place;

const macOf = async (system: string): Promise<string> => (await inSystem(system, "cat", "/sys/class/net/eth0/address")).stdout.trim();
const macOn = async (device: string): Promise<string> => (await onServer("flip", `cat /sys/class/net/${device}/address`)).trim();
/** Makes a system send what is for an address to a MAC. */
const aim = async (system: string, address: string, mac: string): Promise<void> => {
  succeeded(
    await inSystem(
      system,
      "sh",
      "-c",
      `ip neigh replace ${address} lladdr ${mac} dev eth0 nud permanent; ip route replace ${address}/32 dev eth0`,
    ),
  );
};
const banner = async (system: string): Promise<boolean> =>
  (await inSystem(system, "sh", "-c", `ncat -w2 ${place.management} 22 </dev/null`)).stdout.includes("SSH-");

/** Each tells whether it got through. */
const attacks: readonly (readonly [string, () => Promise<boolean>])[] = [
  ["sshd of its server, from kind bridge routed", () => banner("open1")],
  ["sshd of its server, from kind bridge nat", () => banner("nat1")],
  [
    "sshd of its server, from kind bridge l2, by the bridge's MAC",
    async () => {
      await aim("l21", place.management, await macOn("br-redl2"));
      await onServer("flip", "ip route replace 10.91.0.11/32 dev br-redl2");
      const got = await banner("l21");
      await onServer("flip", "ip route del 10.91.0.11/32 dev br-redl2");
      return got;
    },
  ],
  ["the gateway of another tenant", async () => (await inSystem("open1", "ping", "-c1", "-W1", "10.96.1.1")).code === 0],
  ["a namespace of another tenant, from nat", async () => (await inSystem("nat1", "ping", "-c1", "-W1", "10.94.0.11")).code === 0],
  [
    "another tenant's system on the other server, by a forged source past the router",
    async () => {
      const frame = ethernet(await macOn("br-redrouter"), await macOf("rt1"), 0x0800, ipv4("10.96.1.99", "10.96.2.11", 1, ping()));
      return passes("flap", portName({ network: "blueroute", system: "c2" }), hostile, () => inSystem("rt1", ...sendWords("eth0", frame)));
    },
  ],
  [
    "the server's underlay address by ARP, from parent: local",
    async () => {
      const frame = arpRequest(await macOf("loc1"), "10.92.0.11", place.underlay.flip);
      // A reply of the server's.
      return passes("flip", "mw-redlocal", Buffer.from("08060001080006040002", "hex"), () => inSystem("loc1", ...sendWords("eth0", frame)));
    },
  ],
  [
    "the underlay, by the server's interface in a macvlan network",
    async () => {
      await inSystem("loc1", "ip", "route", "replace", `${place.underlay.flap}/32`, "via", "10.92.0.254");
      return passes("flap", "up0", addressBytes("10.92.0.11"), () => inSystem("loc1", "ping", "-c2", "-W1", place.underlay.flap));
    },
  ],
  [
    "the server's routing, by a router advertisement",
    async () => {
      const mac = await macOf("l21");
      const frame = routerAdvertisement(mac, "fe80::bad", "fd66::");
      await inSystem("l21", ...sendWords("eth0", frame));
      const got = (await onServer("flip", "ip -6 route show proto ra; ip -6 -o addr show")).includes("fd66:");
      await onServer("flip", "ip -6 route flush proto ra; ip -6 addr flush dev br-redl2 scope global");
      return got;
    },
  ],
  [
    "another tenant's segment on the other server, by VXLAN of its own through nat",
    async () => {
      const inner = arpRequest("02:66:66:66:66:66", "10.1.2.66", "10.1.2.12");
      const [gateway, own] = [await macOn("br-rednat"), await macOf("nat1")];
      const frame = ethernet(gateway, own, 0x0800, ipv4("10.90.0.11", place.underlay.flap, 17, udp(5555, 4789, vxlan(136, inner))));
      return passes("flap", portName({ network: "blueevpn", system: "b2" }), macBytes("02:66:66:66:66:66"), () =>
        inSystem("nat1", ...sendWords("eth0", frame)),
      );
    },
  ],
  [
    "another tenant's segment on its own server, by VXLAN of its own",
    async () => {
      const inner = arpRequest("02:66:66:66:66:67", "10.1.2.67", "10.1.2.11");
      const frame = ethernet(
        await macOn("br-redroute"),
        await macOf("open1"),
        0x0800,
        ipv4(place.underlay.flap, place.underlay.flip, 17, udp(5555, 4789, vxlan(136, inner))),
      );
      return passes("flip", portName({ network: "blueevpn", system: "b1" }), macBytes("02:66:66:66:66:67"), () =>
        inSystem("open1", ...sendWords("eth0", frame)),
      );
    },
  ],
  [
    "a system that a policy shuts, by a frame with VLAN tag 0",
    async () => {
      const frame = ethernet(await macOf("shut1"), await macOf("open1"), 0x0800, ipv4("10.93.1.11", "10.93.1.12", 1, ping()), [0]);
      return passes("flip", portName({ network: "redroute", system: "shut1" }), hostile, () =>
        inSystem("open1", ...sendWords("eth0", frame)),
      );
    },
  ],
  [
    "and by two of them",
    async () => {
      const frame = ethernet(await macOf("shut1"), await macOf("open1"), 0x0800, ipv4("10.93.1.11", "10.93.1.12", 1, ping()), [0, 0]);
      return passes("flip", portName({ network: "redroute", system: "shut1" }), hostile, () =>
        inSystem("open1", ...sendWords("eth0", frame)),
      );
    },
  ],
];

describe("the guard", () => {
  const before = new Map<string, string>();
  const got = new Map<string, boolean>();
  beforeAll(async () => {
    project.write("policies/shut.json", JSON.stringify(policy));
    project.write("testbeds/guard.yaml", testbed);
    await bringUp("guard", servers, before);
    const { servers: lab } = JSON.parse(project.read(".flipflap/lab.json")) as {
      servers: Record<string, { address: string; underlay: { ipv4: string } }>;
    };
    const underlay = (server: string): string => lab[server]?.underlay.ipv4.split("/")[0] ?? "";
    place = { management: lab.flip?.address ?? "", underlay: { flip: underlay("flip"), flap: underlay("flap") } };
  });

  it("is needed: without it all of this gets through", async () => {
    for (const server of servers) {
      await onServer(
        server,
        `for family in inet arp bridge; do nft list table $family flipflap-${server} >/dev/null 2>&1 && nft delete table $family flipflap-${server}; done; :`,
      );
    }
    for (const [what, attack] of attacks) got.set(what, await attack());
    expect(Object.fromEntries(got)).toEqual(Object.fromEntries(attacks.map(([what]) => [what, true])));
  });

  it("is known to drift and mended by repair, and lets by what networks are for", async () => {
    expect((await project.flipflap("drift")).stdout).toMatch(/flap-guard \(guard\): missing/);
    succeeded(await project.flipflap("repair"));
    expect(succeeded(await project.flipflap("check"))).toMatch(/ 0 not as declared; \d+ ways probed, 0 closed/);
    for (const [system, gateway] of [
      ["open1", "10.93.1.1"],
      ["nat1", "10.90.0.1"],
      ["loc1", "10.92.0.254"],
      ["rt1", "10.95.1.1"],
    ] as const)
      expect([system, (await inSystem(system, "ping", "-c1", "-W2", gateway)).code]).toEqual([system, 0]);
    expect((await inSystem("base1", "ping", "-c1", "-W2", "10.94.0.12")).code).toBe(0);
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it.each(attacks)("closes %s", async (_, attack) => {
    expect(await attack()).toBe(false);
  });

  it("counts what it drops, by reason, and status shows it", async () => {
    const { observed } = JSON.parse((await project.flipflap("status", "--json")).stdout) as Status;
    const dropped = observed.filter(({ kind }) => kind === "guard").flatMap(({ rows }) => rows.map(([reason]) => reason));
    for (const reason of [
      "to the server itself",
      "router advertisements and redirects",
      "tunnel packets that no server has sent",
      "VLAN tags past a filter",
    ])
      expect(dropped).toContain(reason);
  });

  it("is known to drift where a rule or a device's group is changed, and mended by repair", async () => {
    await onServer("flip", "nft add rule inet flipflap-flip input iifname br-redl2 accept; ip link set dev br-redl2 group default");
    const { stdout } = await project.flipflap("drift");
    expect(stdout).toMatch(/flip-guard \(guard\): different\n +rules: wanted "as declared", found "changed"/);
    expect(stdout).toMatch(/outsideOurGroup: has, undeclared, br-redl2/);
    succeeded(await project.flipflap("repair"));
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("gives both servers back", async () => {
    for (const stack of [...servers].reverse()) succeeded(await project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview"));
    const { serverSnapshot } = await import("../support/snapshot");
    for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
    project.use("bridge");
  });
});
