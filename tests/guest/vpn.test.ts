/**
 * Tunnels by the kernel's own ESP, VLANs and ipvlan, which the kernels of labs may lack: Debian's cloud kernel in QEMU. The
 * product's own scripts set two namespaces up as servers there, its agent attaches systems, and gateways run its start script.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { tunnelPolicies } from "../../components/capabilities/vpn/objects/sas";
import type { Declaration } from "../../components/config/declaration";
import type { Testbed } from "../../components/config/types.gen";
import { systemContainer } from "../../components/net/names";
import { ruleFaults } from "../../components/plan/check";
import { planServer } from "../../components/plan/plan";
import { isBare } from "../../components/plan/systems";
import { guestImpossible, needsGuest } from "./guest";
import {
  buildGuestAgent,
  guestDown,
  guestNames,
  guestOutput,
  guestPrelude,
  guestServers,
  guestUp,
  writeGuestScripts,
} from "./guestServers";

const testbed: Testbed = {
  tenants: [{ name: "lab" }],
  networks: [
    { name: "site-a", tenant: "lab", kind: "macvlan", parent: "local", subnet: "10.4.1.0/24", subnet6: "fd04:0:1::/64", gateway: "gw-a" },
    {
      name: "site-b",
      tenant: "lab",
      kind: "macvlan",
      parent: "local",
      subnet: "10.4.2.0/24",
      subnet6: "fd04:0:2::/64",
      gateway: "gw-b",
    },
    { name: "wan-a", tenant: "lab", kind: "macvlan", parent: "local", subnet: "10.40.1.0/24", gateway: "internet" },
    { name: "wan-b", tenant: "lab", kind: "macvlan", parent: "vlan 40", subnet: "10.40.2.0/24", gateway: "internet" },
    { name: "flat", tenant: "lab", kind: "macvlan", parent: "vlan 41", driver: "ipvlan", subnet: "10.4.9.0/24" },
  ],
  systems: [
    { name: "f1", tenant: "lab", server: "flip", networks: [{ name: "flat", address: "10.4.9.1" }] },
    { name: "f2", tenant: "lab", server: "flap", networks: [{ name: "flat", address: "10.4.9.2" }] },
    { name: "f3", tenant: "lab", server: "flap", networks: [{ name: "flat", address: "10.4.9.3" }] },
    { name: "internet", tenant: "lab", server: "flip", router: true, networks: [{ name: "wan-a" }, { name: "wan-b" }] },
    { name: "gw-a", tenant: "lab", server: "flip", router: true, networks: [{ name: "wan-a" }, { name: "site-a", address: "10.4.1.1" }] },
    { name: "gw-b", tenant: "lab", server: "flap", router: true, networks: [{ name: "wan-b" }, { name: "site-b", address: "10.4.2.1" }] },
    { name: "a1", tenant: "lab", server: "flip", networks: [{ name: "site-a", address: "10.4.1.10", address6: "fd04:0:1::10" }] },
    { name: "b1", tenant: "lab", server: "flap", networks: [{ name: "site-b", address: "10.4.2.10", address6: "fd04:0:2::10" }] },
  ],
  sites: [
    { name: "site-a", gateway: "gw-a", inside: "site-a" },
    { name: "site-b", gateway: "gw-b", inside: "site-b" },
  ],
  tunnels: [
    { name: "a-b", between: ["site-a", "site-b"] },
    { name: "a-b-hosts", between: ["gw-a", "gw-b"], mode: "host-to-host", families: ["ipv4"] },
  ],
  vpn: { dataPlane: "kernel" },
  links: [{ between: ["flap", "flip"], mtuBytes: 1500 }],
};

const declaration: Declaration = { name: "guest", testbed, servers: guestServers, policies: [], nftables: {}, firewallRules: {} };
const gateways = ["gw-a", "gw-b"];
const addressOf = (system: string, network: string): string =>
  guestServers
    .flatMap((at) => planServer(declaration, at).systems)
    .find((one) => one.system.name === system)
    ?.interfaces.find((iface) => iface.network === network)
    ?.addresses[0]?.split("/")[0] ?? "";

/** The container of a gateway as a mount namespace: what its files, folders and command would be there. */
function gatewayLines(gateway: string): string[] {
  const plan = guestServers.flatMap((at) => planServer(declaration, at).systems).find((one) => one.system.name === gateway);
  if (plan === undefined || isBare(plan) || plan.addition === undefined) throw new Error(`${gateway} is no gateway`);
  const { folder, files } = plan.addition;
  const texts = files.map(({ path, content }) => {
    const text = content.map((piece) => (typeof piece === "string" ? piece : "a secret of both")).join("");
    return `cat >${path} <<'END'\n${text}\nEND`;
  });
  return [
    `cat >/run/start-${gateway} <<'OUTER'`,
    "mount -t tmpfs tmp /tmp; cp -r /etc /tmp/etc; mount --bind /tmp/etc /etc; mount -t tmpfs tmp /run; mkdir -p /var; ln -sfn /run /var/run",
    `mkdir -p ${folder.container}; mount --bind /var/lib/flipflap/${plan.system.server}/${folder.server} ${folder.container}`,
    ...texts,
    `exec ${plan.addition.command.join(" ")}`,
    "OUTER",
    `ip netns exec ${gateway} unshare -m sh /run/start-${gateway} >/run/${gateway}.log 2>&1 & eval "$(echo ${gateway} | tr - _)=$!"`,
  ];
}

