/**
 * What gets to whom, of every kind, in every way: the leak matrix (tests/support/leaks), without the guard (then it sees leaks,
 * and attacks are real) and with it (then there are none, and all that must pass passes).
 */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { Status } from "../../cli/verbs/status";
import { deviceGroup, deviceName } from "../../components/net/names";
import { arpRequest, ethernet, ipv4, routerAdvertisement, sendWords, udp } from "../support/frames";
import { type Cell, cellsOf } from "../support/leaks/cells";
import { matrixTestbed, sampleNetworks, servers, shutPolicy } from "../support/leaks/samples";
import { openWire, tryCells, type Wire } from "../support/leaks/wire";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const { bringUp, onServer, passes, inSystem, changesOfAnotherUp, destroyAll } = onLab(project);
const tables = (server: string): string => `flipflap-${server}`;

/** What tells by more than where a frame arrives whether an attack succeeds. */
const attacks: readonly (readonly [string, (wire: Wire) => Promise<boolean>])[] = [
  [
    "sshd of its server, from kind bridge",
    async ({ lab }) => {
      const address = lab.hosts.find(({ server }) => server === "flip")?.addresses[0] ?? "";
      return (await inSystem("red-routed-flip", "sh", "-c", `ncat -w2 ${address} 22 </dev/null`)).stdout.includes("SSH-");
    },
  ],
  [
    "the server's underlay address by ARP, from parent: local",
    async ({ lab }) => {
      const from = lab.stations.find(({ name }) => name === "red-local-flip");
      const underlay = lab.hosts.find(({ server }) => server === "flip")?.underlay[0] ?? "";
      const frame = arpRequest(from?.mac ?? "", from?.addresses[0] ?? "", underlay);
      // A reply of the server's.
      return passes("flip", deviceName("mw-", "red-local"), Buffer.from("08060001080006040002", "hex"), () =>
        inSystem("red-local-flip", ...sendWords("eth0", frame)),
      );
    },
  ],
  [
    "the server's routing, by a router advertisement",
    async ({ lab }) => {
      const from = lab.stations.find(({ name }) => name === "red-l2-flip");
      // A server that forwards takes none by itself.
      await onServer("flip", "sysctl -qw net.ipv6.conf.br-red-l2.accept_ra=2");
      await inSystem("red-l2-flip", ...sendWords("eth0", routerAdvertisement(from?.mac ?? "", "fe80::bad", "fd66:bad::")));
      const got = (await onServer("flip", "ip -6 route show proto ra; ip -6 -o addr show")).includes("fd66:bad:");
      await onServer(
        "flip",
        "ip -6 route flush proto ra; ip -6 addr flush dev br-red-l2 scope global; sysctl -qw net.ipv6.conf.br-red-l2.accept_ra=1",
      );
      return got;
    },
  ],
];

/** Another system's address of its own segment, by kinds that give systems a port. */
const impersonations = ["red-l2-flip", "red-evpn-flip"].flatMap((system) =>
  (["address", "MAC"] as const).map((what): readonly [string, (wire: Wire) => Promise<boolean>] => [
    `another's ${what}, from ${system}`,
    async ({ lab }) => {
      const from = lab.stations.find(({ name }) => name === system);
      const tag = Buffer.from(`ff!${what}!${system}`);
      const [mac, address] = what === "MAC" ? ["02:66:66:66:66:66", from?.addresses[0]] : [from?.mac, "10.66.0.66"];
      const frame = ethernet("ff:ff:ff:ff:ff:ff", mac ?? "", 0x0800, ipv4(address ?? "", "255.255.255.255", 17, udp(5555, 7777, tag)));
      return passes("flip", deviceName("br-", from?.network.network ?? ""), tag, () => inSystem(system, ...sendWords("eth0", frame)));
    },
  ]),
);

const closed = [...attacks, ...impersonations];

/** All of a server's guard: its tables, and the programs at systems' ports. */
const withoutGuard = (server: string): string =>
  `for family in inet arp bridge; do if nft list table $family ${tables(server)} >/dev/null 2>&1; then nft delete table $family ${tables(server)}; fi; done
rm -f /sys/fs/bpf/flipflap-${server}/guard/guard_out-*`;

