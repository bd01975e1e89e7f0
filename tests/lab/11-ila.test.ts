/** Kind ila by eBPF: addresses on the wire, checksums, tenants, moves, the registry's absence, breakages, and back. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { Status } from "../../cli/verbs/status";
import { canonicalAddress } from "../../components/net/cidr";
import { sleep } from "../../support/process";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { readPackets } from "../support/packets";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"] as const;
const before = new Map<string, string>();
const { bringUp, changesOfAnotherUp, onServer, inSystem, reaches, wrong, readStatus, pinging, captured, destroyAll } = onLab(project);

interface Facts {
  readonly registry: string;
  readonly systems: readonly { address: string; wire: string; server: string }[];
  readonly drops: Readonly<Record<string, number>>;
}

const facts = async (server: string): Promise<Facts> =>
  JSON.parse(
    await onServer(server, `nsenter -t $(docker inspect -f '{{.State.Pid}}' ff-agent) -m -p /agent ila -stack ${server}`),
  ) as Facts;

describe("kind ila", () => {
  let status: Status;
  const address = (system: string): string =>
    status.systems.find((s) => s.name === system)?.interfaces[0]?.addresses[0]?.split("/")[0] ?? "none";
  /** Where a server thinks that an address is. */
  const placeOf = async (server: string, sir: string): Promise<string> =>
    (await facts(server)).systems.find((one) => one.address === sir)?.server ?? "nowhere";
  const dropped = async (server: string, reason: string): Promise<number> => (await facts(server)).drops[reason] ?? 0;

  beforeAll(async () => {
    status = await bringUp("ila", servers, before);
  });

  it("comes up: both servers have a lease, every system is reached with 9000 bytes, every check holds", async () => {
    expect(status.observed.flatMap((o) => o.problems)).toEqual([]);
    expect(new Set(status.probes.map((probe) => probe.mtuBytes))).toEqual(new Set([9000]));
    expect((await project.flipflap("check")).stdout).toMatch(/ 0 not as declared; \d+ ways probed, 0 closed/);
  });

  it("keeps the key that speaks to etcd out of the state and of docker's sight", async () => {
    const states = readdirSync(join(project.root, ".flipflap/state"), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
    expect(states.length).toBeGreaterThan(1);
    expect(states.filter((text) => text.includes("PRIVATE KEY"))).toEqual([]);
    for (const server of servers) {
      expect(await onServer(server, "docker inspect $(docker ps -aq)")).not.toContain("PRIVATE KEY");
      // Without a certificate of the testbed's own authority nobody gets an answer.
      const endpoint = `${JSON.parse(project.read(".flipflap/lab.json")).servers.flip.underlay.ipv4.split("/")[0]}:2379`;
      // By TLS 1.3 a client is refused after it has been let in: one that hangs up at once hears nothing of it.
      expect(await onServer(server, `sleep 2 | openssl s_client -connect ${endpoint} 2>&1 || :`)).toMatch(
        /alert (bad certificate|certificate required)/,
      );
    }
  });

  it("has nothing to do when it is brought up again", async () => {
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it.each([
    ["red", "neutral", true],
    ["blue", "adjust-transport", true],
    ["s0", "no-action", false],
  ])("%s (%s): locators between servers, SIR inside, and checksums fit the wire: %s", async (tenant, _, fits) => {
    const [from, to] = tenant === "s0" ? ["s0-one", "s0-two"] : [`${tenant}-web`, `${tenant}-client`];
    const offloads = (await inSystem(from, "ethtool", "-k", "eth0")).stdout;
    expect(offloads).toContain(`tx-checksum-ip-generic: ${fits ? "on" : "off"}`);
    // The sender computes whole checksums itself: what is seen is what a NIC would send.
    succeeded(await inSystem(from, "ethtool", "-K", "eth0", "tx", "off"));
    succeeded(await inSystem(to, "sh", "-c", "nohup ncat -6 -l 5201 >/dev/null 2>&1 &"));
    await sleep(300);
    let inside = "";
    const wire = await captured("flap", "up0", "ip6 and tcp dst port 5201", async () => {
      const listen = inSystem(to, "timeout", "10", "tcpdump", "-n", "-c", "4", "-i", "eth0", "tcp dst port 5201");
      await sleep(1500);
      // One by one: what GRO puts together has no whole checksum until a NIC gives it one.
      const words = "for word in 1 2 3 4 5 6 7 8; do echo $word; sleep 0.1; done";
      succeeded(await inSystem(from, "sh", "-c", `(${words}) | ncat -6 --send-only ${address(to)} 5201`));
      inside = (await listen).stdout;
    });
    const packets = readPackets(wire);
    const { wire: expected } = (await facts("flip")).systems.find((one) => one.address === address(to)) ?? { wire: "none" };
    expect(expected).not.toBe(address(to));
    expect(packets.length).toBeGreaterThan(5);
    expect(new Set(packets.map((packet) => packet.source))).toEqual(new Set([address(from)]));
    expect(new Set(packets.map((packet) => packet.destination))).toEqual(new Set([expected]));
    expect(new Set(packets.filter((packet) => packet.isWhole).map((packet) => packet.checksumFits))).toEqual(new Set([fits]));
    expect(inside).toContain(`${address(from)}.`);
    expect(inside).toContain(`> ${address(to)}.5201`);
    if (fits) succeeded(await inSystem(from, "ethtool", "-K", "eth0", "tx", "on"));
    expect(await wrong()).toEqual([]);
  });

  it("is routed: two hops between systems of two servers, and the stack says what is too big", async () => {
    const hops = succeeded(await inSystem("red-web", "traceroute", "-n", "-q", "1", "-w", "1", address("red-client")))
      .trim()
      .split("\n")
      .slice(1);
    expect(hops.map((line) => canonicalAddress(line.trim().split(/\s+/)[1] ?? ""))).toHaveLength(3);
    expect(hops.at(-1)).toContain(address("red-client"));
    await onServer("flip", "ip link set dev up0 mtu 1400");
    await sleep(1500);
    const said = await inSystem("red-web", "ping", "-n", "-c", "2", "-W", "1", "-M", "do", "-s", "2000", address("red-client"));
    expect(said.stdout).toContain("Packet too big: mtu=1400");
    // TCP goes on, by smaller segments.
    succeeded(await inSystem("red-client", "sh", "-c", "iperf3 -s -1 -D"));
    await sleep(300);
    succeeded(await inSystem("red-web", "iperf3", "-c", address("red-client"), "-n", "1M"));
    succeeded(await project.flipflap("repair"));
    succeeded(await inSystem("red-web", "ip", "-6", "route", "flush", "cache"));
    expect(await wrong()).toEqual([]);
  });

  it("drops what a system must not send, at its own port, and counts it", async () => {
    const [sir, far] = [address("red-near"), address("red-client")];
    const locator = (await facts("flip")).systems.find((one) => one.address === far)?.wire ?? "";
    const stranger = sir.replace(/:[^:]+$/, ":5a5a");
    const other = address("blue-web").replace(/:[^:]+$/, ":5a5a");
    succeeded(await inSystem("red-near", "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "eth0"));
    for (const own of [stranger, other]) succeeded(await inSystem("red-near", "ip", "addr", "add", `${own}/128`, "dev", "eth0", "nodad"));
    const cases: [reason: string, words: string[]][] = [
      ["spoofed identifier", ["-I", stranger, far]],
      ["spoofed network", ["-I", other, far]],
      ["spoofed network", ["-I", other, address("blue-client")]],
      ["foreign sir", ["-I", sir, address("blue-client")]],
      ["to locator", ["-I", sir, locator]],
      ["outside", ["-I", sir, "2001:db8::1"]],
      ["no mapping", ["-I", sir, stranger.replace("5a5a", "6b6b")]],
    ];
    for (const [reason, words] of cases) {
      const count = await dropped("flip", reason);
      const { stdout } = await inSystem("red-near", "ping", "-n", "-q", "-c", "2", "-i", "0.2", "-W", "1", ...words);
      expect([reason, /(\d+) received/.exec(stdout)?.[1], (await dropped("flip", reason)) - count]).toEqual([reason, "0", 2]);
    }
    for (const own of [stranger, other]) succeeded(await inSystem("red-near", "ip", "addr", "del", `${own}/128`, "dev", "eth0"));
    succeeded(await inSystem("red-near", "ip", "-6", "route", "del", "default"));
    expect(await reaches("red-near", far)).toBe(true);
    // The server itself does not reach its systems either.
    const count = await dropped("flip", "from server");
    await onServer("flip", `ping -n -c 1 -W 1 ${sir} || :`);
    expect((await dropped("flip", "from server")) - count).toBeGreaterThan(0);
  });

  it("serves a container that somebody started by hand, and forgets it when it is gone", async () => {
    await onServer(
      "flip",
      "docker run -d --name by-hand --network none --label flipflap.network=red-id $(docker images -q flipflap/tools | head -n 1) >/dev/null",
    );
    const known = new Set(status.systems.flatMap((s) => s.interfaces.flatMap((i) => i.addresses.map((a) => a.split("/")[0]))));
    let own = "";
    expect(
      await eventually(async () => {
        own = (await facts("flap")).systems.find((one) => !known.has(one.address))?.address ?? "";
        return own !== "";
      }),
    ).toBe(true);
    expect(await reaches("red-client", own)).toBe(true);
    expect(await onServer("flip", `docker exec by-hand ping -n -c 1 -W 1 ${address("red-client")}`)).toContain("1 received");
    expect(await wrong()).toEqual([]);
    await onServer("flip", "docker rm -f by-hand >/dev/null");
    expect(await eventually(async () => (await placeOf("flap", own)) === "nowhere")).toBe(true);
  });

  it("moves a system: its address stays, a flow of datagrams to it goes on at the new place", async () => {
    const file = "testbeds/ila.yaml";
    // It writes down the datagrams that come.
    const listens = 'command: [socat, -u, "UDP6-RECV:9000", "OPEN:/tmp/came,creat,append"],';
    project.edit(file, "{ name: red-web, tenant: red,", `{ name: red-web, tenant: red, ${listens}`);
    succeeded(await project.flipflap("up"));
    const count = 600;
    const flow = pinging("red-near", address("red-web"), count, 0.02);
    const words = `(for i in $(seq ${count}); do echo $i; sleep 0.02; done) | socat -u - UDP6-SENDTO:[${address("red-web")}]:9000`;
    const datagrams = inSystem("red-near", "sh", "-c", words);
    succeeded(await project.flipflap("move", "red-web", "--to", "flap"));
    const { lost } = await flow;
    succeeded(await datagrams);
    const came = succeeded(await inSystem("red-web", "cat", "/tmp/came"))
      .trim()
      .split("\n")
      .map(Number);
    expect(came.at(-1)).toBe(count);
    expect(came.length).toBeGreaterThan(10);
    expect(came).toEqual(came.map((_, i) => (came[0] ?? 0) + i));
    // What is lost fits into 100 ms; `npm run bench -- ila-registry` measures it.
    expect(lost).toBeLessThan(6);
    for (const server of servers) expect(await placeOf(server, address("red-web"))).toBe("flap");
    expect(await reaches("red-client", address("red-web"))).toBe(true);
    expect(await wrong()).toEqual([]);
    succeeded(await project.flipflap("move", "red-web", "--to", "flip"));
    for (const server of servers) expect(await placeOf(server, address("red-web"))).toBe("flip");
    expect(await wrong()).toEqual([]);
    project.write(file, Project.original(file));
    succeeded(await project.flipflap("up"));
  });

  it("converges after a plain change of server, whichever stack comes first", async () => {
    const file = "testbeds/ila.yaml";
    for (const [server, first, second] of [
      ["flap", "flip", "flap"],
      ["flip", "flap", "flip"],
    ] as const) {
      project.edit(file, /(name: red-web, tenant: red, server: )\w+/, `$1${server}`);
      for (const stack of [first, second]) succeeded(await project.pulumi("up", "-s", stack, "--yes", "--skip-preview"));
      expect(await eventually(async () => (await placeOf("flap", address("red-web"))) === server)).toBe(true);
      expect(await reaches("red-client", address("red-web"))).toBe(true);
      expect(await wrong()).toEqual([]);
    }
  });

  it("goes on with what is known while etcd is away, and says so", async () => {
    const ping = pinging("red-web", address("red-client"), 100, 0.1);
    await onServer("flip", "docker kill ff-etcd >/dev/null");
    expect(await ping).toEqual({ sent: 100, lost: 0 });
    expect((await readStatus()).observed.flatMap((o) => o.problems).join("\n")).toMatch(/ILA: the registry is not connected/);
    // What starts meanwhile is told when etcd is back.
    await onServer("flap", "docker restart -t 0 ff-blue-client >/dev/null");
    await onServer("flip", "docker start ff-etcd >/dev/null");
    expect(
      await eventually(async () => (await facts("flap")).registry === "connected" && (await facts("flip")).registry === "connected", 20),
    ).toBe(true);
    expect(await eventually(() => reaches("blue-web", address("blue-client")))).toBe(true);
    expect(await eventually(async () => (await wrong()).length === 0)).toBe(true);
  });

  it("loses nothing when an agent is killed", async () => {
    const ping = pinging("red-web", address("red-client"), 60, 0.1);
    await onServer("flip", "kill -9 $(docker inspect -f '{{.State.Pid}}' ff-agent)");
    expect(await ping).toEqual({ sent: 60, lost: 0 });
    expect(await eventually(async () => (await wrong()).length === 0)).toBe(true);
    expect(await placeOf("flap", address("red-web"))).toBe("flip");
  });

  it("names what was broken by hand, all at once, and mends it", async () => {
    const port = (server: string, system: string) =>
      onServer(server, `grep -o '"hostName": "[^"]*"' /var/lib/flipflap/${server}/attach/${system}.json | cut -d'"' -f4`).then((text) =>
        text.trim(),
      );
    const [web, near, client] = [await port("flip", "red-web"), await port("flip", "red-near"), await port("flap", "red-client")];
    const broken: [server: string, command: string, object: string, property: string][] = [
      ["flip", `rm /sys/fs/bpf/flipflap-flip/ila/ila_port_out-${web}`, "red-web-attach", "eth0.ila"],
      ["flip", `ip -6 route del ${address("red-near")} dev ${near}`, "red-near-attach", "eth0.ila"],
      ["flap", `ip -6 neigh del ${address("red-client")} dev ${client}`, "red-client-attach", "eth0.neighbours"],
      [
        "flap",
        "ip -6 route del $(ip -6 route show proto 240 | awk '/fdf1:f1aa/ && /via/ {print $1}') proto 240",
        "ila_edge-locator-flip",
        "",
      ],
      [
        "flap",
        "ip -6 route del $(ip -6 route show type unreachable proto 240 | awk 'NR == 1 {print $2}') proto 240",
        "ila_edge-own-locator",
        "",
      ],
      ["flap", "ip neigh del fe80::f1:1a dev up0", "ila_edge-exit", "fe80::f1:1a"],
      ["flip", "ip -6 route del face:b00c:0:8::/64 proto 240", "blue-id-sir", ""],
      ["flip", "rm /var/lib/flipflap/flip/ca/etcd/tls.crt", "ila_nva-certificates", "etcd"],
    ];
    for (const [server, command] of broken) await onServer(server, command);
    const found = (await wrong()).map(({ server, name, differences }) => [server, name, differences.map((d) => d.property)]);
    const expected = broken.map(([server, , object, property]) => [server, object, property === "" ? [] : [property]]);
    expect(found.sort()).toEqual(expected.sort());
    succeeded(await project.flipflap("repair"));
    expect(await eventually(async () => (await wrong()).length === 0, 20)).toBe(true);
    for (const to of ["red-web", "red-near"]) expect(await reaches("red-client", address(to))).toBe(true);
  });

  it("survives the power cut of a server: its systems are forgotten, repair brings them back", async () => {
    succeeded(await project.flipflap("lab", "power-cut", "flap"));
    expect(await eventually(async () => (await facts("flip")).systems.every(({ server }) => server === "flip"), 9)).toBe(true);
    expect(await reaches("red-near", address("red-web"))).toBe(true);
    succeeded(await project.flipflap("lab", "power-on", "flap"));
    succeeded(await project.flipflap("repair"));
    expect(await eventually(() => reaches("red-web", address("red-client")), 5)).toBe(true);
    expect(await eventually(async () => (await wrong()).length === 0)).toBe(true);
  });

  it("hands out an authority that was made again: drift and repair name the secret, and up tells all servers", async () => {
    await onServer("flip", "rm -rf /var/lib/flipflap/flip/ca");
    const repaired = await project.flipflap("repair");
    expect([repaired.code, repaired.stdout]).toEqual([3, expect.stringContaining("flipflap up hands it out to all servers")]);
    expect((await project.flipflap("drift")).stdout).toMatch(/flip-secrets-\S+ \(secretFile\): different/);
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
    expect(await reaches("red-client", address("red-web"))).toBe(true);
    const again = await project.flipflap("up");
    expect(again.stderr).toMatch(/pulumi up -s flip: no changes[^]*|pulumi up -s flap: no changes/);
  });

  it("changes the way with checksums in place, and puts offloads back", async () => {
    const file = "testbeds/ila.yaml";
    project.edit(file, ", csum: adjust-transport", ", csum: no-action");
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
    expect((await inSystem("blue-web", "ethtool", "-k", "eth0")).stdout).toContain("tx-checksum-ip-generic: off");
    project.write(file, Project.original(file));
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
    expect((await inSystem("blue-web", "ethtool", "-k", "eth0")).stdout).toContain("tx-checksum-ip-generic: on");
  });

  it("shows locator addresses on the uplink as report S0 had them, where that is asked for, and takes them away again", async () => {
    const file = "testbeds/ila.yaml";
    const shown = async (): Promise<string[]> =>
      [...(await onServer("flip", "ip -6 -o addr show dev up0 deprecated")).matchAll(/inet6 (\S+)\/128/g)]
        .map(([, one]) => one ?? "")
        .sort();
    expect(await shown()).toEqual([]);
    project.write(file, `ila: { locatorAddresses: true }\n${Project.original(file)}`);
    succeeded(await project.flipflap("up"));
    const own = (await facts("flip")).systems.filter(({ server }) => server === "flip").map(({ wire }) => wire);
    expect(await shown()).toEqual([...own].sort());
    // The local route of such an address would keep packets from being translated.
    expect(await onServer("flip", "ip -6 route show table local")).not.toContain(own[0]);
    expect(await reaches("red-client", address("red-web"))).toBe(true);
    expect(await wrong()).toEqual([]);
    project.write(file, Project.original(file));
    succeeded(await project.flipflap("up"));
    expect(await shown()).toEqual([]);
    expect(await wrong()).toEqual([]);
  });

  it("refuses the kernel backend where the kernel has no ILA, before anything is changed", async () => {
    const file = "testbeds/ila.yaml";
    project.edit(file, "vn: 7, sir", "vn: 7, backend: kernel, sir");
    const said = await project.pulumi("up", "-s", "flip", "--yes", "--skip-preview");
    project.write(file, Project.original(file));
    const hasIla = (await onServer("flip", "zcat /proc/config.gz 2>/dev/null | grep -c '^CONFIG_IPV6_ILA=' || :")).trim();
    if (hasIla === "0")
      expect([said.code === 0, `${said.stdout}${said.stderr}`]).toEqual([
        false,
        expect.stringMatching(/CONFIG_IPV6_ILA[\s\S]*backend: ebpf/),
      ]);
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
  });

  it("gives both servers back as they were", async () => {
    await destroyAll(servers);
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
    project.use("bridge");
  });
});