const inGateway = (gateway: string, command: string): string => `nsenter -t "$${gateway.replace("-", "_")}" -m -n ${command}`;

const ping = (title: string, from: string, to: string): string =>
  `echo "=== ${title}"; ip netns exec ${from} ping -n -q -c 3 -i 0.2 -W 2 ${to} | grep received || :`;

/** All that the router sees but neighbours' words, while something is done. There is no IPv6 on its networks but these. */
const atRouter = (title: string, ...during: string[]): string[] => [
  `ip netns exec internet tcpdump -Z root -n -l -i any "not arp and not ip6" >/run/seen 2>/run/tap.log & tap=$!`,
  "until grep -q listening /run/tap.log; do sleep 0.1; done",
  ...during,
  "sleep 0.5; kill -INT $tap; wait $tap || :",
  `echo "=== ${title}"; cat /run/seen`,
];

async function makeJob(folder: string): Promise<void> {
  await buildGuestAgent(folder);
  writeGuestScripts(folder, 0, declaration);
  const [hostA, hostB] = [addressOf("gw-a", "wan-a"), addressOf("gw-b", "wan-b")];
  const quiet = (from: string, to: string): string => `ip netns exec ${from} ping -n -q -c 3 -i 0.2 -W 1 ${to} >/dev/null 2>&1 || :`;
  const lines = [
    guestPrelude(["veth", "macvlan", "ipvlan", "8021q", "tun", "esp4", "esp6", "xfrm_user", "nf_tables", "nft_masq", "nft_chain_nat"]),
    "mkdir -p /var/lib",
    ...guestUp(0, declaration, ""),
    `echo "=== parents"; ip -n f2 -d -o link show dev eth0; on flap ip -d -o link show dev mv-wan-b`,
    ping("ipvlan across", "f1", "10.4.9.2"),
    ping("ipvlan on one server", "f2", "10.4.9.3"),
    ...atRouter(
      "before",
      quiet("a1", "10.4.2.10"),
      quiet("b1", "10.4.1.10"),
      quiet("gw-a", hostB),
      quiet("gw-a", addressOf("internet", "wan-a")),
    ),
    ...gateways.flatMap(gatewayLines),
    // The start script makes the folder of what it has seen; a tunnel takes a second or two by this emulation.
    `for i in $(seq 60); do if ip netns exec a1 ping -n -q -c 1 -W 1 10.4.2.10 >/dev/null 2>&1; then break; fi; sleep 0.5; done`,
    ...atRouter(
      "wire",
      ping("ipv4", "a1", "10.4.2.10"),
      ping("ipv6", "a1", "fd04:0:2::10"),
      ping("hosts", "gw-a", hostB),
      `ip netns exec b1 iperf3 -s -1 -D; sleep 0.3; echo "=== tcp"; ip netns exec a1 iperf3 -c 10.4.2.10 -t 1 -f m --connect-timeout 3000 2>&1 | grep -E 'receiver|error' || :`,
    ),
    ...gateways.map((gateway) => `echo "=== ${gateway} log"; cat /run/${gateway}.log`),
    `echo "=== plane"; ${inGateway("gw-a", "cat /run/flipflap-plane")}`,
    `echo "=== sas"; ${inGateway("gw-a", "swanctl --list-sas")}`,
    `inside() { ip netns exec gw-a "$@"; }; echo "=== policies"; ${tunnelPolicies.text}`,
    // A gateway that masquerades whatever leaves: with another source a packet is no tunnel's any more.
    `ip netns exec gw-a nft -f - <<'END'\ntable ip own { chain out { type nat hook postrouting priority srcnat; oifname "eth0" masquerade; }; }\nEND`,
    ...atRouter("masqueraded", quiet("a1", "10.4.2.10"), quiet("a1", addressOf("internet", "wan-b"))),
    `ip netns exec gw-a nft delete table ip own`,
    // Without strongSwan the kernel goes on with what it has; without that nothing goes.
    ...gateways.map((gateway) => `kill -9 "$${gateway.replace("-", "_")}" || :`),
    ...gateways.map((gateway) => `ip netns exec ${gateway} sh -c 'ip xfrm state flush; ip xfrm policy flush'`),
    ...atRouter("after", quiet("a1", "10.4.2.10"), quiet("b1", "10.4.1.10"), quiet("gw-b", hostA)),
    ...declaration.testbed.systems.map((system) => `ip netns del ${system.name}`),
    ...guestDown(0),
    `echo "=== leftovers"`,
    ...guestNames.flatMap((name) => [
      `on ${name} ip -o link show | grep -vE ' (lo|up0)[:@]' || :`,
      `on ${name} find /var/lib/flipflap/${name} -mindepth 1 2>/dev/null || :`,
    ]),
  ];
  writeFileSync(join(folder, "run"), `${lines.join("\n")}\n`);
}

