/** What is somebody else's on a server is named, and stays as it is; once it is gone, or ours is called otherwise, up goes on. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { builtImage } from "../../images/cache";
import { readLabState } from "../../lab/state";
import { run } from "../../support/process";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const lab = onLab(project);
const onServer = (command: string): Promise<string> => lab.onServer("flip", command);

const whole = `
tenants: [{ name: red }]
networks:
  - { name: first, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.20.1.0/24, flap: 10.20.2.0/24 } }
  - { name: second, tenant: red, kind: bridge, mode: router, filter: nft, subnets: { flip: 10.21.1.0/24, flap: 10.21.2.0/24 } }
  - { name: third, tenant: red, kind: evpn, vn: 136, subnet: 10.1.2.0/24 }
systems:
  - { name: one, tenant: red, server: flip, networks: [{ name: first }] }
  - { name: two, tenant: red, server: flip, networks: [{ name: second }] }
  - { name: three, tenant: red, server: flip, networks: [{ name: third }] }
  - { name: base, tenant: red, server: flip, networks: [{ name: zeroth }] }
links: [{ between: [flip, flap] }]
`.replace("networks:", "networks:\n  - { name: zeroth, tenant: red, kind: bridge, mode: l2, subnet: 10.22.0.0/24 }");

/** The testbed without the networks that meet what is foreign. */
const base = whole.replace(/^ .*(first|second|third).*\n/gm, "");

