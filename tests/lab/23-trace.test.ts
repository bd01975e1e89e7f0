/** The tracer: packets followed through every kind's devices, held against what is declared and what others see. */
import { spawn } from "node:child_process";
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { checkedDeclaration } from "../../components/plan/check";
import { resolveMembers } from "../../components/kinds/members";
import type { Waypoint } from "../../components/kinds/path";
import { formatAddress } from "../../components/net/cidr";
import { readLabState } from "../../lab/state";
import { pulumiEnvironment } from "../../deploy/pulumi";
import { codeRoot } from "../../support/project";
import { ethernet, ipv4, sendWords, udp } from "../support/frames";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";
import { pingsByDeclaredWay, type Traced, tracedIn } from "../support/traced";

const project = new Project(ownRoot());
const { bringUp, captured, destroyAll, inSystem, onServer } = onLab(project);
const servers = ["flip", "flap"] as const;

const sorts = {
  br: { tenant: "red", text: "kind: bridge, mode: routed, subnets: { flip: 10.71.1.0/24, flap: 10.71.2.0/24 }" },
  ev: { tenant: "red", text: "kind: evpn, vn: 71, subnet: 10.72.0.0/24" },
  es: { tenant: "blue", text: "kind: evpn, vn: 72, subnet: 10.72.0.0/24, shortcut: false" },
  il: { tenant: "red", text: 'kind: ila, vn: 7, sir: "face:b00c:0:7::/64"' },
  mv: { tenant: "red", text: "kind: macvlan, parent: vxlan 74, subnet: 10.74.0.0/24" },
  ns: { tenant: "red", text: "kind: netns, subnet: 10.73.0.0/24" },
  rt: { tenant: "red", text: "kind: bridge, mode: router, subnets: { flip: 10.75.1.0/24, flap: 10.75.2.0/24 }" },
  nt: { tenant: "red", text: "kind: bridge, mode: nat, subnet: 10.76.0.0/24" },
  sw: { tenant: "red", text: "kind: swarm, subnet: 10.77.0.0/24" },
  ci: { tenant: "red", text: "kind: cilium, subnets: { flip: 10.78.1.0/24, flap: 10.78.2.0/24 }" },
  ia: { tenant: "red", text: "kind: evpn, vn: 79, subnet: 10.79.1.0/24, irb: asymmetric" },
  ib: { tenant: "red", text: "kind: evpn, vn: 80, subnet: 10.79.2.0/24, irb: asymmetric" },
} as const;
type Sort = keyof typeof sorts;
const names = Object.keys(sorts) as Sort[];

/** Kinds whose networks, or these modes of theirs, stay on a server. */
const isLocal = (sort: Sort): boolean => sort === "ns" || sort === "nt";

/** Two on flip and one on flap; a and c of the two evpn networks have equal addresses. */
const systemsOf = (sort: Sort): { name: string; server: string; address?: string }[] =>
  [
    { name: `${sort}-a`, server: "flip", address: "10.72.0.11" },
    { name: `${sort}-b`, server: "flip", address: "10.72.0.12" },
    ...(isLocal(sort) ? [] : [{ name: `${sort}-c`, server: "flap", address: "10.72.0.13" }]),
  ].map(({ address, ...one }) => (["ev", "es"].includes(sort) ? { ...one, address } : one));

const testbed = `tenants: [{ name: red }, { name: blue }]
networks:
${names.map((name) => `  - { name: ${name}, tenant: ${sorts[name].tenant}, ${sorts[name].text} }`).join("\n")}
systems:
${names
  .flatMap((sort) =>
    systemsOf(sort).map(
      ({ name, server, address }) =>
        `  - { name: ${name}, tenant: ${sorts[sort].tenant}, server: ${server}, networks: [{ name: ${sort}${address === undefined ? "" : `, address: ${address}`} }] }`,
    ),
  )
  .join("\n")}
links: [{ between: [flip, flap] }]
`;

const traced = (words: readonly string[], during: () => Promise<unknown>): Promise<Traced> => tracedIn(project, words, during);

