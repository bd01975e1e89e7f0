/** Every mode of kind bridge, several links, and what a system may have besides. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { Status } from "../../cli/verbs/status";
import { run } from "../../support/process";
import { addressBytes } from "../support/frames";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";
import { pingsByDeclaredWay } from "../support/traced";

const project = new Project(ownRoot());
const before = new Map<string, string>();
const { captured, inSystem, onServer, reaches: reachesAddress } = onLab(project);

describe("the modes of kind bridge", () => {
  let status: Status;
  const address = (system: string, index = 0): string =>
    status.systems.find((s) => s.name === system)?.interfaces[0]?.addresses[index]?.split("/")[0] ?? "none";
  const reaches = (from: string, to: string, index = 0, hasNoRoute = false): Promise<boolean> =>
    reachesAddress(from, address(to, index), { hasNoRoute });

  beforeAll(async () => {
    // Another testbed, with one link more: the lab gets it while it runs.
    succeeded(await project.flipflap("lab", "start"));
    project.use("bridge-modes");
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    for (const server of ["flip", "flap"]) before.set(server, await serverSnapshot(project.root, server));
    status = JSON.parse(succeeded(await project.flipflap("up", "--json"))) as Status;
  });

  it("comes up, and every check holds", async () => {
    expect(status.systems.every((s) => s.state === "running" && s.reachable !== false)).toBe(true);
    expect((await project.flipflap("check")).stdout).toMatch(/ objects checked, 0 not as declared; \d+ ways probed, 0 closed/);
  });

  it.each([
    ["l2-flip", "l2-flap", 0],
    ["l2-flap", "l2-flip", 1],
    ["routed-flip", "routed-flap", 0],
    ["router-flip", "router-flap", 0],
    ["router-flap", "router-flip", 1],
    ["routed-flip", "router-flap", 0],
    ["amber-flip", "amber-flap", 0],
  ] as const)("%s reaches %s", async (from, to, index) => {
    expect(await reaches(from, to, index)).toBe(true);
  });

  it.each([
    ["nat-flip", "nat-flap", false],
    ["amber-flip", "routed-flap", false],
    ["routed-flap", "amber-flap", false],
    ["router-flip", "amber-flip", false],
    ["nat-flip", "amber-flap", false],
    // Nobody routes for a network of mode l2.
    ["l2-flip", "routed-flip", true],
  ] as const)("%s does not reach %s", async (from, to, hasNoRoute) => {
    expect(await reaches(from, to, 0, hasNoRoute)).toBe(false);
  });

  it("hides what leaves a nat network behind the server's address", async () => {
    const underlay = (await onServer("flap", "ip -o -4 addr show dev up0 | awk '{print $4}' | cut -d/ -f1")).trim();
    // A host beyond the testbed; its servers are closed.
    const outside = "198.51.100.9";
    await onServer("flap", `ip addr add ${outside}/32 dev lo`);
    await onServer("flip", `ip route add ${outside} via ${underlay}`);
    const ping = (to: string) => inSystem("nat-flip", "ping", "-n", "-c", "2", "-i", "0.3", "-W", "1", to);
    const codes: number[] = [];
    const seen = await captured("flap", "up0", "icmp[icmptype] == icmp-echo", async () => {
      for (const to of [underlay, outside]) codes.push((await ping(to)).code);
    });
    await onServer("flip", `ip route del ${outside}`);
    await onServer("flap", `ip addr del ${outside}/32 dev lo`);
    expect(codes).toEqual([1, 0]);
    const own = (await onServer("flip", "ip -o -4 addr show dev up0 | awk '{print $4}' | cut -d/ -f1")).trim();
    const fromTo = Buffer.concat([addressBytes(own), addressBytes(outside)]);
    expect(seen.includes(fromTo)).toBe(true);
  });

  it("shows two hops through a routed bridge and four through router namespaces", async () => {
    const hops = async (from: string, to: string, index = 0): Promise<string[]> => {
      const said = succeeded(await inSystem(from, "traceroute", "-n", "-q", "1", "-w", "1", "-m", "8", address(to, index)));
      return [...said.matchAll(/^ *\d+ +(\S+)/gm)].map(([, hop]) => hop ?? "");
    };
    const underlay = async (family: 4 | 6): Promise<string> =>
      (await onServer("flap", `ip -o -${family} addr show dev up0 scope global | awk '{print $4}' | cut -d/ -f1`)).trim();
    const routed = await hops("routed-flip", "routed-flap");
    expect(routed).toEqual(["10.21.1.1", await underlay(4), address("routed-flap")]);
    for (const [family, index] of [
      [4, 0],
      [6, 1],
    ] as const) {
      const router = await hops("router-flip", "router-flap", index);
      expect([router.length, router[2], router[4]]).toEqual([5, await underlay(family), address("router-flap", index)]);
    }
  });

  it("has its NIC on the declared way of what goes to another server", () =>
    pingsByDeclaredWay(project, { from: "l2-flip", to: "l2-flap" }, async (count) =>
      succeeded(await inSystem("l2-flip", "ping", "-n", "-c", String(count), "-i", "0.2", address("l2-flap"))),
    ));

  it("tells a sender of a path's MTU on the other server", async () => {
    await onServer("flap", `ip link set br-green-routed mtu 2000`);
    const big = await inSystem(
      "routed-flip",
      "ping",
      "-n",
      "-c",
      "2",
      "-i",
      "0.3",
      "-W",
      "1",
      "-M",
      "do",
      "-s",
      "3000",
      address("routed-flap"),
    );
    expect(succeeded(await project.flipflap("repair"))).toContain("1 mended, 0 left");
    // The first says that it is too long; one who has learned it, that the message is.
    expect(`${big.stdout}${big.stderr}`).toMatch(/mtu ?= ?2000/);
  });

  it("puts a system into two networks, each by its own interface", async () => {
    const link = succeeded(await inSystem("dual-flip", "ip", "-br", "addr"));
    expect(link).toMatch(/^wire@\S+ +UP +10\.20\.0\./m);
    expect(link).toMatch(/^eth1@\S+ +UP +10\.21\.1\.77\/24/m);
    expect(await reaches("l2-flap", "dual-flip")).toBe(true);
    expect(await reachesAddress("router-flap", "10.21.1.77")).toBe(true);
  });

  it("gives systems what they declare", async () => {
    const link = succeeded(await inSystem("l2-flip", "cat", "/sys/class/net/eth0/address"));
    expect(link.trim()).toBe("02:00:00:00:20:0b");
    expect((await inSystem("amber-flap", "cat", "/greeting", "/etc/motto")).stdout).toBe("hello\nmeasure first");
    expect((await inSystem("amber-flap", "cat", "/sys/class/net/lan/mtu")).stdout.trim()).toBe("8950");
    const limits = await onServer("flap", "docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.CpuShares}}' ff-amber-flap");
    expect(limits.trim()).toBe(`${128 * 1024 * 1024} 512`);
  });

  it("gives both servers the same secret, and keeps it out of sight", async () => {
    const [here, there] = [
      (await inSystem("amber-flip", "cat", "/etc/token")).stdout,
      (await inSystem("amber-flap", "cat", "/etc/token")).stdout,
    ];
    expect(here).toMatch(/^[A-Za-z0-9]{24}$/);
    expect(there).toBe(here);
    const visible = await run(["sh", "-c", 'grep -rl -- "$0" .flipflap/state .flipflap/logs .flipflap/stacks || true', here], {
      cwd: project.root,
    });
    expect(visible).toBe("");
    expect(await onServer("flap", "docker inspect ff-amber-flap")).not.toContain(here);
  });

  it("changes a limit without a restart", async () => {
    const started = await onServer("flap", "docker inspect -f '{{.State.StartedAt}}' ff-amber-flap");
    project.edit("testbeds/bridge-modes.yaml", "memoryMiB: 128", "memoryMiB: 192");
    succeeded(await project.pulumi("up", "-s", "flap", "--yes", "--skip-preview"));
    expect(await onServer("flap", "docker inspect -f '{{.State.StartedAt}}' ff-amber-flap")).toBe(started);
    expect((await onServer("flap", "docker inspect -f '{{.HostConfig.Memory}}' ff-amber-flap")).trim()).toBe(String(192 * 1024 * 1024));
  });

  it("makes a link worse, changes that in place, and gives it back", async () => {
    const file = "testbeds/bridge-modes.yaml";
    const declared = project.read(file);
    const impaired = (impairment: string): void =>
      project.write(file, declared.replace(/(- \{ between: \[flip, flap\])/, `$1, impairment: { ${impairment} }`));
    const upBoth = async (): Promise<void> => {
      for (const stack of ["flip", "flap"]) succeeded(await project.pulumi("up", "-s", stack, "--yes", "--skip-preview"));
    };
    interface Sum {
      readonly bits_per_second: number;
      readonly lost_percent: number;
    }
    let port = 5300;
    /** Of UDP at a rate: what is lost, and what arrives. iperf3's own talk goes over the same link, and now and then no result comes of it. */
    const sent = async (rate: string): Promise<{ lostPercent: number; arriving: number }> => {
      for (let attempt = 1; attempt <= 3; attempt++) {
        port++;
        await inSystem("routed-flap", "sh", "-c", `timeout 30 iperf3 -s -1 -D -p ${port}; sleep 0.3`);
        const words = ["iperf3", "-c", address("routed-flap"), "-p", String(port), "-u", "-b", rate, "-t", "3", "-l", "1400", "--json"];
        const said = await inSystem("routed-flip", ...words);
        const sum = said.code === 0 ? (JSON.parse(said.stdout) as { end: { sum?: Sum } }).end.sum : undefined;
        if (sum === undefined) continue;
        const { bits_per_second: leaving, lost_percent: lostPercent } = sum;
        return { lostPercent, arriving: leaving * (1 - lostPercent / 100) };
      }
      throw new Error(`no result of iperf3 at ${rate} in three attempts`);
    };
    impaired("lossPercent: 10");
    await upBoth();
    expect((await sent("20M")).lostPercent).toBeGreaterThan(7);
    expect((await sent("20M")).lostPercent).toBeLessThan(13);
    impaired("rateMbit: 50");
    await upBoth();
    const { arriving } = await sent("200M");
    expect(arriving).toBeGreaterThan(40e6);
    expect(arriving).toBeLessThan(52e6);
    await onServer("flip", "tc qdisc del dev up0 root");
    expect((await project.flipflap("drift")).stdout).toContain(
      'flip-impairment-up0 (impairment): different\n    qdisc: wanted "tbf", found "none"',
    );
    succeeded(await project.flipflap("repair"));
    expect((await sent("200M")).arriving).toBeLessThan(52e6);
    impaired("delayMs: 10");
    const refused = await project.pulumi("up", "-s", "flip", "--yes", "--skip-preview");
    expect(refused.code).not.toBe(0);
    expect(refused.stdout + refused.stderr).toMatch(
      /CONFIG_NET_SCH_NETEM: not in this server's kernel \(.*\); needed for links.flip-flap.impairment.delayMs/,
    );
    project.write(file, declared);
    await upBoth();
    expect((await sent("200M")).arriving).toBeGreaterThan(150e6);
    expect(await onServer("flip", "tc qdisc show dev up0")).not.toMatch(/tbf|clsact/);
  });

  it("moves a system of an l2 network, and its segment knows at once", async () => {
    const file = project.read("testbeds/bridge-modes.yaml");
    const reached = () => reaches("dual-flip", "l2-flip");
    expect(await reached()).toBe(true);
    succeeded(await project.flipflap("move", "l2-flip", "--to", "flap"));
    expect(await reached()).toBe(true);
    // The MAC stays; flip's bridge has it behind the port to flap now.
    expect(await onServer("flip", "bridge fdb show brport up1")).toContain("02:00:00:00:20:0b");
    succeeded(await project.flipflap("move", "l2-flip", "--to", "flip"));
    expect(await reached()).toBe(true);
    expect(project.read("testbeds/bridge-modes.yaml")).toBe(file);
  });

  it("refuses a stack whose hub is not up, naming the command", async () => {
    succeeded(await project.pulumi("destroy", "-s", "flap", "--yes", "--skip-preview"));
    succeeded(await project.pulumi("destroy", "-s", "flip", "--yes", "--skip-preview"));
    const refused = await project.pulumi("up", "-s", "flap", "--yes", "--skip-preview");
    expect(refused.code).not.toBe(0);
    expect(refused.stdout + refused.stderr).toContain("run: pulumi up -s flip");
    succeeded(await project.pulumi("destroy", "-s", "flap", "--yes", "--skip-preview"));
  });

  it("gives both servers back as they were", async () => {
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
    project.use("bridge");
    project.write("testbeds/bridge-modes.yaml", Project.original("testbeds/bridge-modes.yaml"));
  });
});