describe("what is somebody else's", () => {
  let before = "";
  let ofServer = "";
  const use = (text: string): void => project.write("testbeds/foreign.yaml", text);
  const only = (network: string): string =>
    whole
      .split("\n")
      .filter((line) => !/name: (first|second|third)/.test(line) || line.includes(`name: ${network}`))
      .join("\n");
  const up = () => project.pulumi("up", "-s", "flip", "--yes", "--skip-preview");

  beforeAll(async () => {
    use(base);
    project.use("foreign");
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    // Of a hardened server: what the kernel sets along with forwarding is somebody's too.
    ofServer = await onServer(
      "sysctl net.ipv4.ip_forward net.ipv4.conf.all.accept_redirects net.ipv4.conf.up0.forwarding net.ipv6.conf.up0.forwarding",
    );
    await onServer(
      "sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=0 net.ipv4.conf.up0.forwarding=1 net.ipv6.conf.up0.forwarding=1",
    );
    await onServer("docker image rm $(docker images -q flipflap/tools) >/dev/null");
    before = await serverSnapshot(project.root, "flip");
    succeeded(await project.flipflap("up"));
  });
  // The next tests have this server, too.
  afterAll(() => onServer(`sysctl -qw ${ofServer.replaceAll(" = ", "=").split("\n").join(" ")}`));

  it.each<[what: string, network: string, make: string, unmake: string, said: RegExp]>([
    [
      "a bridge",
      "first",
      "ip link add br-first type bridge && ip link set br-first alias theirs",
      "ip link del br-first",
      /br-first: .* not ours \(alias 'theirs'\)/,
    ],
    [
      "a chain",
      "first",
      "iptables -N FF-first && iptables -A FF-first -s 203.0.113.1 -j DROP",
      "iptables -F FF-first; iptables -X FF-first",
      /FF-first: there is a chain of iptables of this name that is not ours/,
    ],
    [
      "a table of nft",
      "second",
      "nft add table inet FF-second",
      "nft delete table inet FF-second",
      /FF-second: there is a table of nft \(inet\) of this name that is not ours/,
    ],
    [
      "a container",
      "first",
      "docker run -d --name ff-one --network none $(docker images -q flipflap/tools) sleep 999 >/dev/null",
      "docker rm -f ff-one >/dev/null",
      /name "\/ff-one" is already in use/,
    ],
    [
      "an address of ours",
      "first",
      "ip link add theirs0 type veth peer name theirs1 && ip addr add 10.20.1.1/24 dev theirs0 && ip link set theirs0 up && ip link set theirs1 up",
      "ip link del theirs0",
      /10\.20\.1\.0\/24: this server already routes it or a part of it \(10\.20\.1\.0\/24 dev theirs0/,
    ],
    [
      "a route",
      "first",
      "ip route add 10.20.2.0/24 dev mgmt0",
      "ip route del 10.20.2.0/24",
      /10\.20\.2\.0\/24: this server already routes it .*dev mgmt0/,
    ],
    [
      "a namespace",
      "second",
      "ip netns add ff-router-second",
      "ip netns del ff-router-second; umount /run/netns; rmdir /run/netns",
      /ff-router-second: there is a network namespace of this name that is not ours/,
    ],
    [
      "a link of our name",
      "second",
      "ip link add rt-second type veth peer name theirs1",
      "ip link del rt-second",
      /rt-second: there is a device of this name that is not ours/,
    ],
    [
      "a VXLAN device with the VNID",
      "third",
      "ip link add theirs0 type vxlan id 136 local 192.0.2.1 dstport 4789",
      "ip link del theirs0",
      /136.*theirs0/,
    ],
    [
      "the BGP port",
      "third",
      "docker run -d --name theirs --network host $(docker images -q flipflap/tools) iperf3 -s -p 179 >/dev/null; sleep 0.5",
      "docker rm -f theirs >/dev/null",
      /TCP port 179: somebody listens on it .*iperf3/,
    ],
  ])("names %s, leaves it alone, and goes on without it", async (_, network, make, unmake, said) => {
    const untouched = await serverSnapshot(project.root, "flip");
    await onServer(make);
    try {
      const foreign = await serverSnapshot(project.root, "flip");
      use(only(network));
      const refused = await up();
      expect([refused.code === 0, refused.stdout + refused.stderr]).toEqual([false, expect.stringMatching(said)]);
      use(base);
      succeeded(await up());
      expect(await serverSnapshot(project.root, "flip")).toBe(foreign);
    } finally {
      await onServer(unmake);
      use(base);
    }
    expect(await serverSnapshot(project.root, "flip")).toBe(untouched);
  });

  it("makes it all once nothing is in the way", async () => {
    use(whole);
    succeeded(await up());
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("keeps an image that was there before", async () => {
    for (const stack of ["flap", "flip"]) succeeded(await project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview"));
    expect(await serverSnapshot(project.root, "flip")).toBe(before);
    await run(["sh", "-c", `ssh -F .flipflap/ssh/config flip docker load -q <${builtImage("tools")?.archive}`], { cwd: project.root });
    const theirs = await serverSnapshot(project.root, "flip");
    use(base);
    succeeded(await up());
    succeeded(await project.pulumi("destroy", "-s", "flip", "--yes", "--skip-preview"));
    expect(await serverSnapshot(project.root, "flip")).toBe(theirs);
  });

  it("sends images ahead of an up, compressed over a slow link, and takes away what it sent and nothing uses", async () => {
    await onServer("docker image rm $(docker images -q flipflap/agent) >/dev/null");
    const without = await serverSnapshot(project.root, "flip");
    const images = (...words: string[]) => project.flipflap("images", ...words);
    const there = async (): Promise<(string | undefined)[]> => {
      const listed = JSON.parse(succeeded(await images("--json"))) as { images: { name: string; servers: Record<string, string> }[] };
      return ["tools", "agent"].map((name) => listed.images.find((image) => image.name === name)?.servers.flip);
    };
    expect(await there()).toEqual(["there", ""]);
    const route = await run(["ip", "route", "get", readLabState(project.root)?.servers.flip?.address ?? ""]);
    const link = /dev (\S+)/.exec(route)?.[1] ?? "";
    await run(["tc", "qdisc", "add", "dev", link, "root", "tbf", "rate", "80mbit", "burst", "128kb", "latency", "50ms"]);
    try {
      const said = (await images("preload", "--server", "flip")).stderr;
      expect(said).toContain("flip: image tools: was there before flipflap, and stays");
      expect(said).toMatch(/flip: image agent: \d+ MiB, as \d MiB compressed/);
    } finally {
      await run(["tc", "qdisc", "del", "dev", link, "root"]);
    }
    expect(await there()).toEqual(["there", "preloaded"]);
    succeeded(await up());
    expect((await images("prune", "--server", "flip")).stderr).toMatch(/flipflap\/agent:\w+: stays, a container uses it/);
    succeeded(await project.pulumi("destroy", "-s", "flip", "--yes", "--skip-preview"));
    expect(await there()).toEqual(["there", "preloaded"]);
    expect((await images("prune", "--server", "flip")).stderr).toMatch(/flipflap\/agent:\w+: taken away/);
    expect(await serverSnapshot(project.root, "flip")).toBe(without);
    project.use("bridge");
  });
});