const addressOf = (system: string): string => {
  const declaration = checkedDeclaration(project.root, readLabState(project.root), true);
  for (const network of declaration.testbed.networks) {
    const own = resolveMembers(declaration, network).members.find((member) => member.system === system);
    const address = own?.addresses.ipv4 ?? own?.addresses.ipv6;
    if (address !== undefined) return formatAddress(address);
  }
  throw new Error(`${system} has no address`);
};

/** The pings in a capture of tcpdump's, with its times. */
function echoesOf(capture: Buffer): { readonly sequence: number; readonly us: number }[] {
  expect(capture.readUInt32LE(0).toString(16)).toBe("a1b2c3d4");
  const found = [];
  for (let at = 24; at + 16 <= capture.length; at += 16 + capture.readUInt32LE(at + 8))
    found.push({
      sequence: capture.readUInt16BE(at + 16 + 14 + 20 + 6),
      us: capture.readUInt32LE(at) * 1e6 + capture.readUInt32LE(at + 4),
    });
  return found;
}

describe("the tracer", () => {
  const before = new Map<string, string>();

  beforeAll(async () => {
    project.write("testbeds/trace.yaml", testbed);
    await bringUp("trace", servers, before);
  });

  const pairs = [
    ...names.flatMap((sort) => (isLocal(sort) ? ["b"] : ["b", "c"]).map((to) => [sort, `${sort}-a`, `${sort}-${to}`] as const)),
    // Between networks of a tenant: by a router and without one, with NAT, by an EVPN's routers.
    ...(
      [
        ["br-a", "rt-c"],
        ["rt-a", "br-b"],
        ["nt-a", "br-b"],
        ["ia-a", "ib-b"],
        ["ia-a", "ib-c"],
      ] as const
    ).map(([from, to]) => ["", from, to] as const),
  ];

  it.each(pairs)("follows pings by the declared way, there and back: %s, %s to %s", async (sort, from, to) => {
    const filter = sort === "il" ? "icmp6 and (icmp6[icmp6type] = icmp6-echo or icmp6[icmp6type] = icmp6-echoreply)" : "icmp";
    await pingsByDeclaredWay(
      project,
      { from, to },
      async (count) => succeeded(await inSystem(from, "ping", "-n", "-c", String(count), "-i", "0.2", addressOf(to))),
      [...(sort === "" ? ["--system", from] : ["--network", sort]), filter],
    );
  });

  it("sees the packets that tcpdump sees at each device, in its order and at its times", async () => {
    const port = async (system: string, server: "flip" | "flap"): Promise<string> => {
      const index = (await inSystem(system, "cat", "/sys/class/net/eth0/iflink")).stdout.trim();
      return (await onServer(server, `ip -o link | sed -n 's/^${index}: \\([^@:]*\\).*/\\1/p'`)).trim();
    };
    const taps = [
      ["flip", await port("br-a", "flip"), "netif_receive_skb"],
      ["flip", "up0", "net_dev_start_xmit"],
      ["flap", "up0", "netif_receive_skb"],
      ["flap", await port("br-c", "flap"), "net_dev_start_xmit"],
    ] as const;
    const captures: Buffer[] = [];
    let journeys: Traced["journeys"] = [];
    const within = async (i: number): Promise<void> => {
      const tap = taps[i];
      if (tap === undefined) {
        ({ journeys } = await traced(["--system", "br-a", "--points", "all", "--no-probes", "icmp"], async () => {
          succeeded(await inSystem("br-a", "ping", "-n", "-c", "20", "-i", "0.05", addressOf("br-c")));
        }));
      } else captures[i] = await captured(tap[0], tap[1], "icmp[icmptype] = icmp-echo", () => within(i + 1));
    };
    await within(0);
    /** Sequence numbers and times, of tcpdump's and of ours. */
    const differences = taps.flatMap(([server, device, point], i) => {
      const theirs = echoesOf(captures[i] as Buffer);
      const ours = journeys.flatMap(({ legs }) =>
        legs.flatMap(({ server: at, leg: { steps, packets } }) =>
          steps
            .filter((step) => at === server && step.device === device && step.namespace === "" && step.point === point)
            .flatMap((step) => {
              const packet = packets[step.packet];
              return packet === undefined || packet.sourcePort >> 8 !== 8 ? [] : [{ sequence: packet.sequence, us: step.atNs / 1000 }];
            }),
        ),
      );
      expect(
        ours.map(({ sequence }) => sequence),
        `${server} ${device}`,
      ).toEqual(theirs.map(({ sequence }) => sequence));
      expect(theirs.length).toBe(20);
      return theirs.map(({ us }, k) => us - (ours[k]?.us ?? 0));
    });
    // Both clocks are the kernel's; tcpdump's is the wall's.
    const offset = [...differences].sort((a, b) => a - b)[Math.floor(differences.length / 2)] ?? 0;
    const far = differences.filter((one) => Math.abs(one - offset) > 50);
    // A core that the machine's host takes away between the two is nobody's fault.
    expect(far.length, far.map((one) => (one - offset).toFixed(0)).join(" ")).toBeLessThanOrEqual(4);
  });

  it("tells two tenants with equal addresses apart", async () => {
    const both = async (): Promise<void> => {
      await Promise.all(["ev-a", "es-a"].map((from) => inSystem(from, "ping", "-n", "-c", "3", "-i", "0.2", "10.72.0.13")));
    };
    for (const [tenant, own, other] of [
      ["red", "ev-", "es-"],
      ["blue", "es-", "ev-"],
    ] as const) {
      const { journeys } = await traced(["--tenant", tenant, "icmp"], both);
      expect(journeys.length).toBe(6);
      const met = journeys.flatMap(({ hops }) => hops.map(({ place }) => place));
      expect([met.some((place) => place.startsWith(own)), met.some((place) => place.startsWith(other))]).toEqual([true, false]);
    }
  });

  /** What is seen of br-a's packets to br-c, and of its answers, while it sends so much. */
  const sending = (amount: string): Promise<Traced> =>
    traced(["tcp"], async () => {
      await onServer("flap", "docker exec -d ff-br-c iperf3 -s -1");
      await new Promise((resolve) => setTimeout(resolve, 500));
      succeeded(await inSystem("br-a", "iperf3", "-c", addressOf("br-c"), "-n", amount));
    });

  it("follows a connection's packets, cut into segments and merged again, all by the declared way", async () => {
    const { journeys, said } = await sending("200K");
    const own = journeys.filter(({ explained }) => explained?.isKnown === true);
    expect(own.length, said).toBeGreaterThan(10);
    for (const { explained, hops } of own) expect([explained?.missing, explained?.extra], JSON.stringify(hops)).toEqual([[], []]);
    const cut = own.filter(({ pieces }) => pieces?.cutInto);
    const segments = own.filter(({ pieces }) => pieces?.cutFromBytes);
    // Whether they are merged again is chance: a switch between servers hands them on one by one.
    expect(cut.length).toBeGreaterThan(0);
    expect(segments.length).toBe(cut.reduce((sum, { pieces }) => sum + (pieces?.cutInto ?? 0), 0));
    expect(said).toMatch(/ 0 ambiguous/);
    expect(said).not.toMatch(/[1-9]\d* lost/);
  });

  it("tells what was lost from what was sent again", async () => {
    await onServer(
      "flip",
      "nft 'table ip lossy { chain f { type filter hook forward priority 0; ip protocol tcp numgen inc mod 20 == 7 counter drop; }; }'",
    );
    try {
      const { journeys, said } = await sending("1M");
      const counted = Number(/packets (\d+)/.exec(await onServer("flip", "nft list table ip lossy"))?.[1]);
      const dropped = journeys.filter(({ explained }) => explained?.dropped?.reason === "NETFILTER_DROP");
      expect(
        [
          dropped.length,
          dropped.every(({ explained }) => explained?.dropped?.at.device === "br-br" || explained?.dropped?.at.device === "up0"),
        ],
        said,
      ).toEqual([counted, true]);
      expect(counted).toBeGreaterThan(2);
      expect(said).toMatch(/ 0 ambiguous/);
      // Whatever was lost came later, in another packet.
      const [first] = dropped[0]?.legs[0]?.leg.packets ?? [];
      const again = journeys.filter(
        ({ legs, explained }) =>
          explained?.dropped === undefined &&
          legs[0]?.leg.packets[0]?.sequence === first?.sequence &&
          legs[0]?.leg.packets[0]?.source === first?.source,
      );
      expect(again.length).toBeGreaterThan(0);
    } finally {
      await onServer("flip", "nft delete table ip lossy");
    }
  });

  it("bounds clocks by pings of its own where all that is traced goes one way, and shows none of them", async () => {
    const send = `for i in 1 2 3; do echo $i >/dev/udp/${addressOf("br-c")}/7000; done`;
    const boundsNs = async (...words: string[]): Promise<(number | undefined)[]> => {
      const { journeys } = await traced([...words, "udp port 7000"], async () => {
        await new Promise((resolve) => setTimeout(resolve, 1500));
        succeeded(await inSystem("br-a", "bash", "-c", send));
      });
      return journeys.flatMap(({ hops }) => hops.flatMap(({ crossing }) => (crossing === undefined ? [] : [crossing.time?.boundNs])));
    };
    const bounds = await boundsNs();
    expect([bounds.length, bounds.every((bound) => bound !== undefined && bound < 100_000)], JSON.stringify(bounds)).toEqual([3, true]);
    expect(await boundsNs("--no-probes")).toEqual([undefined, undefined, undefined]);
    const nothing = await traced(["icmp"], () => new Promise((resolve) => setTimeout(resolve, 1500)));
    expect(nothing.journeys).toEqual([]);
    expect(nothing.said).toMatch(/flap: \d+ hits, [1-9]\d* matched/);
  });

  it("says where a packet was dropped, and why", async () => {
    const closed = await traced(["--system", "br-c", "udp port 7"], async () => {
      await inSystem("br-a", "sh", "-c", `echo hello | ncat -u -w1 ${addressOf("br-c")} 7`);
    });
    expect(closed.journeys.map(({ explained }) => [explained?.dropped?.at, explained?.dropped?.reason])).toEqual([
      [{ server: "flap", namespace: "br-c", device: "eth0" }, "NO_SOCKET"],
    ]);
    // The guard's program, at the port.
    const own = await inSystem("br-a", "cat", "/sys/class/net/eth0/address");
    const forged = ethernet(
      "ff:ff:ff:ff:ff:ff",
      own.stdout.trim(),
      0x0800,
      ipv4("10.9.9.9", "10.71.1.255", 17, udp(5555, 7777, Buffer.from("forged"))),
    );
    const spoofed = await traced(["--system", "br-a", "src host 10.9.9.9"], async () => {
      await inSystem("br-a", ...sendWords("eth0", forged));
    });
    const spoofs = spoofed.journeys.flatMap(({ legs }) => legs.flatMap(({ leg }) => leg.steps.flatMap(({ reason }) => reason ?? [])));
    expect(new Set(spoofs)).toEqual(new Set(["TC_INGRESS"]));
    expect(spoofed.said).toMatch(/flip: guard dropped [1-9]\d* from an address that is not the system's, meanwhile/);
    // Another tenant's network.
    const foreign = await traced(["--system", "br-a", "icmp"], async () => {
      await inSystem("br-a", "ping", "-n", "-c", "1", "-W", "1", "10.73.0.99");
    });
    const reasons = foreign.journeys.flatMap(({ legs }) => legs.flatMap(({ leg }) => leg.steps.flatMap(({ reason }) => reason ?? [])));
    expect(reasons[0]).toMatch(/NETFILTER_DROP|IP_OUTNOROUTES|IP_INNOROUTES/);
  });

  /** In a system's namespace, by its server's tools. */
  const inside = (system: string, command: string): string => `nsenter -t $(docker inspect -f '{{.State.Pid}}' ff-${system}) -n ${command}`;

  /** What breaks a way between br-a on flip and br-c on flap, or that of another kind; where the tracer finds it, and why. */
  interface Breakage {
    readonly server: "flip" | "flap";
    readonly make: string;
    /** Without it, or beside it, a repair mends what was made. */
    readonly undo?: string;
    readonly isRepaired?: true;
    readonly filter?: string;
    readonly from?: string;
    readonly ping?: readonly string[];
    readonly at: string;
    readonly reason: string;
    /** Where it is seen last if flip's NIC keeps its carrier: a lab's switch then loses what no server sees. */
    readonly lostAfter?: string;
  }
  const peer = (): string => addressOf("br-c");
  const breakages: Readonly<Record<string, () => Breakage>> = {
    "an MTU": () => ({
      server: "flip",
      make: "ip link set up0 mtu 1500",
      ping: ["-M", "do", "-s", "4000"],
      at: "flip br-br",
      reason: "PKT_TOO_BIG",
    }),
    "a wrong route": () => ({
      server: "flip",
      make: `ip route add unreachable ${peer()}/32`,
      undo: `ip route del unreachable ${peer()}/32`,
      at: "flip br-br",
      reason: "IP_INNOROUTES|IP_OUTNOROUTES|NOT_SPECIFIED",
    }),
    "a rule of the server": () => ({
      server: "flip",
      make: `iptables -I FORWARD -d ${peer()} -j DROP`,
      undo: `iptables -D FORWARD -d ${peer()} -j DROP`,
      at: "flip br-br",
      reason: "NETFILTER_DROP",
    }),
    "a rule of a system's own": () => ({
      server: "flap",
      make: `${inside("br-c", "nft add table ip x")}; ${inside("br-c", "nft 'add chain ip x in { type filter hook input priority 0; }'")}; ${inside("br-c", "nft add rule ip x in icmp type echo-request drop")}`,
      undo: inside("br-c", "nft delete table ip x"),
      at: "br-c eth0",
      reason: "NETFILTER_DROP",
    }),
    // For up to a second flip's kernel does not heed that its carrier is gone, and flap's drops what comes.
    "a far link": () => ({
      server: "flap",
      make: "ip link set up0 down",
      at: "(flip|flap) up0",
      reason: "QDISC_DROP|DEV_READY|NOT_SPECIFIED",
      lostAfter: "flip up0",
    }),
    "a next hop that is not there": () => ({
      server: "flap",
      make: `${inside("br-c", "ip link set eth0 arp off")}; ip neigh del ${peer()} dev br-br`,
      undo: inside("br-c", "ip link set eth0 arp on"),
      isRepaired: true,
      ping: ["-W", "4"],
      at: "flap br-br",
      reason: "NEIGH_FAILED",
    }),
    "a neighbour's wrong MAC": () => ({
      server: "flap",
      make: `ip neigh replace ${peer()} lladdr 02:66:66:66:66:01 dev br-br nud permanent`,
      at: "br-c eth0",
      reason: "OTHERHOST",
    }),
    "a source that is elsewhere": () => ({
      server: "flap",
      make: `sysctl -qw net.ipv4.conf.up0.rp_filter=1; ip route add ${addressOf("br-a")}/32 dev br-br`,
      undo: `sysctl -qw net.ipv4.conf.up0.rp_filter=0; ip route del ${addressOf("br-a")}/32 dev br-br`,
      at: "flap up0",
      reason: "IP_RPFILTER",
    }),
    "a system's interface": () => ({
      server: "flap",
      make: inside("br-c", "ip link set eth0 down"),
      at: "flap br-br",
      reason: "NO_TX_TARGET|QDISC_DROP",
    }),
    "a port of a bridge that is blocked": () => ({
      server: "flap",
      make: "for port in $(bridge link show | sed -n 's/^[0-9]*: \\(ffv-[0-9a-f]*\\).* master br-br .*/\\1/p'); do bridge link set dev $port state 0; done",
      undo: "for port in $(bridge link show | sed -n 's/^[0-9]*: \\(ffv-[0-9a-f]*\\).* master br-br .*/\\1/p'); do bridge link set dev $port state 3; done",
      at: "flap br-br",
      reason: "QDISC_DROP|NO_TX_TARGET|NOT_SPECIFIED",
    }),
    "a full queue": () => ({
      server: "flip",
      make: "tc qdisc add dev up0 root tbf rate 8kbit burst 1600 limit 2000",
      undo: "tc qdisc del dev up0 root",
      ping: ["-c", "8", "-i", "0.05", "-s", "900"],
      at: "flip up0",
      reason: "QDISC_DROP",
    }),
    "a hop limit": () => ({ server: "flip", make: "true", undo: "true", ping: ["-t", "1"], at: "flip br-br", reason: "IP_INHDR" }),
    "an ILA mapping that is not there": () => ({
      server: "flip",
      make: "true",
      undo: "true",
      from: "il-a",
      filter: "icmp6 and host face:b00c:0:7:2000:7:0:1",
      ping: ["face:b00c:0:7:2000:7:0:1"],
      at: "flip ffv-[0-9a-f]+",
      reason: "TC_INGRESS",
    }),
    "a VN that the other server has not": () => ({
      server: "flap",
      // Its routes stay meanwhile.
      make: "docker pause ff-speaker >/dev/null; ip link set vx-es down",
      undo: "ip link set vx-es up; docker unpause ff-speaker >/dev/null",
      isRepaired: true,
      from: "es-a",
      ping: [addressOf("es-c")],
      at: "flap up0",
      reason: "VXLAN_VNI_NOT_FOUND|NO_SOCKET",
    }),
  };

  it.each(Object.keys(breakages))("names the device and the reason where %s is at fault", async (name) => {
    const {
      server,
      make,
      undo,
      isRepaired,
      filter = "icmp",
      from = "br-a",
      ping = [],
      at,
      reason,
      lostAfter,
    } = (breakages[name] as () => Breakage)();
    const target = ping.some((word) => word.includes(":") || /^\d+\.\d+\./.test(word)) ? [] : [peer()];
    const { journeys, said } = await traced(["--system", from, filter], async () => {
      await onServer(server, make);
      await inSystem(from, "ping", "-n", "-c", "1", "-W", "1", ...ping, ...target);
    });
    try {
      const isLost = lostAfter !== undefined && (await onServer("flip", "cat /sys/class/net/up0/carrier")).trim() === "1";
      const placeName = ({ namespace, server, device }: Waypoint): string => `${namespace || server} ${device}`;
      const found = journeys.flatMap(({ explained: { dropped, lastSeen } = {} }) => [
        ...(dropped === undefined ? [] : [`${placeName(dropped.at)}: ${dropped.reason}`]),
        ...(lastSeen === undefined ? [] : [`${placeName(lastSeen)}: lost`]),
      ]);
      const wanted = new RegExp(isLost ? `^${lostAfter}: lost$` : `^${at}: (${reason})$`);
      expect(found.filter((one) => wanted.test(one)).length, `${found.join("; ")}\n${said}${JSON.stringify(journeys)}`).toBeGreaterThan(0);
    } finally {
      if (undo !== undefined) await onServer(server, undo);
      if (undo === undefined || isRepaired) succeeded(await project.flipflap("repair"));
    }
  });

  it("says what is wrong with what it is asked, and begins nothing", async () => {
    const asked = async (...words: string[]) => {
      const { code, stderr } = await project.flipflap("trace", ...words);
      return [code !== 0, stderr] as const;
    };
    expect((await asked("icmp", "and", "hots", "10.0.0.1"))[1]).toMatch(
      /"hots" is no word of a filter at column 10:[^]*icmp and hots 10\.0\.0\.1\n +\^/,
    );
    expect(await asked("--system", "nobody")).toEqual([true, expect.stringMatching(/nobody/)]);
    expect(await asked("--network", "nowhere")).toEqual([true, expect.stringMatching(/there is no network "nowhere"; there are br, ev/)]);
    expect(await asked("--count", "none")).toEqual([true, expect.stringMatching(/--count takes a whole number/)]);
  });

  it("leaves nothing when it is killed", async () => {
    const child = spawn("node", [`${codeRoot}/cli/start.cjs`, "trace", "icmp"], {
      cwd: project.root,
      env: pulumiEnvironment(project.root),
    });
    await new Promise<void>((resolve) => child.stderr.on("data", (data: Buffer) => data.includes("following") && resolve()));
    const tracers = async (): Promise<number> => Number((await onServer("flip", "ps -eo args | grep -c '^/agent trac[e]' || :")).trim());
    expect(await tracers()).toBe(1);
    child.kill("SIGKILL");
    // ssh sees its client go, and what it had begun with it.
    for (let i = 0; i < 50 && (await tracers()) > 0; i++) await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await tracers()).toBe(0);
  });

  it("gives both servers back", async () => {
    await destroyAll(servers);
    for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
    project.use("bridge");
  });
});
