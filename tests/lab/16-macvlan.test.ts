/** Ethernet segments on devices of the servers: what passes and what does not, each mode, DHCP, breakages, a move, and back. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { isHealthy, type Status } from "../../cli/verbs/status";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"] as const;
const before = new Map<string, string>();
const { bringUp, changesOfAnotherUp, inSystem, onServer, reaches, readStatus, wrong, destroyAll } = onLab(project);

describe("kind macvlan", () => {
  let status: Status;
  const address = (system: string, family: 4 | 6 = 4): string =>
    status.systems
      .find((s) => s.name === system)
      ?.interfaces[0]?.addresses.map((text) => text.split("/")[0] ?? "")
      .find((text) => text.includes(":") === (family === 6)) ?? "none";
  const macOf = async (system: string): Promise<string> => (await inSystem(system, "cat", "/sys/class/net/eth0/address")).stdout.trim();

  /** Whether a frame of one system comes to another as it was sent. */
  async function passes(from: string, to: string, frame: string): Promise<boolean> {
    const listening = inSystem(
      to,
      "timeout",
      "4",
      "tcpdump",
      "-n",
      "-e",
      "-xx",
      "-c",
      "1",
      "-i",
      "eth0",
      "ether proto 0x88cc or ether proto 0x88b5",
    );
    const send = `printf '${frame.replace(/../g, "\\x$&")}' | socat -u - INTERFACE:eth0`;
    // Again and again, until tcpdump listens.
    await inSystem(from, "bash", "-c", `for i in 1 2 3 4 5 6 7 8 9 10; do ${send}; sleep 0.3; done`);
    const { stdout } = await listening;
    return stdout.replace(/^.*?0x0000:/s, "").includes(frame.slice(0, 4));
  }

  beforeAll(async () => {
    status = await bringUp("macvlan", servers, before);
  });

  it("comes up: every system with its own MAC, every check holds, and nothing is to be done when it is brought up again", async () => {
    expect(isHealthy(status)).toBe(true);
    expect(status.probes.map(({ mtuBytes }) => mtuBytes)).toContain(9000);
    const macs = await Promise.all(["web", "cache", "db"].map(macOf));
    expect(new Set(macs).size).toBe(3);
    expect(await wrong()).toEqual([]);
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it("lets ARP, neighbour discovery, multicast and LLDP pass, on one server and across", async () => {
    for (const to of ["cache", "db"]) {
      expect((await inSystem("web", "arping", "-c", "2", "-w", "3", "-I", "eth0", address(to))).stdout).toContain(await macOf(to));
      expect(await reaches("web", address(to, 6))).toBe(true);
      const sender = (await macOf("web")).replaceAll(":", "");
      // The nearest bridge's address, which a bridge would keep for itself; a chassis, a port, a life of 120 s.
      const lldp = `0180c200000e${sender}88cc${"020704"}${sender}${"040403"}000000${"0602"}0078${"0000"}`.padEnd(120, "0");
      expect([to, "lldp", await passes("web", to, lldp)]).toEqual([to, "lldp", true]);
      const multicast = `01005e000001${sender}88b5`.padEnd(120, "0");
      expect([to, "multicast", await passes("web", to, multicast)]).toEqual([to, "multicast", true]);
    }
    const all = (await inSystem("web", "ping", "-n", "-c", "2", "-i", "0.3", "ff02::1%eth0")).stdout;
    expect(new Set(all.match(/fe80::[0-9a-f:]+(?=%eth0: icmp_seq=1)/g)).size).toBeGreaterThanOrEqual(3);
  });

  it("keeps servers and systems on one device apart, but for the server's own interface", async () => {
    const fromServer = (server: string, to: string): Promise<string> =>
      onServer(server, `ping -n -q -c 1 -W 1 ${to} >/dev/null 2>&1 && echo reached || echo not`);
    expect(await fromServer("flip", address("web"))).toBe("reached\n");
    expect(await fromServer("flip", address("db"))).toBe("reached\n");
    expect(await reaches("db", "10.6.1.250")).toBe(true);
    // flap has none: even with an address and a route on its uplink its own systems do not hear it, and those of flip do.
    await onServer("flap", "ip addr add 10.6.1.251/24 dev up0");
    const [own, other] = [await fromServer("flap", address("db")), await fromServer("flap", address("web"))];
    await onServer("flap", "ip addr del 10.6.1.251/24 dev up0");
    expect([own, other]).toEqual(["not\n", "reached\n"]);
  });

  it("takes addresses from a system of the network, and keeps them over a restart", async () => {
    const told = (now: Status, system: string): string => now.systems.find((s) => s.name === system)?.interfaces[0]?.addresses[0] ?? "";
    const now = await readStatus();
    for (const desk of ["desk1", "desk2"]) {
      expect(told(now, desk)).toMatch(/^10\.6\.2\.1[0-9]{2}\/24$/);
      expect(await reaches(desk, "10.6.2.1")).toBe(true);
      expect((await inSystem(desk, "ip", "route", "show", "default")).stdout).toContain("via 10.6.2.1");
    }
    expect(await reaches("desk1", told(now, "desk2").replace("/24", ""))).toBe(true);
    await onServer("flap", "docker restart -t 0 ff-desk2 >/dev/null");
    expect(await eventually(() => reaches("desk2", "10.6.2.1"))).toBe(true);
    expect(told(await readStatus(), "desk2")).toBe(told(now, "desk2"));
    // Of one tenant and of another: two segments.
    expect(await reaches("desk1", address("web"))).toBe(false);
  });

  it("takes another address where its own is refused, and lets no answer of others harm the agent", async () => {
    const shipped = project.read("testbeds/macvlan.yaml");
    const serving = (range: string, more: string): void =>
      project.write(
        "testbeds/macvlan.yaml",
        shipped.replace(/"--dhcp-range=\S+,2m"/, `"--dhcp-range=${range},2m", --dhcp-authoritative${more}`),
      );
    const toldOf = async (desk: string): Promise<string> =>
      (await inSystem(desk, "ip", "-4", "-o", "addr", "show", "dev", "eth0")).stdout.match(/inet (\S+)/)?.[1] ?? "none";
    serving("10.6.2.100,10.6.2.150", "");
    succeeded(await project.flipflap("up"));
    await onServer("flap", "docker restart -t 0 ff-desk2 >/dev/null");
    expect(await eventually(() => reaches("desk2", "10.6.2.1"))).toBe(true);
    // Where its address is of the server's range no more, it hears so at the next renewal: dnsmasq's least lease has it after a minute.
    serving("10.6.2.200,10.6.2.250", "");
    succeeded(await project.flipflap("up"));
    expect(await eventually(async () => /^10\.6\.2\.2\d\d\/24$/.test(await toldOf("desk2")), 75)).toBe(true);
    expect((await inSystem("desk2", "ip", "route", "show", "default")).stdout).toContain("via 10.6.2.1");
    // A netmask that is none: no address, and everybody else is attached as ever.
    const agentsLife = await onServer("flap", "docker inspect -f '{{.State.StartedAt}}' ff-agent");
    serving("10.6.2.200,10.6.2.250", ', "--dhcp-option=1,255.0.255.0"');
    succeeded(await project.pulumi("up", "-s", "flip", "--yes", "--skip-preview"));
    await onServer("flap", "docker restart -t 0 ff-desk2 ff-db >/dev/null");
    expect(await eventually(() => reaches("web", address("db")))).toBe(true);
    const isNamed = async (): Promise<boolean> =>
      (await readStatus()).systems.some(({ name, error }) => name === "desk2" && /dhcp: what was told is no address/.test(error ?? ""));
    expect(await eventually(isNamed, 20)).toBe(true);
    expect(await onServer("flap", "docker inspect -f '{{.State.StartedAt}}' ff-agent")).toBe(agentsLife);
    project.write("testbeds/macvlan.yaml", shipped);
    succeeded(await project.flipflap("up"));
    // Of the range that is no more: this server has no answer to renewals of it, and the address would end in the middle of what follows.
    await onServer("flip", "docker restart -t 0 ff-desk1 >/dev/null");
    await onServer("flap", "docker restart -t 0 ff-desk2 >/dev/null");
    const areOfTheRange = async (): Promise<boolean> =>
      (await Promise.all(["desk1", "desk2"].map(toldOf))).every((one) => /^10\.6\.2\.1[0-9]{2}\/24$/.test(one));
    expect(await eventually(areOfTheRange, 30)).toBe(true);
    expect(await wrong()).toEqual([]);
  });

  it("changes a network's name and number, and who is in it, in place", async () => {
    const shipped = project.read("testbeds/macvlan.yaml");
    const withNetwork = (name: string, parent: string, moved: boolean): void =>
      project.write(
        "testbeds/macvlan.yaml",
        shipped
          .replace(
            "systems:\n",
            `  - { name: ${name}, tenant: lab, kind: macvlan, parent: ${parent}, subnet: 10.6.5.0/24, serverAddresses: { flip: 10.6.5.250 } }\nsystems:\n`,
          )
          .replace(
            "links:\n",
            `${["flip", "flap"].map((server) => `  - { name: on-${server}, tenant: lab, server: ${server}, networks: [{ name: ${name} }] }\n`).join("")}links:\n`,
          )
          .replace("server: flip, networks: [{ name: lan }]", `server: flip, networks: [{ name: ${moved ? name : "lan"} }]`),
      );
    const isWhole = async (): Promise<void> => {
      succeeded(await project.flipflap("up"));
      expect(await wrong()).toEqual([]);
      expect(await reaches("on-flap", "10.6.5.250")).toBe(true);
      expect(await reaches("on-flip", (await addressOf("on-flap")) ?? "none")).toBe(true);
    };
    const addressOf = async (system: string): Promise<string | undefined> =>
      (await readStatus()).systems.find((s) => s.name === system)?.interfaces[0]?.addresses[0]?.split("/")[0];
    withNetwork("first", "vxlan 610", false);
    await isWhole();
    withNetwork("first", "vxlan 610", true);
    await isWhole();
    expect(await addressOf("web")).toMatch(/^10\.6\.5\./);
    withNetwork("second", "vxlan 610", true);
    await isWhole();
    withNetwork("second", "vxlan 611", false);
    await isWhole();
    project.write("testbeds/macvlan.yaml", shipped);
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
  });

  it.each([
    [
      // Not where the lease is about to be renewed: its renewal mends this by itself.
      "an address that was told",
      "flap",
      `inside="nsenter -t $(pid desk2) -n ip"
      seconds() { $inside -4 -o addr show dev eth0 | sed -n 's/.*valid_lft \\([0-9]*\\)sec.*/\\1/p'; }
      until [ "$(seconds)" -gt 80 ]; do sleep 0.2; done
      $inside addr flush dev eth0 scope global`,
      "desk2-attach",
      ["eth0.addresses"],
    ],
    ["an interface that is gone", "flip", "nsenter -t $(pid web) -n ip link del eth0", "web-attach", undefined],
    ["the server's own interface", "flip", "ip link set dev ms-lan down", "lan-server-interface", ["up"]],
    ["the server's own address", "flip", "ip addr del 10.6.1.250/24 dev ms-lan", "lan-server-interface", ["addresses"]],
  ])("names %s that somebody changed; repair mends it", async (_, server, command, name, properties) => {
    await onServer(server, `pid() { docker inspect -f '{{.State.Pid}}' "ff-$1"; }; ${command}`);
    const found = await wrong();
    succeeded(await project.flipflap("repair"));
    expect(found.map((one) => [one.server, one.name])).toEqual([[server, name]]);
    if (properties !== undefined) expect(found[0]?.differences.map(({ property }) => property)).toEqual(properties);
    expect(await eventually(async () => (await wrong()).length === 0, 20)).toBe(true);
  });

  it("keeps a system's address and MAC when it moves", async () => {
    const mac = await macOf("db");
    const flow = inSystem("web", "ping", "-n", "-q", "-i", "0.1", "-w", "25", "-c", "150", address("db"));
    succeeded(await project.flipflap("move", "db", "--to", "flip"));
    expect(await macOf("db")).toBe(mac);
    expect(await reaches("web", address("db"))).toBe(true);
    expect(Number(/(\d+) received/.exec((await flow).stdout)?.[1])).toBeGreaterThan(20);
    succeeded(await project.flipflap("move", "db", "--to", "flap"));
    expect(await reaches("web", address("db"))).toBe(true);
  });

  it("has the other modes: private and vepa keep neighbours on one server apart, passthru has its parent's MAC", async () => {
    const shipped = project.read("testbeds/macvlan.yaml");
    for (const mode of ["private", "vepa"]) {
      project.write("testbeds/macvlan.yaml", shipped.replace("kind: macvlan\n    subnet", `kind: macvlan\n    mode: ${mode}\n    subnet`));
      succeeded(await project.flipflap("up"));
      expect([mode, await reaches("web", address("cache")), await reaches("web", address("db"))]).toEqual([mode, false, true]);
      expect(await wrong()).toEqual([]);
    }
    project.write(
      "testbeds/macvlan.yaml",
      shipped
        .replace(
          "systems:\n",
          "  - { name: wire, tenant: lab, kind: macvlan, parent: vxlan 601, mode: passthru, subnet: 10.6.3.0/24 }\nsystems:\n",
        )
        .replace(
          "links:\n",
          "  - { name: p1, tenant: lab, server: flip, networks: [{ name: wire, address: 10.6.3.1 }] }\n  - { name: p2, tenant: lab, server: flap, networks: [{ name: wire, address: 10.6.3.2 }] }\nlinks:\n",
        ),
    );
    succeeded(await project.flipflap("up"));
    expect(await reaches("p1", "10.6.3.2")).toBe(true);
    expect(await macOf("p1")).toBe((await onServer("flip", "cat /sys/class/net/mv-wire/address")).trim());
    expect(await wrong()).toEqual([]);
    project.write("testbeds/macvlan.yaml", shipped);
  });

  it("filters in a system by a file of rules, which change in place and are compared with what is there", async () => {
    const shipped = project.read("testbeds/macvlan.yaml");
    project.write("testbeds/macvlan.yaml", shipped.replace("{ name: web, tenant: lab,", "{ name: web, tenant: lab, nftables: rules.nft,"));
    const rules = (from: string): string =>
      `table inet own {\n  chain in {\n    type filter hook input priority filter; policy accept;\n    ip saddr ${from} counter drop\n  }\n}\n`;
    project.write("rules.nft", rules(address("cache")));
    succeeded(await project.flipflap("up"));
    const reached = async (): Promise<boolean[]> => [await reaches("cache", address("web")), await reaches("db", address("web"))];
    expect(await reached()).toEqual([false, true]);
    project.write("rules.nft", rules(address("db")));
    const up = succeeded(await project.flipflap("up"));
    expect(up).not.toMatch(/replaced/);
    expect(await reached()).toEqual([true, false]);
    expect(await wrong()).toEqual([]);
    await onServer("flip", "nsenter -t $(docker inspect -f '{{.State.Pid}}' ff-web) -n nft flush ruleset");
    expect((await wrong()).map(({ name, differences }) => [name, differences.map(({ property }) => property)])).toEqual([
      ["web-attach", ["nftables"]],
    ]);
    succeeded(await project.flipflap("repair"));
    expect(await reached()).toEqual([true, false]);
    await onServer("flip", "docker restart -t 0 ff-web >/dev/null");
    expect(await eventually(() => reaches("web", address("cache")))).toBe(true);
    expect(await reached()).toEqual([true, false]);
    project.write("rules.nft", "table inet own { chain in { nonsense } }\n");
    const bad = await project.flipflap("up");
    expect([bad.code === 0, bad.stdout + bad.stderr]).toEqual([false, expect.stringContaining("nftables: ")]);
    project.write("testbeds/macvlan.yaml", shipped);
    succeeded(await project.flipflap("up"));
    expect(await reached()).toEqual([true, true]);
    expect(await wrong()).toEqual([]);
  });

  it("refuses what this kernel has not, by its name, before anything is changed", async () => {
    const shipped = project.read("testbeds/macvlan.yaml");
    for (const [from, to, option] of [
      ["kind: macvlan\n    subnet", "kind: macvlan\n    parent: vlan 600\n    subnet", "CONFIG_VLAN_8021Q"],
      ["kind: macvlan\n    subnet", "kind: macvlan\n    driver: ipvlan\n    subnet", "CONFIG_IPVLAN"],
    ] as const) {
      project.write("testbeds/macvlan.yaml", shipped.replace(from, to));
      const up = await project.flipflap("up");
      expect([option, up.code]).not.toEqual([option, 0]);
      expect(up.stdout + up.stderr).toContain(option);
      project.write("testbeds/macvlan.yaml", shipped);
    }
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
  });

  it("has a bridge beside it that forgets and floods as it is told", async () => {
    const shipped = project.read("testbeds/macvlan.yaml");
    const bridge = (more: string): string =>
      shipped
        .replace("systems:\n", `  - { name: hubbed, tenant: lab, kind: bridge, mode: l2, subnet: 10.6.4.0/24${more} }\nsystems:\n`)
        .replace(
          "links:\n",
          `${[1, 2, 3].map((n) => `  - { name: h${n}, tenant: lab, server: flip, networks: [{ name: hubbed, address: 10.6.4.${n} }] }\n`).join("")}links:\n`,
        );
    /** Whether a third station sees what two others tell one another. */
    const overhears = async (): Promise<boolean> => {
      const listening = inSystem("h3", "timeout", "3", "tcpdump", "-n", "-c", "3", "-i", "eth0", "icmp");
      await inSystem("h1", "ping", "-n", "-q", "-i", "0.2", "-c", "18", "10.6.4.2");
      return / IP 10\.6\.4\./.test((await listening).stdout);
    };
    /** Whether it sees a frame to a station that nobody is. */
    const hearsUnknown = async (): Promise<boolean> => {
      const listening = inSystem("h3", "timeout", "3", "tcpdump", "-n", "-c", "1", "-i", "eth0", "ether proto 0x88b5");
      const frame = `02000000beef${(await macOf("h1")).replaceAll(":", "")}88b5`.padEnd(120, "0").replace(/../g, "\\x$&");
      await inSystem("h1", "bash", "-c", `for i in 1 2 3 4 5 6; do printf '${frame}' | socat -u - INTERFACE:eth0; sleep 0.3; done`);
      return (await listening).stdout.includes("0x88b5") || (await listening).stdout.includes("88b5");
    };
    project.write("testbeds/macvlan.yaml", bridge(""));
    succeeded(await project.flipflap("up"));
    expect([await overhears(), await hearsUnknown()]).toEqual([false, true]);
    project.write("testbeds/macvlan.yaml", bridge(", ageingSeconds: 0, floods: true"));
    succeeded(await project.flipflap("up"));
    expect(await overhears()).toBe(true);
    project.write("testbeds/macvlan.yaml", bridge(", floods: false"));
    succeeded(await project.flipflap("up"));
    expect([await overhears(), await hearsUnknown()]).toEqual([false, false]);
    expect(await wrong()).toEqual([]);
    await onServer(
      "flip",
      "for port in /sys/class/net/br-hubbed/brif/*; do echo 1 >$port/unicast_flood; done; ip link set br-hubbed type bridge ageing_time 100",
    );
    const found = await wrong();
    expect(found.map(({ name, differences }) => [name, differences.map(({ property }) => property)]).sort()).toEqual([
      ...[1, 2, 3].map((n) => [`h${n}-attach`, ["eth0.floods"]]),
      ["hubbed-bridge", ["ageingSeconds"]],
    ]);
    succeeded(await project.flipflap("repair"));
    expect(await eventually(async () => (await wrong()).length === 0, 20)).toBe(true);
    project.write("testbeds/macvlan.yaml", shipped);
    succeeded(await project.flipflap("up"));
  });

  it("gives both servers back as they were", async () => {
    await destroyAll(servers);
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
    project.use("bridge");
  });
});
