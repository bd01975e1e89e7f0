/** Report S4's sites and tunnels: what a router between them sees, in every state of a tunnel; breakages, restarts, and back. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { isHealthy, type Status } from "../../cli/verbs/status";
import { sleep } from "../../support/process";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";
import { type Told, tracedIn, way } from "../support/traced";

const project = new Project(ownRoot());
const servers = ["flip", "flap"] as const;
const before = new Map<string, string>();
const lab = onLab(project);
const { bringUp, changesOfAnotherUp, inSystem, onServer, pinging, readStatus, wrong, destroyAll } = lab;
const serverOf = (system: string): string => (["internet", "gw-a", "a1"].includes(system) ? "flip" : "flap");

/** Neighbours find one another in the clear, and do no more; reports of multicast have a header more before ICMP. */
const neighbours = "arp or (icmp6 and ip6[40] >= 130 and ip6[40] <= 143) or (ip6 and dst net ff02::/16)";
const tunnelled = "udp port 500 or udp port 4500 or esp";

/** A gateway that starts has nobody at the tunnels' ports yet, and says so of packets that are encrypted already. */
const isAboutTunnels = (line: string): boolean => / ICMP \S+ udp port (500|4500) unreachable/.test(line);

describe("sites and tunnels", () => {
  let status: Status;
  const address = (system: string, network: string, family: 4 | 6 = 4): string =>
    status.systems
      .find((s) => s.name === system)
      ?.interfaces.find((i) => i.network === network)
      ?.addresses.map((text) => text.split("/")[0] ?? "")
      .find((text) => text.includes(":") === (family === 6)) ?? "none";

  const swanctl = (gateway: string, ...words: string[]): Promise<string> =>
    onServer(serverOf(gateway), `docker exec ff-${gateway} swanctl ${words.join(" ")} 2>&1 || :`);
  /** The process of a gateway's strongSwan, on its server. */
  const strongSwan = async (gateway: string): Promise<string> =>
    (await onServer(serverOf(gateway), `docker inspect -f '{{.State.Pid}}' ff-${gateway}`)).trim();

  /** What the router in the middle sees while something is done: lines of tunnels' packets, and of all others but neighbours'. */
  async function atRouter(during: () => Promise<unknown>): Promise<{ tunnelled: string[]; plain: string[] }> {
    await onServer(
      "flip",
      `docker exec -d ff-internet sh -c 'tcpdump --immediate-mode -n -i any -U -w /tmp/seen.pcap "not (${neighbours})" 2>/tmp/seen.log'`,
    );
    expect(await eventually(async () => (await inSystem("internet", "grep", "-q", "listening", "/tmp/seen.log")).code === 0)).toBe(true);
    await during();
    await sleep(500);
    const read = async (filter: string): Promise<string[]> =>
      (await inSystem("internet", "tcpdump", "-n", "-r", "/tmp/seen.pcap", filter)).stdout.split("\n").filter((line) => line !== "");
    await inSystem("internet", "pkill", "-INT", "tcpdump");
    await eventually(async () => (await inSystem("internet", "pgrep", "tcpdump")).code !== 0);
    const seen = { tunnelled: await read(tunnelled), plain: (await read(`not (${tunnelled})`)).filter((line) => !isAboutTunnels(line)) };
    await inSystem("internet", "rm", "-f", "/tmp/seen.pcap", "/tmp/seen.log");
    return seen;
  }

  const reaches = (from: string, to: string): Promise<boolean> => lab.reaches(from, to, { count: 2 });

  /** Packets for the other side all the time, by every way that a tunnel is for. */
  const insisting = (seconds: number): Promise<unknown> =>
    Promise.all([
      inSystem("a1", "ping", "-n", "-q", "-i", "0.05", "-c", String(seconds * 20), address("s1", "cloud-s")),
      inSystem("a1", "ping", "-n", "-q", "-i", "0.05", "-c", String(seconds * 20), address("s1", "cloud-s", 6)),
      inSystem("s1", "ping", "-n", "-q", "-i", "0.05", "-c", String(seconds * 20), address("a1", "site-a")),
      inSystem("gw-a", "ping", "-n", "-q", "-i", "0.05", "-c", String(seconds * 20), address("gw-s", "wan-s")),
      // Of a family that the tunnel between the two does not carry.
      inSystem("a1", "ping", "-n", "-q", "-i", "0.05", "-c", String(seconds * 20), address("b1", "site-b", 6)),
    ]);

  beforeAll(async () => {
    status = await bringUp("vpn", servers, before);
  });

  it("come up: every tunnel with its proposal, every check holds, and nothing is to be done when they are brought up again", async () => {
    expect(isHealthy(status)).toBe(true);
    const rows = status.observed.flatMap((o) => (o.kind === "guard" ? [] : o.rows));
    expect(rows.map(([tunnel, gateway, peer, state]) => [tunnel, gateway, peer, state].join(" ")).sort()).toEqual(
      [
        ...["a-b gw-a gw-b up", "a-b gw-b gw-a up", "a-s-hosts gw-a gw-s up", "a-s-hosts gw-s gw-a up"],
        ...["a-s-ipv4 gw-a gw-s up", "a-s-ipv4 gw-s gw-a up", "a-s-ipv6 gw-a gw-s up", "a-s-ipv6 gw-s gw-a up"],
        ...["b-s-ipv4 gw-b gw-s up", "b-s-ipv4 gw-s gw-b up", "b-s-ipv6 gw-b gw-s up", "b-s-ipv6 gw-s gw-b up"],
      ].sort(),
    );
    expect(rows.find(([tunnel]) => tunnel === "b-s-ipv4")?.[5]).toContain("AES_GCM_16-256");
    expect(await wrong()).toEqual([]);
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it("carry traffic in every mode, of which the router sees IKE and ESP alone", async () => {
    await onServer("flap", "docker exec -d ff-s1 iperf3 -s -D; docker exec -d ff-gw-s iperf3 -s -D");
    const iperf = async (from: string, to: string): Promise<number> => {
      const told = succeeded(await inSystem(from, "iperf3", "-J", "-t", "1", "-c", to));
      return (JSON.parse(told) as { end: { sum_received: { bits_per_second: number } } }).end.sum_received.bits_per_second;
    };
    const rates: number[] = [];
    const seen = await atRouter(async () => {
      rates.push(await iperf("a1", address("s1", "cloud-s")));
      rates.push(await iperf("a1", address("s1", "cloud-s", 6)));
      rates.push(await iperf("gw-a", address("gw-s", "wan-s")));
      expect(await reaches("b1", address("a1", "site-a"))).toBe(true);
      expect(await reaches("b1", address("s1", "cloud-s"))).toBe(true);
    });
    for (const rate of rates) expect(rate).toBeGreaterThan(10e6);
    expect(seen.tunnelled.length).toBeGreaterThan(1000);
    expect(seen.plain).toEqual([]);
    // The same look sees what is not in a tunnel.
    const open = await atRouter(() => reaches("gw-a", address("internet", "wan-a")));
    expect(open.plain.length).toBeGreaterThan(1);
    await onServer("flap", "docker exec ff-s1 pkill iperf3; docker exec ff-gw-s pkill iperf3");
  });

  it("are followed in, through and out by the tracer: what carries a packet is inferred, and marked", async () => {
    const s1 = address("s1", "cloud-s");
    const followed = async (from: string): Promise<readonly Told[]> => {
      const { journeys, said } = await tracedIn(project, [`icmp and host ${s1}`], async () => {
        succeeded(await inSystem(from, "ping", "-n", "-c", "3", "-i", "0.3", s1));
      });
      expect(journeys.length, said).toBe(6);
      return journeys;
    };
    for (const journey of (await followed("a1")).filter(({ explained }) => explained?.from === "a1")) {
      expect(way(journey)).toMatch(
        /^a1\/eth0 .*gw-a\/ipsec0 gw-a\/eth0 .*internet\/eth0 internet\/eth2 .*gw-s\/eth0 gw-s\/ipsec0 .*s1\/eth0$/,
      );
      const inferred = journey.hops.filter(({ isInferred }) => isInferred === true);
      expect([inferred[0]?.place, inferred.at(-1)?.place]).toEqual(["gw-a", "gw-s"]);
    }
    // Out of a server and back to it, by the Internet of the other one.
    for (const journey of (await followed("b1")).filter(({ explained }) => explained?.from === "b1")) {
      const visited = journey.hops.map(({ server }) => server).filter((server, i, all) => server !== all[i - 1]);
      expect([visited, way(journey)]).toEqual([
        ["flap", "flip", "flap"],
        expect.stringMatching(/gw-b\/eth0 .*internet\/eth1 internet\/eth2 .*gw-s\/eth0/),
      ]);
    }
  });

  it("lose nothing while keys are made anew", async () => {
    const flow = pinging("a1", address("s1", "cloud-s"), 1200, 0.005);
    const seen = await atRouter(async () => {
      for (let i = 0; i < 4; i++) {
        expect(await swanctl("gw-a", "--rekey", "--child", "a-s-ipv4")).toContain("rekey completed successfully");
        await sleep(300);
      }
      expect(await swanctl("gw-a", "--rekey", "--ike", "gw-a_gw-s")).toContain("rekey completed successfully");
    });
    expect(await flow).toEqual({ sent: 1200, lost: 0 });
    expect(seen.plain).toEqual([]);
  });

  it("stay closed while a gateway's strongSwan is held up, and say so", async () => {
    const pid = await strongSwan("gw-s");
    await onServer("flap", `kill -STOP ${pid}`);
    const seen = await atRouter(() => insisting(9));
    expect(seen.plain).toEqual([]);
    const now = await readStatus();
    expect(now.observed.flatMap((o) => o.problems).join("\n")).toMatch(/tunnel a-s-ipv4 is down at gw-a: /);
    await onServer("flap", `kill -CONT ${pid}`);
    expect(await eventually(() => reaches("a1", address("s1", "cloud-s")), 30)).toBe(true);
  });

  it("come back within ten seconds after a gateway is killed, and stay closed meanwhile", async () => {
    const gaps: number[] = [];
    for (const gateway of ["gw-s", "gw-a"]) {
      expect(await eventually(() => reaches("a1", address("s1", "cloud-s")), 30)).toBe(true);
      const begin = Date.now();
      const seen = await atRouter(async () => {
        const insisted = insisting(5);
        await onServer(serverOf(gateway), `kill -9 ${await strongSwan(gateway)}`);
        const killed = Date.now();
        expect(await eventually(() => reaches("a1", address("s1", "cloud-s")), 30)).toBe(true);
        gaps.push((Date.now() - killed) / 1000);
        await insisted;
      });
      expect([gateway, begin > 0, seen.plain]).toEqual([gateway, true, []]);
    }
    for (const gap of gaps) expect(gap).toBeLessThan(10);
  });

  it("let nothing out while the network of a killed gateway dies, however much comes", async () => {
    const flood =
      'use Socket qw(:all); socket(S, AF_INET6, SOCK_DGRAM, 0); connect(S, pack_sockaddr_in6(9, inet_pton(AF_INET6, $ARGV[0]))); my $n = 0; for (my $end = time + 3; time < $end;) { for (1 .. 100) { $n++ if send(S, "x" x 64, 0) } } print $n';
    const seen = await atRouter(async () => {
      for (let i = 0; i < 4; i++) {
        // Of the family that the tunnel between the two does not carry.
        const flooding = inSystem("a1", "perl", "-e", flood, address("b1", "site-b", 6));
        await sleep(1000);
        await onServer("flip", `kill -9 ${await strongSwan("gw-a")}`);
        expect(Number(succeeded(await flooding))).toBeGreaterThan(10_000);
        expect(await eventually(async () => (await strongSwan("gw-a")) !== "0", 30)).toBe(true);
        expect(await eventually(() => reaches("a1", address("s1", "cloud-s")), 30)).toBe(true);
      }
    });
    expect([seen.plain.length, seen.plain.slice(0, 3)]).toEqual([0, []]);
  });

  it("name a wrong secret as the reason, and stay closed", async () => {
    expect(await eventually(async () => isHealthy(await readStatus()), 30)).toBe(true);
    const psk = "/etc/flipflap-psk.conf";
    await onServer("flap", `docker exec ff-gw-s sh -c "cp ${psk} /tmp/kept; sed -i 's/secret = \\"/&wrong/' ${psk}"`);
    await swanctl("gw-s", "--load-creds", "--noprompt", "--clear");
    const seen = await atRouter(async () => {
      await swanctl("gw-s", "--terminate", "--ike", "gw-a_gw-s", "--force", "--timeout", "1");
      await insisting(4);
    });
    expect(seen.plain).toEqual([]);
    const told = (await readStatus()).observed.flatMap((o) => o.problems);
    expect(told.find((problem) => problem.includes("a-s-ipv4 is down at gw-a"))).toMatch(/AUTHENTICATION_FAILED|MAC mismatched/);
    const drifted = (await wrong()).find(({ name }) => name === "gw-a-tunnels")?.differences ?? [];
    expect(drifted.map(({ property }) => property).sort()).toEqual(["a-s-hosts.state", "a-s-ipv4.state", "a-s-ipv6.state"]);
    for (const { found } of drifted) expect(found).toMatch(/^down: .*(AUTHENTICATION_FAILED|MAC mismatched)/);
    await onServer("flap", `docker exec ff-gw-s sh -c "cp /tmp/kept ${psk}; rm /tmp/kept"`);
    await swanctl("gw-s", "--load-creds", "--noprompt", "--clear");
    succeeded(await project.flipflap("repair"));
    expect(await eventually(async () => isHealthy(await readStatus()), 30)).toBe(true);
  });

  it.each([
    ["a gateway's guard", "flip", "nsenter -t $(pid gw-a) -n nft flush table inet flipflap_vpn", "gw-a-attach", ["nftables"]],
    [
      "what a gateway never lets go in the clear",
      "flip",
      "docker exec ff-gw-a ip route del prohibit 10.4.2.0/24",
      "gw-a-attach",
      ["prohibited"],
    ],
    ["a gateway's way out", "flap", "docker exec ff-gw-b ip route del default", "gw-b-attach", ["eth0.routes"]],
    [
      "a router that forwards no more",
      "flip",
      "nsenter -t $(pid internet) -n sysctl -qw net.ipv4.ip_forward=0",
      "internet-attach",
      ["net.ipv4.ip_forward"],
    ],
    ["an interface on its parent", "flap", "nsenter -t $(pid s1) -n ip link set eth0 address 02:00:00:00:00:77", "s1-attach", ["eth0.mac"]],
    ["the way to a tunnel", "flip", "docker exec ff-gw-a ip route del 10.4.2.0/24 table 220", "gw-a-tunnels", ["a-b.ways"]],
    [
      "a tunnel's plan",
      "flap",
      "sed -i s/rekey_time/rekey_bytes/ /var/lib/flipflap/flap/vpn/gw-b/connections/gw-b_gw-s.conf",
      "gw-b-gateway",
      ["connections/gw-b_gw-s.conf"],
    ],
    ["the cable of a server's own segment", "flip", "ip link set mw-site-a down", "site-a-segment", ["carrier"]],
    [
      "a segment's tunnel",
      "flip",
      "bridge fdb del 00:00:00:00:00:00 dev mv-wan-b dst $(bridge fdb show dev mv-wan-b | sed -n 's/^00:00:00:00:00:00 .*dst \\([^ ]*\\).*/\\1/p')",
      "wan-b-segment",
      ["others"],
    ],
  ])("name %s that somebody changed, and nothing else; repair mends it", async (_, server, command, name, properties) => {
    const pid = `pid() { docker inspect -f '{{.State.Pid}}' "ff-$1"; }; `;
    await onServer(server, pid + command);
    const found = await wrong();
    succeeded(await project.flipflap("repair"));
    expect(found.map((one) => [one.server, one.name, one.differences.map(({ property }) => property)])).toEqual([
      [server, name, properties],
    ]);
    expect(await eventually(async () => (await wrong()).length === 0, 20)).toBe(true);
  });

  it("change in place: other proposals for one tunnel leave the others' keys as they are", async () => {
    project.edit("testbeds/vpn.yaml", "esp: [aes256gcm16-x25519]", "esp: [aes256-sha256-x25519]");
    const keyOf = async (): Promise<string> =>
      (await swanctl("gw-a", "--list-sas", "--child", "a-b")).match(/^ {4}in {2}(\w{8}),/m)?.[1] ?? "";
    const key = await keyOf();
    expect(key).not.toBe("");
    const up = succeeded(await project.flipflap("up"));
    expect(up).not.toMatch(/replaced/);
    expect(await eventually(async () => isHealthy(await readStatus()), 30)).toBe(true);
    const rows = (await readStatus()).observed.flatMap((o) => o.rows);
    expect(rows.filter(([tunnel]) => tunnel === "b-s-ipv4").map((row) => row[5])).toEqual(
      Array(2).fill(expect.stringContaining("AES_CBC-256/HMAC_SHA2_256_128")),
    );
    expect(await keyOf()).toBe(key);
  });

  it("stay closed whatever rules of its own a gateway has", async () => {
    const shipped = project.read("testbeds/vpn.yaml");
    project.write("testbeds/vpn.yaml", shipped.replace("{ name: gw-a, tenant: lab,", "{ name: gw-a, tenant: lab, nftables: gateway.nft,"));
    // As distributions begin theirs; and what a gateway at the Internet does for its site.
    project.write(
      "gateway.nft",
      'flush ruleset\ntable ip own {\n  chain out {\n    type nat hook postrouting priority srcnat;\n    oifname "eth0" masquerade\n  }\n}\n',
    );
    succeeded(await project.flipflap("up"));
    expect(await eventually(() => reaches("a1", address("s1", "cloud-s")), 20)).toBe(true);
    expect(await wrong()).toEqual([]);
    const pid = await strongSwan("gw-a");
    const seen = await atRouter(async () => {
      await onServer("flip", `kill -STOP ${pid}`);
      await onServer("flip", `nsenter -t ${pid} -n ip link del ipsec0`);
      await insisting(3);
      // The same gateway sends what is not for a tunnel, as it is told.
      await inSystem("a1", "ping", "-n", "-c", "1", "-W", "1", address("internet", "wan-s"));
      await onServer("flip", `kill -CONT ${pid}`);
    });
    const forTunnels = seen.plain.filter((line) => !line.includes(address("internet", "wan-s")));
    expect([seen.plain.length > 0, forTunnels]).toEqual([true, []]);
    project.write("testbeds/vpn.yaml", shipped);
    await onServer("flip", "docker restart -t 0 ff-gw-a >/dev/null");
    succeeded(await project.flipflap("up"));
    expect(await eventually(async () => isHealthy(await readStatus()), 30)).toBe(true);
  });

  it("may go one by one, and come again: a site without tunnels is a site", async () => {
    const shipped = project.read("testbeds/vpn.yaml");
    project.write("testbeds/vpn.yaml", shipped.replace(/ {2}- \{ name: (b-s|a-b), .*\n/g, ""));
    succeeded(await project.flipflap("up"));
    expect((await readStatus()).observed.flatMap((o) => o.rows).map(([tunnel]) => tunnel)).not.toContain("a-b");
    expect(await wrong()).toEqual([]);
    project.write("testbeds/vpn.yaml", shipped);
    succeeded(await project.flipflap("up"));
    expect(await eventually(async () => isHealthy(await readStatus()), 30)).toBe(true);
  });

  it("know one another by certificates in the place of secrets", async () => {
    project.write("testbeds/vpn.yaml", `${Project.original("testbeds/vpn.yaml")}vpn: { auth: certificates }\n`);
    succeeded(await project.flipflap("up"));
    const told = await swanctl("gw-a", "--list-sas");
    expect(told).toContain("'O=flipflap, CN=gw-s'");
    expect(await wrong()).toEqual([]);
  });

  it("come back after a server's power cut", async () => {
    succeeded(await project.flipflap("lab", "power-cut", "flap"));
    succeeded(await project.flipflap("lab", "power-on", "flap"));
    await project.flipflap("repair");
    expect(await eventually(async () => isHealthy(await readStatus()), 60)).toBe(true);
    expect(await wrong()).toEqual([]);
  });

  it("gives both servers back as they were", async () => {
    await destroyAll(servers);
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
    project.write("testbeds/vpn.yaml", Project.original("testbeds/vpn.yaml"));
    project.use("bridge");
  });
});