describe("the guard", () => {
  const before = new Map<string, string>();
  let wire: Wire;
  let cells: readonly Cell[];
  const matrix = async (some: (cell: Cell) => boolean) => {
    const { leaks, lost, unsent } = await tryCells(wire, cells, some);
    return {
      lost,
      unsent: unsent.map(({ from, way }) => `${from.name}: ${way}`),
      leaks: leaks.map(({ cell, by }) => `${cell.from.name} to ${cell.target} (${cell.what}; ${cell.way}): ${by.join(", ")} got it`),
    };
  };

  beforeAll(async () => {
    project.write("policies/shut.json", JSON.stringify(shutPolicy));
    project.write("testbeds/matrix.yaml", matrixTestbed("policies/shut.json"));
    const status = await bringUp("matrix", servers, before);
    // Cilium's servers find one another when they do.
    expect(await eventually(async () => (await project.flipflap("check")).code === 0, 120)).toBe(true);
    wire = await openWire(project.root, status, sampleNetworks);
    cells = cellsOf(wire.lab);
  });

  it("is tried with every kind, place and way", () => {
    const from = new Set(cells.map((cell) => cell.from.network));
    const names = (networks: Iterable<{ readonly network: string }>): string[] => [...networks].map(({ network }) => network).sort();
    expect(names(from)).toEqual(names(sampleNetworks.filter((one) => one.unpromised === undefined)));
    console.log(`${cells.length} cells of ${from.size} networks; ${new Set(cells.map(({ what, way }) => `${what} ${way}`)).size} ways`);
    for (const network of from) {
      const own = cells.filter((cell) => cell.from.network === network);
      for (const place of ["same server", "other server"])
        expect([network.network, own.some((cell) => cell.place === place)]).toEqual([network.network, true]);
    }
  });

  it("is needed: without it much gets through", async () => {
    for (const server of servers) await onServer(server, withoutGuard(server));
    const { leaks, lost, unsent } = await matrix(({ way }) => way !== "router advertisement");
    expect([lost, unsent]).toEqual([[], []]);
    expect(leaks.length).toBeGreaterThan(1000);
    for (const what of ["another tenant", "an address of a server", "a server's underlay address", "a tunnel's port"])
      expect([what, leaks.some((text) => text.includes(`(${what};`))]).toEqual([what, true]);
    for (const [what, attack] of closed) expect([what, await attack(wire)]).toEqual([what, true]);
    // What they believe of the way between them.
    for (const server of servers) await onServer(server, "ip route flush cache; ip -6 route flush cache");
  });

  it("is known to drift and mended by repair", async () => {
    const { stdout } = await project.flipflap("drift");
    expect(stdout).toMatch(/flap-guard \(guard\): missing/);
    expect(stdout).toMatch(
      /red-l2-flip-attach \(attach\): different\n +eth0.guard: wanted "on", found "off: its program is not at the port"/,
    );
    succeeded(await project.flipflap("repair"));
    expect(succeeded(await project.flipflap("check"))).toMatch(/ 0 not as declared; \d+ ways probed, 0 closed/);
  });

  it("lets nothing through but what networks are for", async () => {
    expect(await matrix(() => true)).toEqual({ leaks: [], lost: [], unsent: [] });
  });

  it.each(closed)("closes %s", async (_, attack) => {
    expect(await attack(wire)).toBe(false);
  });

  it("closes a device of ours of which no kind told it", async () => {
    const answers = async (group: string | number): Promise<boolean> =>
      (
        await onServer(
          "flip",
          `ip netns add untold; ip link add untold0 type veth peer name inner netns untold; ip link set untold0 up group ${group}
ip addr add 10.99.0.1/30 dev untold0; ip -n untold addr add 10.99.0.2/30 dev inner; ip -n untold link set inner up
ip netns exec untold ping -c 2 -i 0.3 -W 1 10.99.0.1 >/dev/null && echo answered; ip link del untold0; ip netns del untold`,
        )
      ).includes("answered");
    expect([await answers("default"), await answers(deviceGroup("flip"))]).toEqual([true, false]);
  });

  it("lets the server be a client of its systems", async () => {
    const address = wire.lab.stations.find(({ name }) => name === "red-routed-flip")?.addresses[0] ?? "";
    await onServer("flip", "docker exec -d ff-red-routed-flip ncat -k -l 8080 -c 'echo hello'");
    const ask = () => onServer("flip", `bash -c 'exec 3<>/dev/tcp/${address}/8080; timeout 3 cat <&3' 2>/dev/null || :`);
    expect(await eventually(async () => (await ask()) === "hello\n")).toBe(true);
  });

  it("counts what it drops, by reason, and status shows it", async () => {
    const { observed } = JSON.parse((await project.flipflap("status", "--json")).stdout) as Status;
    const dropped = observed.filter(({ kind }) => kind === "guard").flatMap(({ rows }) => rows.map(([reason]) => reason));
    for (const reason of [
      "to the server itself",
      "router advertisements and redirects",
      "tunnel packets that no server has sent",
      "VLAN tags past a filter",
      "from an address that is not the system's",
      "from a MAC that is not the system's",
    ])
      expect(dropped).toContain(reason);
  });

  it("is known to drift where a rule or a device's group is changed, and mended by repair", async () => {
    // What systems told one another in their own segments is there, too.
    succeeded(await project.flipflap("repair"));
    await onServer("flip", `nft add rule inet ${tables("flip")} input iifname br-red-l2 accept; ip link set dev br-red-l2 group default`);
    const { stdout } = await project.flipflap("drift");
    expect(stdout).toMatch(/flip-guard \(guard\): different\n +rules: wanted "as declared", found "changed"/);
    expect(stdout).toMatch(/outsideOurGroup: has, undeclared, br-red-l2/);
    succeeded(await project.flipflap("repair"));
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("lets nothing through behind tenants' firewalls either, and all that must pass where their rules let it", async () => {
    project.write("policies/open.rules", "iptables -P FORWARD ACCEPT\nip6tables -P FORWARD ACCEPT\n");
    project.write("testbeds/matrix.yaml", matrixTestbed("policies/shut.json", "policies/open.rules"));
    succeeded(await project.flipflap("up"));
    expect(await matrix(() => true)).toEqual({ leaks: [], lost: [], unsent: [] });
    project.write("policies/open.rules", "iptables -P FORWARD DROP\nip6tables -P FORWARD DROP\n");
    succeeded(await project.flipflap("up"));
    const { leaks, lost } = await matrix(() => true);
    expect(leaks).toEqual([]);
    expect(lost.length).toBeGreaterThan(20);
  });

  it("leaves nothing to do for another up", async () => {
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it("gives both servers back", async () => {
    await destroyAll(servers);
    for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
    project.use("bridge");
  });
});
