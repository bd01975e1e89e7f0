/** The shipped testbed, from nothing and back: up, reach, must-not-reach, up again, break, check, mend, destroy, snapshot equal. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { Status } from "../../cli/verbs/status";
import type { Checked } from "../../deploy/checks";
import { parseChanges } from "../../deploy/pulumi";
import { run } from "../../support/process";
import { breakAgain, inBatches } from "../support/breakages";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const before = new Map<string, string>();
const { destroyAll, onServer, reaches, withoutImages } = onLab(project);

async function checks(): Promise<Checked[]> {
  const { stdout } = await project.flipflap("drift", "--json");
  return JSON.parse(stdout) as Checked[];
}

async function wrong(): Promise<string[]> {
  return (await checks()).filter((checked) => checked.result !== "ok").map((checked) => checked.name);
}

describe("the shipped testbed", () => {
  beforeAll(async () => {
    succeeded(await project.flipflap("lab", "start"));
    // status writes the ssh configuration; nothing is deployed yet, so it is not healthy.
    await project.flipflap("status");
    await withoutImages("flap");
    for (const server of ["flip", "flap"]) before.set(server, await serverSnapshot(project.root, server));
  });

  afterAll(() => project.flipflap("lab", "stop"));

  let status: Status;
  const addressOf = (system: string, family: 4 | 6 = 4): string => {
    const texts = status.systems.find((s) => s.name === system)?.interfaces.flatMap((i) => i.addresses) ?? [];
    const found = texts.find((text) => text.includes(":") === (family === 6));
    if (found === undefined) throw new Error(`${system} has no IPv${family} address`);
    return found.split("/")[0] ?? "";
  };

  it("comes up, every system reachable", async () => {
    status = JSON.parse(succeeded(await project.flipflap("up", "--json"))) as Status;
    expect(status.systems.map((s) => [s.name, s.state, s.reachable])).toEqual(
      ["red-db", "red-probe", "blue-db", "red-web", "red-client", "blue-web"].map((name) => [name, "running", true]),
    );
    expect(status.probes.length).toBeGreaterThan(6);
    expect(new Set(status.probes.map((probe) => probe.mtuBytes))).toEqual(new Set([9000]));
  });

  it("reaches across servers in both families, at full size", async () => {
    expect(await reaches("red-web", addressOf("red-db"))).toBe(true);
    expect(await reaches("red-db", addressOf("red-client", 6))).toBe(true);
    expect(await reaches("blue-db", addressOf("blue-web"))).toBe(true);
    const tooLarge = await project.flipflap("exec", "red-web", "--", "ping", "-c", "1", "-M", "do", "-s", "8973", addressOf("red-db"));
    expect(tooLarge.code).not.toBe(0);
  });

  it.each([
    ["red-web", "blue-web"],
    ["red-web", "blue-db"],
    ["blue-web", "red-client"],
    ["blue-db", "red-web"],
  ])("keeps %s away from %s", async (from, to) => {
    expect(await reaches(from, addressOf(to))).toBe(false);
  });

  it("keeps a system that takes another tenant's address away", async () => {
    const forged = addressOf("red-client");
    succeeded(await project.flipflap("exec", "blue-web", "--", "ip", "addr", "add", `${forged}/32`, "dev", "eth0"));
    const counted = await project.flipflap("exec", "blue-web", "--", "ping", "-n", "-c", "1", "-W", "1", "-I", forged, addressOf("red-db"));
    // The attach check names the address; the agent, called again, takes it away.
    const found = await wrong();
    // Whatever was found: what follows wants the system as declared.
    await project.flipflap("exec", "blue-web", "--", "ip", "addr", "del", `${forged}/32`, "dev", "eth0");
    expect([counted.code === 0, found]).toEqual([false, ["blue-web-attach"]]);
  });

  it("has nothing to do when it is brought up again", async () => {
    for (const stack of ["flip", "flap"]) {
      const preview = succeeded(await project.pulumi("preview", "-s", stack));
      expect(parseChanges(preview)).toEqual({ created: 0, updated: 0, replaced: 0, deleted: 0, same: 40 });
    }
    expect(succeeded(await project.flipflap("check"))).toContain("0 not as declared");
  });

  it("refreshes to no difference", async () => {
    succeeded(await project.pulumi("refresh", "-s", "flip", "--yes", "--skip-preview"));
    expect(parseChanges(succeeded(await project.pulumi("preview", "-s", "flip"))).same).toBe(40);
  });

  it("attaches a container again after a restart, and within 50 ms of its start", async () => {
    await onServer("flip", "docker restart -t 0 ff-red-web >/dev/null; sleep 1");
    expect(await reaches("red-web", addressOf("red-db"))).toBe(true);
    expect(await wrong()).toEqual([]);
    // One after the other: those of an up start at once, and share two cores.
    for (const system of ["red-client", "blue-web"]) await onServer("flip", `docker restart -t 0 ff-${system} >/dev/null; sleep 1`);
    const figures = await onServer("flip", "cat /run/flipflap/flip/*.json");
    const attachedMs = [...figures.matchAll(/"attachedMs":(\d+)/g)].map((match) => Number(match[1])).sort((a, b) => a - b);
    expect(attachedMs.length).toBe(3);
    expect(attachedMs[1]).toBeLessThan(50);
  });

  it("works on without its agent, and the agent catches up", async () => {
    await onServer("flip", "docker stop -t 0 ff-agent >/dev/null && docker restart -t 0 ff-red-client >/dev/null");
    expect(await wrong()).toEqual(expect.arrayContaining(["flip-agent-container", "red-client-attach"]));
    await onServer("flip", "docker start ff-agent >/dev/null");
    // What fails at the first look is tried again a second later.
    expect(await eventually(async () => (await wrong()).length === 0, 10)).toBe(true);
  });

  const inContainer = (command: string): string => `nsenter -t "$(docker inspect -f "{{.State.Pid}}" ff-red-web)" -n sh -c '${command}'`;
  const breakages: [what: string, command: string, objects: string, property: string][] = [
    ["an MTU", "ip link set up0 mtu 1400", "flip-nic-up0", "mtuBytes"],
    ["an offload", "ethtool -K up0 gro off", "flip-offloads-up0", "gro"],
    ["a sysctl", "sysctl -qw net.ipv4.tcp_congestion_control=bbr", "flip-sysctls", "net.ipv4.tcp_congestion_control"],
    // With a device's last address of a family the kernel takes its neighbours, which are the systems'.
    ["a bridge's address", "ip addr del 10.0.192.1/24 dev br-red-net", "red-net-bridge red-web-attach red-client-attach", "addresses"],
    ["a rule", "iptables -D FF-red-net 2", "red-net-filter", "iptables filter"],
    ["a jump to the chain", "iptables -D FORWARD -j FF-red-net", "red-net-filter", "iptables filter"],
    ["a table of nft", "nft flush chain inet FF-blue-net forward", "blue-net-filter", "rules"],
    ["a neighbour", "ip neigh del 198.19.0.0 dev up0 2>/dev/null; ip neigh flush dev up0 nud permanent", "flip-neighbours-up0", ""],
    [
      "a container's MTU",
      'nsenter -t "$(docker inspect -f "{{.State.Pid}}" ff-red-web)" -n ip link set eth0 mtu 1500',
      "red-web-attach",
      "eth0.mtuBytes",
    ],
    [
      "a container's route",
      'nsenter -t "$(docker inspect -f "{{.State.Pid}}" ff-red-web)" -n ip route del default',
      "red-web-attach",
      "eth0.routes",
    ],
    [
      "a container's bridge",
      "ip link set $(ip -o link show master br-blue-net | sed 's/^[0-9]*: \\([^@]*\\).*/\\1/') nomaster",
      "blue-web-attach",
      "eth0.bridge",
    ],
    ["a route", "ip route del 10.0.191.0/24", "red-net-route-10.0.191.0/24", ""],
    ["a route of IPv6", "ip -6 route del fd10:0:191::/64", "red-net-route-fd10:0:191::/64", ""],
    ["a route's way", "ip route replace 10.0.158.0/24 dev up0 proto 240", "blue-net-route-10.0.158.0/24", "via"],
    [
      "the underlay's address",
      "ip -6 addr del $(ip -br -6 addr show dev up0 scope global | awk '{print $3}') dev up0",
      "flip-addresses-up0",
      "addresses",
    ],
    ["a bridge's second address", "ip addr add 203.0.113.77/32 dev br-red-net", "red-net-bridge", "addresses"],
    ["a bridge's MTU", "ip link set br-blue-net mtu 1400", "blue-net-bridge", "mtuBytes"],
    ["a bridge's MAC", "ip link set br-blue-net address 02:00:00:00:00:01", "blue-net-bridge blue-web-attach", "mac"],
    ["a bridge's spanning tree", "ip link set br-blue-net type bridge stp_state 1", "blue-net-bridge", "stp"],
    ["forwarding", "sysctl -qw net.ipv4.ip_forward=0", "flip-sysctls", "net.ipv4.ip_forward"],
    ["segmentation by the NIC", "ethtool -K up0 tso on", "flip-offloads-up0", "tso"],
    ["a chain that was emptied", "iptables -F FF-red-net", "red-net-filter", "iptables filter"],
    ["a rule of somebody's in our chain", "iptables -I FF-red-net -s 203.0.113.0/24 -j ACCEPT", "red-net-filter", "iptables filter"],
    ["a rule of IPv6", "ip6tables -D FF-red-net 1", "red-net-filter", "ip6tables filter"],
    ["a table of nft that is gone", "nft delete table inet FF-blue-net", "blue-net-filter", ""],
    ["a container's address", inContainer("ip addr del 10.0.192.10/24 dev eth0"), "red-web-attach", "eth0.addresses, eth0.routes"],
    ["a container's second address", inContainer("ip addr add 203.0.113.78/32 dev eth0"), "red-web-attach", "eth0.addresses"],
    ["a container's MAC", inContainer("ip link set eth0 address 02:00:00:00:00:02"), "red-web-attach", "eth0.mac"],
    ["a container's offload", inContainer("ethtool -K eth0 tso off"), "red-web-attach", "eth0.tso"],
    [
      "a container's sysctl",
      inContainer("sysctl -qw net.ipv4.tcp_congestion_control=bbr"),
      "red-web-attach",
      "net.ipv4.tcp_congestion_control",
    ],
    ["a port's learning", "bridge link set dev $(ls /sys/class/net/br-blue-net/brif) learning off", "blue-web-attach", "eth0.learns"],
    ["a port's MTU", "ip link set $(ls /sys/class/net/br-blue-net/brif) mtu 1400", "blue-web-attach", "eth0.port.mtuBytes"],
    ["a port's offload", "ethtool -K $(ls /sys/class/net/br-blue-net/brif) gso off", "blue-web-attach", "eth0.port.gso"],
    ["an attach plan", "rm /var/lib/flipflap/flip/attach/blue-web.json", "blue-web-attach flip-attached", ""],
    [
      "a container that was stopped",
      "docker stop -t 0 ff-blue-web >/dev/null; sleep 0.3",
      "blue-web-attach blue-web-container flip-attached",
      "",
    ],
    ["a container's name", "docker rename ff-blue-web ff-other", "blue-web-attach blue-web-container", ""],
    ["the project's claim", "rm /var/lib/flipflap/flip/project", "flip-claim", ""],
    [
      "a container that no state knows",
      "docker run -d --name ff-stray --label flipflap.stack=flip --network none $(docker images -q flipflap/tools) sleep 999 >/dev/null",
      "ff-stray",
      "",
    ],
  ];

  let whole = "";
  const batched = inBatches(
    breakages.map(([what, command, objects, property]) => {
      return { what, command, objects: objects.split(" "), property, isAlone: command.startsWith("docker ") };
    }),
  );
  it.for(batched)(
    "names $breakage.what that somebody changed, and nothing else",
    async ({ breakage, before: broken, isFirst, isLast }, { task }) => {
      const change = ({ command }: { readonly command: string }): Promise<string> => onServer("flip", command);
      await breakAgain(task.result?.retryCount, broken, () => project.flipflap("repair"), change);
      if (isFirst) whole = await serverSnapshot(project.root, "flip");
      await change(breakage);
      const found = (await checks()).filter((checked) => checked.result !== "ok");
      // Before anything is judged: the next batch starts from a whole testbed.
      const mended = isLast ? await project.flipflap("repair") : undefined;
      expect(found.map(({ name }) => name).sort()).toEqual([...broken, breakage].flatMap(({ objects }) => objects).sort());
      const own = found.find(({ name }) => name === breakage.objects[0]);
      if (breakage.property !== "") expect(own?.differences.map((d) => d.property)).toEqual(breakage.property.split(", "));
      if (mended === undefined) return;
      expect(mended.stdout + mended.stderr).toMatch(/ mended, 0 left\n/);
      // All is mended, and nothing else was touched.
      expect(await serverSnapshot(project.root, "flip")).toBe(whole);
      expect(await wrong()).toEqual([]);
    },
  );

  it("makes a container again that somebody removed", async () => {
    await onServer("flip", "docker rm -f ff-red-client >/dev/null");
    expect(await wrong()).toEqual(["red-client-attach", "red-client-container", "flip-attached"]);
    await project.flipflap("repair");
    expect(await wrong()).toEqual([]);
    expect(await reaches("red-db", addressOf("red-client"))).toBe(true);
  });

  it("previews a change of one address as an update of that system alone", async () => {
    const file = "testbeds/bridge.yaml";
    const text = project.read(file);
    project.edit(file, "10.0.192.10", "10.0.192.11");
    const preview = succeeded(await project.pulumi("preview", "-s", "flip", "--diff"));
    expect(parseChanges(preview)).toMatchObject({ created: 0, updated: 2, replaced: 0, deleted: 0 });
    expect(preview).toMatch(/red-web-attach/);
    expect(preview).toMatch(/- +"10\.0\.192\.10\/24",/);
    expect(preview).toMatch(/\+ +"10\.0\.192\.11\/24",/);
    expect(preview.split("\n").length).toBeLessThan(60);
    succeeded(await project.pulumi("up", "-s", "flip", "--yes", "--skip-preview"));
    expect(await reaches("red-db", "10.0.192.11")).toBe(true);
    expect(await reaches("red-db", "10.0.192.10")).toBe(false);
    project.write(file, text);
    succeeded(await project.pulumi("up", "-s", "flip", "--yes", "--skip-preview"));
    expect(await wrong()).toEqual([]);
  });

  it("shows and enters what is deployed where the files have changed since, and says so", async () => {
    const file = "testbeds/bridge.yaml";
    const text = project.read(file);
    const deployed = JSON.parse(succeeded(await project.flipflap("status", "--json"))) as Status;
    expect(deployed.changed).toEqual([]);
    project.edit(file, "10.0.192.10", "10.0.192.11");
    project.edit(file, "name: blue-web", "name: blue-new");
    const now = await project.flipflap("status", "--json");
    expect(now.code).toBe(0);
    expect(now.stderr).toContain("The files have changed since testbed bridge was brought up on flap, flip. This is what is deployed");
    const { changed, systems } = JSON.parse(now.stdout) as Status;
    expect(changed).toEqual(["flap", "flip"]);
    expect(systems).toEqual(deployed.systems);
    const entered = await project.flipflap("exec", "blue-web", "--", "cat", "/etc/hostname");
    expect([entered.code, entered.stdout.trim()]).toEqual([0, "blue-web"]);
    expect((await project.flipflap("exec", "blue-new", "--", "true")).stderr).toContain('there is no system "blue-new"');
    project.write(file, text);
    expect((await project.flipflap("exec", "blue-web", "--", "true")).stderr).toBe("");
  });

  it("previews a change of the MTU as updates of what carries it, and makes several one after the other", async () => {
    const file = "testbeds/bridge.yaml";
    const text = project.read(file);
    project.edit(file, "mtuBytes: 9000", "mtuBytes: 8999");
    const preview = succeeded(await project.pulumi("preview", "-s", "flip"));
    const updated = [...preview.matchAll(/~ +command:\S+ (\S+) update/g)].map((match) => match[1]).sort();
    expect(updated).toEqual(
      [
        "blue-net-bridge",
        "blue-web-attach",
        "flip-attached",
        "flip-nic-up0",
        "red-client-attach",
        "red-net-bridge",
        "red-web-attach",
      ].sort(),
    );
    expect(parseChanges(preview)).toEqual({ created: 0, updated: 7, replaced: 0, deleted: 0, same: 33 });
    for (const mtu of ["8000", "7000"]) {
      project.edit(file, /mtuBytes: \d+/, `mtuBytes: ${mtu}`);
      await Promise.all(
        ["flip", "flap"].map(async (stack) => succeeded(await project.pulumi("up", "-s", stack, "--yes", "--skip-preview"))),
      );
    }
    expect((await project.flipflap("exec", "red-web", "--", "ping", "-c", "1", "-M", "do", "-s", "6972", addressOf("red-db"))).code).toBe(
      0,
    );
    expect(
      (await project.flipflap("exec", "red-web", "--", "ping", "-c", "1", "-M", "do", "-s", "6973", addressOf("red-db"))).code,
    ).not.toBe(0);
    project.write(file, text);
  });

  it("captures a system's packets", async () => {
    const [captured] = await Promise.all([
      run(["sh", "-c", `"$0" capture red-web --count 2 -- icmp | od -An -tx1 -N4`, `${process.cwd()}/bin/flipflap`], {
        cwd: project.root,
        env: { ...process.env, FLIPFLAP_ROOT: project.root },
      }),
      (async () => {
        for (let i = 0; i < 8; i++) await reaches("red-client", addressOf("red-web"));
      })(),
    ]);
    expect(captured.trim()).toMatch(/^(d4 c3 b2 a1|4d 3c b2 a1)$/);
  });

  it("leaves the project's files as they were", () => {
    for (const file of ["Pulumi.yaml", "Pulumi.flip.yaml", "Pulumi.flap.yaml", "testbeds/bridge.yaml"]) {
      expect(project.read(file)).toBe(Project.original(file));
    }
  });

  it("gives both servers back as they were", async () => {
    await destroyAll(["flip", "flap"]);
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
  });
});