describe("tunnels by the kernel", () => {
  let output: ReadonlyMap<string, string> = new Map();
  needsGuest();
  const seen = (title: string): string[] => (output.get(title) ?? "none").split("\n").filter((line) => line !== "");

  beforeAll(async () => {
    if (guestImpossible() !== undefined) return;
    output = await guestOutput(makeJob, 220);
  });

  it("declare what the rules allow, with containers' names as they are", () => {
    expect(ruleFaults(declaration)).toEqual([]);
    expect(gateways.map(systemContainer)).toEqual(["ff-gw-a", "ff-gw-b"]);
  });

  it("sit on a VLAN of the uplinks, and on ipvlan", () => {
    expect(output.get("parents")).toMatch(/ ipvlan +mode l2 bridge/);
    expect(output.get("parents")).toMatch(/vlan protocol 802.1Q id 40 /);
  });

  it("are closed before strongSwan runs, and when all of it is gone", () => {
    // But for what is open: the gateway and the router.
    const open = seen("before").filter((line) => line.includes("ICMP echo"));
    expect(open.length).toBeGreaterThan(2);
    const others = (lines: readonly string[]): string[] => lines.filter((line) => !line.includes(addressOf("internet", "wan-a")));
    expect(others(seen("before"))).toEqual([]);
    expect(others(seen("after"))).toEqual([]);
  });

  it.each(["ipv4", "ipv6", "hosts", "ipvlan across", "ipvlan on one server"])("carry packets: %s", (title) => {
    expect(output.get(title)).toContain("3 received");
  });

  it("carry TCP, of which the router sees IKE and ESP alone", () => {
    expect(output.get("tcp")).toMatch(/ [1-9][\d.]* [MG]bits\/sec .*receiver/);
    const lines = seen("wire");
    expect(lines.filter((line) => /: ESP\(spi=0x/.test(line)).length).toBeGreaterThan(50);
    expect(lines.filter((line) => !/: ESP\(spi=0x|\.500 > |\.4500 > /.test(line))).toEqual([]);
  });

  it("are the kernel's own", () => {
    expect(output.get("plane")).toBe("kernel");
    expect(output.get("sas")).toMatch(/a-b-ipv4: .*INSTALLED, TUNNEL, ESP:AES_GCM_16-128/);
    expect(seen("policies")).toEqual(
      expect.arrayContaining([
        "src 10.4.1.0/24 dst 10.4.2.0/24 dir out",
        "src 10.4.2.0/24 dst 10.4.1.0/24 dir in",
        "src 10.4.2.0/24 dst 10.4.1.0/24 dir fwd",
        "src fd04:0:1::/64 dst fd04:0:2::/64 dir out",
      ]),
    );
  });

  it("stay closed where a gateway masquerades", () => {
    const lines = seen("masqueraded");
    const open = lines.filter((line) => line.includes(`${addressOf("gw-a", "wan-a")} > ${addressOf("internet", "wan-b")}`));
    expect(open.length).toBeGreaterThan(0);
    expect(lines.filter((line) => line.includes("10.4.2.") && !/: ESP\(spi=0x|\.500 > |\.4500 > /.test(line))).toEqual([]);
  });

  it("leave nothing behind when they are taken away", () => {
    expect(output.get("leftovers")).toBe("");
  });
});
