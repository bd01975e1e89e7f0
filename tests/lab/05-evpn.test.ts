/** Report S0's EVPN testbed: what reaches what and what must not, the routes and the wire, moves, breakages, and back. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { Status } from "../../cli/verbs/status";
import type { EvpnRoute } from "../../components/kinds/evpn/routes";
import { sleep } from "../../support/process";
import { updatesBetween } from "../support/bgp";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";
import { pingsByDeclaredWay } from "../support/traced";

const project = new Project(ownRoot());
const servers = ["flip", "flap"] as const;
const before = new Map<string, string>();
const { bringUp, changesOfAnotherUp, onServer, inSystem, reaches, wrong, readStatus, pinging, captured, destroyAll } = onLab(project);

const mac = "02:da:46:13:7e:7d";

async function routes(network?: string): Promise<EvpnRoute[]> {
  const only = network === undefined ? [] : ["--network", network];
  const all = JSON.parse(succeeded(await project.flipflap("routes", "--json", ...only))) as { routes: EvpnRoute[] }[];
  return all[0]?.routes ?? [];
}

describe("kind evpn", () => {
  let status: Status;
  const facts = (server: string) => {
    const lab = JSON.parse(project.read(".flipflap/lab.json")) as {
      servers: Record<string, { underlay: { ipv4: string; routeServer: string } }>;
    };
    const { ipv4, routeServer } = lab.servers[server]!.underlay;
    return { vtep: ipv4.split("/")[0]!, routeServer };
  };
  const address = (system: string, index = 0): string =>
    status.systems.find((s) => s.name === system)?.interfaces[0]?.addresses[index]?.split("/")[0] ?? "none";
  const remoteEntry = async (server: string): Promise<string> => {
    const listed = await onServer(server, `bridge fdb show br br-red-l2 | grep '${mac} dev vx' || true`);
    return /dst (\S+)/.exec(listed)?.[1] ?? "none";
  };

  beforeAll(async () => {
    status = await bringUp("evpn", servers, before);
  });

  it("comes up: sessions stand, every system is reached with 8950 bytes, every check holds", async () => {
    expect(status.observed.flatMap((o) => o.problems)).toEqual([]);
    expect(new Set(status.probes.map((probe) => probe.mtuBytes))).toEqual(new Set([8950]));
    expect((await project.flipflap("check")).stdout).toMatch(/ 0 not as declared; \d+ ways probed, 0 closed/);
  });

  it("has nothing to do when it is brought up again", async () => {
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it("reaches within a network, across servers, in both families", async () => {
    expect(await reaches("red-web", address("red-client"))).toBe(true);
    expect(await reaches("red-client", address("red-web", 1))).toBe(true);
    expect(await reaches("blue-client", address("blue-web"))).toBe(true);
  });

  it("routes between the networks of a tenant, on the server where a packet starts", async () => {
    expect(await reaches("red-web", address("red-store"))).toBe(true);
    expect(await reaches("red-store", address("red-web", 1))).toBe(true);
    const hops = succeeded(await inSystem("red-web", "traceroute", "-n", "-q", "1", "-w", "1", address("red-store")))
      .trim()
      .split("\n")
      .slice(1);
    expect(hops.map((line) => line.trim().split(/\s+/)[1])).toEqual(["10.1.2.1", address("red-store")]);
  });

  it("goes from router to router by the declared way", () =>
    pingsByDeclaredWay(project, { from: "gold-left", to: "gold-right" }, async (count) =>
      succeeded(await inSystem("gold-left", "ping", "-n", "-c", String(count), "-i", "0.2", address("gold-right"))),
    ));

  it("routes between networks that no server has both of, by the routers of the tenant", async () => {
    expect(await onServer("flip", "ip -br link show type bridge")).not.toContain("br-gold-b");
    expect(await reaches("gold-left", address("gold-right"))).toBe(true);
    expect(await reaches("gold-right", address("gold-left", 1))).toBe(true);
    const hops = succeeded(await inSystem("gold-left", "traceroute", "-n", "-q", "1", "-w", "1", address("gold-right")))
      .trim()
      .split("\n")
      .slice(1);
    expect(hops.map((line) => line.trim().split(/\s+/)[1])).toEqual(["10.1.2.1", "10.1.3.1", address("gold-right")]);
    const told = (await routes()).filter((route) => route.type === "prefix");
    expect(told.map(({ prefix, nextHop }) => [prefix, nextHop]).sort()).toEqual(
      [
        ["10.1.2.0/24", facts("flip").vtep],
        ["fd36::/64", facts("flip").vtep],
        ["10.1.3.0/24", facts("flap").vtep],
        ["fd37::/64", facts("flap").vtep],
      ].sort(),
    );
    // Red has the same prefixes; its router has them for itself.
    expect(await onServer("flip", "ip -n ff-tenant-red route")).not.toContain("bgp");
  });

  it("puts a system into two networks, each by its own interface", async () => {
    const link = succeeded(await inSystem("red-both", "ip", "-br", "addr"));
    expect(link).toMatch(/^eth0@\S+ +UP +10\.1\.2\.10\/24/m);
    expect(link).toMatch(/^eth1@\S+ +UP +10\.1\.3\.10\/24/m);
    expect([await reaches("red-client", "10.1.2.10"), await reaches("red-store", "10.1.3.10")]).toEqual([true, true]);
  });

  it("does not route where it is not asked to", async () => {
    // Red's router has the address that blue would ask.
    succeeded(await inSystem("blue-web", "ip", "route", "replace", "10.1.3.0/24", "via", "10.1.2.1"));
    expect(await reaches("blue-web", address("red-store"))).toBe(false);
    succeeded(await inSystem("blue-web", "ip", "route", "del", "10.1.3.0/24"));
    expect(await reaches("red-web", address("red-store"))).toBe(true);
  });

  it.each([
    ["red", "blue"],
    ["blue", "red"],
  ])("keeps %s's packets from %s, whose addresses and MACs are the same", async (own, other) => {
    expect(address(`${own}-web`)).toBe(address(`${other}-web`));
    // As hex: 0x0010:  4500 0054 ...
    const listen = (system: string) => inSystem(system, "timeout", "8", "tcpdump", "-n", "-l", "-xx", "-i", "eth0");
    const captures = Promise.all([listen(`${other}-web`), listen(`${other}-client`), listen(`${own}-web`)]);
    await sleep(2000);
    const say = (...words: string[]) => inSystem(`${own}-client`, ...words);
    const twice = ["-n", "-c", "2", "-i", "0.2", "-W", "1"];
    await Promise.all([
      say("ping", ...twice, "-p", "c0ffee11", address(`${own}-web`)),
      say("ping", ...twice, "-p", "c0ffee22", "-b", "10.1.2.255"),
      say("ping", ...twice, "-p", "c0ffee33", "ff02::1%eth0"),
      say("ping", ...twice, "fd36::dead"),
      say("ping", ...twice, "10.1.2.77"),
    ]);
    const [web, client, seen] = await captures;
    // Ping's payloads, the address that ARP asked for, the one that neighbour discovery asked for.
    const marks = ["c0ffee11".repeat(2), "c0ffee22".repeat(2), "c0ffee33".repeat(2), "0a01024d", "fd36" + "00".repeat(12) + "dead"];
    const seenMarks = ({ stdout }: { readonly stdout: string }) => {
      const bytes = stdout.replace(/^(?!\s+0x).*$/gm, "|").replace(/0x[0-9a-f]+:|\s/g, "");
      return marks.filter((mark) => bytes.includes(mark));
    };
    expect([seenMarks(web), seenMarks(client)]).toEqual([[], []]);
    // The same packets are seen where they belong.
    expect(seenMarks(seen)).toEqual(marks);
  });

  it("keeps systems from the server that they are on", async () => {
    const { vtep } = facts("flip");
    const bridgeMac = (await onServer("flip", "cat /sys/class/net/br-blue-l2/address")).trim();
    const echoes = async (): Promise<number> =>
      Number(
        await onServer(
          "flip",
          'awk \'$1 == "Icmp:" { if (n++ == 0) { for (i = 1; i <= NF; i++) if ($i == "InEchos") c = i } else print $c }\' /proc/net/snmp',
        ),
      );
    /** Echo requests that the server saw, of some that went to it by the MAC. */
    const seenVia = async (mac: string): Promise<number> => {
      const before = await echoes();
      succeeded(await inSystem("blue-web", "ip", "neigh", "replace", vtep, "lladdr", mac, "dev", "eth0"));
      await inSystem("blue-web", "ping", "-n", "-c", "3", "-i", "0.1", "-W", "1", vtep);
      return (await echoes()) - before;
    };
    succeeded(await inSystem("blue-web", "ip", "route", "replace", `${vtep}/32`, "dev", "eth0"));
    // The second is for the bridge's own port (IEEE 802.1Q): past the bridge, if it were not forwarded.
    expect([await seenVia(bridgeMac), await seenVia("01:80:c2:00:00:0e")]).toEqual([0, 0]);
    // That it is the bridge's guard that keeps them, and the server's: without both they arrive.
    await onServer("flip", "nft delete table inet flipflap-flip");
    expect(await seenVia(bridgeMac)).toBe(0);
    await onServer("flip", "nft delete table netdev ff-br-blue-l2");
    expect(await seenVia(bridgeMac)).toBe(3);
    succeeded(await project.flipflap("repair"));
    expect(await seenVia(bridgeMac)).toBe(0);
    succeeded(await inSystem("blue-web", "ip", "route", "del", `${vtep}/32`, "dev", "eth0"));
    succeeded(await inSystem("blue-web", "ip", "neigh", "del", vtep, "dev", "eth0"));
  });

  it("advertises a system with MAC and addresses before its first packet, and the gateways never", async () => {
    const listed = await routes("red-l2");
    const own = listed.filter((route) => route.mac === mac);
    expect(own.map((route) => route.ip ?? "").sort()).toEqual(["", address("red-web"), address("red-web", 1)].sort());
    expect(own[0]).toMatchObject({
      vn: 136,
      nextHop: facts("flip").vtep,
      routeDistinguisher: `${facts("flip").vtep}:136`,
      routeTargets: ["65000:136"],
    });
    expect(
      listed
        .filter((route) => route.type === "multicast")
        .map((route) => route.nextHop)
        .sort(),
    ).toEqual(servers.map((s) => facts(s).vtep).sort());
    const systems = new Set(status.systems.flatMap((s) => s.interfaces.map((i) => i.mac)));
    expect(listed.flatMap((route) => route.mac ?? []).filter((seen) => !systems.has(seen))).toEqual([]);
    expect(await remoteEntry("flap")).toBe(facts("flip").vtep);
  });

  it("withdraws a system that is killed, and advertises it when it starts again", async () => {
    await onServer("flip", "docker kill ff-red-web >/dev/null");
    expect(await eventually(async () => (await remoteEntry("flap")) === "none")).toBe(true);
    expect(await eventually(async () => (await routes("red-l2")).every((route) => route.mac !== mac))).toBe(true);
    await onServer("flip", "docker start ff-red-web >/dev/null");
    expect(await eventually(async () => (await remoteEntry("flap")) === facts("flip").vtep)).toBe(true);
    expect(await reaches("red-client", address("red-web"))).toBe(true);
  });

  it("says on the wire what report S0's Listing 3 shows", async () => {
    const { vtep, routeServer } = facts("flip");
    const pcap = await captured("flip", "lo", "tcp port 179", async () => {
      await onServer("flip", "docker kill ff-red-web >/dev/null");
      await eventually(async () => (await remoteEntry("flap")) === "none");
      await onServer("flip", "docker start ff-red-web >/dev/null");
      await eventually(async () => (await remoteEntry("flap")) === vtep);
    });
    const updates = updatesBetween(pcap, vtep, routeServer);
    const update = updates.find((u) => u.reach?.macIp.some((route) => route.mac === mac && route.ip === "10.1.2.8"));
    const rd = `0001${vtep
      .split(".")
      .map((n) => Number(n).toString(16).padStart(2, "0"))
      .join("")}0088`;
    expect(update).toMatchObject({ origin: 0, asPath: "", localPreference: 100 });
    expect(update?.reach).toMatchObject({ afi: 25, safi: 70, nextHop: vtep });
    expect(update?.reach?.macIp.find((route) => route.ip === "10.1.2.8")).toEqual({
      routeDistinguisher: rd,
      segment: "00".repeat(10),
      ethernetTag: 0,
      mac,
      ip: "10.1.2.8",
      label: 136,
    });
    // Route target 65000:136, and encapsulation VXLAN (RFC 9012: type 3, subtype 12, tunnel type 8).
    expect(update?.extendedCommunities).toEqual(expect.arrayContaining(["0002fde800000088", "030c000000000008"]));
    // The gateways' MAC is in none of them, and the withdrawal was there too.
    expect(updates.some((u) => u.unreachBytes > 0)).toBe(true);
  });

  it("moves a system: address and MAC stay, nothing is lost, the sequence number rises, the other servers follow", async () => {
    const ping = pinging("red-client", address("red-web"), 240, 0.05);
    await sleep(500);
    succeeded(await project.flipflap("move", "red-web", "--to", "flap"));
    expect(await ping).toEqual({ sent: 240, lost: 0 });
    expect((await routes("red-l2")).filter((route) => route.mac === mac)).toMatchObject([
      { sequence: 1 },
      { sequence: 1 },
      { sequence: 1 },
    ]);
    expect((await inSystem("red-web", "ip", "-br", "addr", "show", "eth0")).stdout).toContain("10.1.2.8/24");
    succeeded(await project.flipflap("move", "red-web", "--to", "flip"));
    expect(await remoteEntry("flap")).toBe(facts("flip").vtep);
    expect((await routes("red-l2")).find((route) => route.mac === mac)?.sequence).toBe(2);
    expect(await wrong()).toEqual([]);
  });

  it("refuses a move to nowhere", async () => {
    const said = await project.flipflap("move", "red-web", "--to", "flop");
    expect([said.code, said.stderr]).toEqual([2, expect.stringContaining("--to one of flap, flip")]);
  });

  const file = "testbeds/evpn.yaml";
  const placed = (server: string) => project.edit(file, /(name: red-web, tenant: red, server: )\w+/, `$1${server}`);
  const upOf = async (...stacks: string[]) => {
    for (const stack of stacks) succeeded(await project.pulumi("up", "-s", stack, "--yes", "--skip-preview"));
  };

  it("converges after a plain change of server, whichever stack comes first", async () => {
    placed("flap");
    await upOf("flip", "flap");
    expect(await reaches("red-client", address("red-web"))).toBe(true);
    expect(await wrong()).toEqual([]);
    placed("flip");
    succeeded(await project.flipflap("up"));
    expect(await reaches("red-client", address("red-web"))).toBe(true);
    expect(await remoteEntry("flap")).toBe(facts("flip").vtep);
    expect(await wrong()).toEqual([]);
  });

  it("renames a network and a tenant, and gives two networks each other's VNIDs", async () => {
    const before = project.read(file);
    const after = before
      .replaceAll("red-db", "red-data")
      .replace("{ name: blue }", "{ name: green }")
      .replaceAll("tenant: blue", "tenant: green")
      .replace("vn: 136,", "vn: swap,")
      .replace("vn: 137,", "vn: 136,")
      .replace("vn: swap,", "vn: 137,");
    for (const text of [after, before]) {
      project.write(file, text);
      succeeded(await project.flipflap("up"));
      expect(await wrong()).toEqual([]);
      expect(await reaches("red-web", address("red-store"))).toBe(true);
      expect(await reaches("blue-client", address("blue-web"))).toBe(true);
    }
  });

  it("names what was broken by hand, all at once, and mends it", async () => {
    const { routeServer } = facts("flip");
    const entry = `$(bridge fdb show br br-red-l2 | sed -n 's/^${mac} dev \\([^ ]*\\).*/\\1/p' | head -n 1)`;
    const broken: [server: string, command: string, object: string, property: string][] = [
      ["flap", "ip link set dev vx-red-db type vxlan learning; bridge link set dev vx-red-db learning on", "red-db-vxlan", "learning"],
      ["flap", "bridge link set dev vx-blue-l2 neigh_suppress off", "blue-l2-vxlan", "neighbourSuppression"],
      ["flap", "ip -n ff-tenant-red addr del 10.1.3.1/24 dev vn137", "evpn_routing-router-red", "vn137.addresses"],
      ["flap", "ip link set dev br-red-l2 type bridge ageing_time 30000", "red-l2-bridge", "ageingSeconds"],
      ["flip", `bridge fdb del ${mac} dev ${entry} master`, "red-web-attach", "eth0.forwarding"],
      ["flip", "ip neigh del 10.1.3.10 dev br-red-db", "red-both-attach", "eth1.neighbours"],
      ["flip", "nft delete table netdev ff-br-red-l2", "red-l2-guard", ""],
      ["flip", "bridge link set dev $(ls /sys/class/net/br-blue-l2/brif | grep ffv-) learning on", "blue-web-attach", "eth0.learns"],
      ["flip", "sysctl -qw net.bridge.bridge-nf-call-iptables=1", "flip-sysctls", "net.bridge.bridge-nf-call-iptables"],
      [
        "flap",
        "docker exec ff-speaker vtysh -c 'conf t' -c 'router bgp 65000' -c 'address-family l2vpn evpn' -c 'vni 136' -c 'rd 1.2.3.4:5'",
        "red-l2-vni",
        "routeDistinguisher",
      ],
      ["flip", "ip -n ff-tenant-gold link set l3-bridge mtu 1500", "evpn_routing-vrf-gold", "mtuBytes"],
      ["flap", "ip -n ff-tenant-gold link set l3-vxlan type vxlan learning", "evpn_routing-vrf-gold", "learning"],
      ["flip", `ip route del local ${routeServer} dev lo table local`, "evpn_nva-address", "local"],
    ];
    for (const [server, command] of broken) await onServer(server, command);
    const found = (await wrong()).map(({ server, name, differences }) => [server, name, differences.map((d) => d.property)]);
    const expected = broken.map(([server, , object, property]) => [server, object, property === "" ? [] : [property]]);
    expect(found.sort()).toEqual(expected.sort());
    succeeded(await project.flipflap("repair"));
    // Sessions come back by themselves.
    expect(await eventually(async () => (await wrong()).length === 0, 20)).toBe(true);
  });

  it("names a program that was taken off and an entry that was taken out of a map, and mends both", async () => {
    const agent = "/proc/$(docker inspect -f '{{.State.Pid}}' ff-agent)/fdinfo";
    const portOf = async (system: string): Promise<string> => {
      const plan = JSON.parse(await onServer("flip", `cat /var/lib/flipflap/flip/attach/${system}.json`)) as {
        interfaces: { hostName: string }[];
      };
      return plan.interfaces[0]?.hostName ?? "";
    };
    const link = `$(sed -n 's/^link_id:[[:space:]]*//p' $(grep -lE "^ifindex:[[:space:]]+$(cat /sys/class/net/${await portOf("gold-left")}/ifindex)$" ${agent}/*))`;
    await onServer("flip", `bpftool link detach id ${link}`);
    // struct station_key of bpf/abi/overlay.h: the tunnel's index, the MAC, zeroes.
    const index = Number(await onServer("flip", "cat /sys/class/net/vx-red-l2/ifindex"));
    const key = [index & 255, (index >> 8) & 255, 0, 0, ...mac.split(":").map((byte) => Number.parseInt(byte, 16)), 0, 0].join(" ");
    const maps = `$(sed -n 's/^map_id:[[:space:]]*//p' ${agent}/*)`;
    await onServer(
      "flip",
      `for id in ${maps}; do case $(bpftool map show id $id) in *stations*) bpftool map delete id $id key ${key} ;; esac; done`,
    );
    expect((await wrong()).map(({ name, differences: [one] }) => [name, one?.property, one?.found]).sort()).toEqual([
      ["gold-left-attach", "eth0.shortcut", "no program at the port"],
      ["red-web-attach", "eth0.shortcut", "not in the map"],
    ]);
    succeeded(await project.flipflap("repair"));
    expect(await wrong()).toEqual([]);
  });

  it("names a wrong password as such, and mends it", async () => {
    const { routeServer } = facts("flip");
    const words = `-c 'conf t' -c 'router bgp 65000' -c 'neighbor ${routeServer} password wrong' -c 'end' -c 'clear bgp *'`;
    await onServer("flap", `docker exec ff-speaker vtysh ${words}`);
    await sleep(1000);
    const now = await readStatus();
    expect(now.observed.flatMap((o) => o.problems.map((problem) => `${o.server}: ${problem}`)).join("\n")).toMatch(
      /flip: \d+ TCP segments in 4 s were signed with another password than the route server's/,
    );
    expect((await wrong()).map((checked) => [checked.name, checked.differences[0]?.property])).toContainEqual([
      "evpn_edge-sessions",
      routeServer,
    ]);
    succeeded(await project.flipflap("repair"));
    expect(await wrong()).toEqual([]);
  });

  it("is itself again after its speaker and its route server were killed", async () => {
    await onServer("flap", "docker kill ff-speaker >/dev/null; docker start ff-speaker >/dev/null");
    await onServer("flip", "docker kill ff-route-server >/dev/null; docker start ff-route-server >/dev/null");
    expect(await eventually(() => reaches("red-client", address("red-web")), 30)).toBe(true);
    expect(await eventually(async () => (await wrong()).length === 0, 30)).toBe(true);
    expect(await reaches("gold-left", address("gold-right"))).toBe(true);
  });

  it("survives the power cut of a server: the others go on, what it had told is gone, repair brings it back", async () => {
    // The gateway and blue's own neighbour on the surviving server.
    const ping = pinging("red-web", "10.1.2.1", 60, 0.1);
    succeeded(await project.flipflap("lab", "power-cut", "flap"));
    expect(await eventually(async () => !(await onServer("flip", "bridge fdb show")).includes(facts("flap").vtep), 9)).toBe(true);
    expect(await ping).toEqual({ sent: 60, lost: 0 });
    succeeded(await project.flipflap("lab", "power-on", "flap"));
    succeeded(await project.flipflap("repair"));
    expect(await wrong()).toEqual([]);
    expect(await eventually(() => reaches("red-web", address("red-client")))).toBe(true);
    expect(await reaches("gold-left", address("gold-right"))).toBe(true);
  });

  it("changes a tenant's routing in place", async () => {
    const asymmetric = project.read(file);
    for (const text of [
      asymmetric.replaceAll("irb: asymmetric", "irb: symmetric"),
      asymmetric.replaceAll("irb: symmetric", "irb: asymmetric"),
    ]) {
      project.write(file, text);
      succeeded(await project.flipflap("up"));
      expect(await wrong()).toEqual([]);
      for (const [from, to] of [
        ["red-web", "red-store"],
        ["gold-left", "gold-right"],
      ] as const)
        expect([from, await reaches(from, address(to)), await reaches(from, address(to, 1))]).toEqual([from, true, true]);
    }
    project.write(file, asymmetric);
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
  });

  it("keeps a packet from being lost when one of two route servers restarts", async () => {
    project.write("Pulumi.flap.yaml", `${project.read("Pulumi.flap.yaml").trimEnd()}\n  flipflap:hub: second\n`);
    succeeded(await project.flipflap("up"));
    const [first] = (await readStatus()).observed.filter((o) => o.title === "BGP" && o.server === "flip");
    expect(first?.rows.map(([peer, state]) => [peer, state])).toEqual([
      [facts("flap").routeServer, "Established"],
      [facts("flip").routeServer, "Established"],
    ]);
    for (const server of servers) {
      const ping = pinging("red-client", address("red-web"), 120, 0.05);
      await onServer(server, "docker restart -t 1 ff-route-server >/dev/null");
      expect(await ping).toEqual({ sent: 120, lost: 0 });
      expect(await eventually(async () => (await wrong()).length === 0, 30)).toBe(true);
    }
  });

  it("gives both servers back as they were", async () => {
    await destroyAll(servers);
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
    project.use("bridge");
    project.write(file, Project.original(file));
  });
});
