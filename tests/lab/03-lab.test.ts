/** The lab itself: power cuts, leftovers of killed runs, overlapping ranges, several side by side. */
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { formatAddress, formatPrefix, hostAddress } from "../../components/net/cidr";
import { labNames, labNameOf } from "../../lab/names";
import { rangesOfSlot } from "../../lab/ranges";
import { run, tryRun, waitUntil } from "../../support/process";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { comparable, machineSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const names = labNames(labNameOf(project.root));
const { onServer } = onLab(project);

interface LabStatus {
  name: string;
  ranges: string[];
  servers: { server: string; power: string; pid: number | null }[];
}
const labStatus = async (of = project): Promise<LabStatus> =>
  JSON.parse(succeeded(await of.flipflap("lab", "status", "--json"))) as LabStatus;

describe("the lab", () => {
  beforeAll(async () => {
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
  });

  it("keeps what is written on one server off the other", async () => {
    await onServer("flip", "echo mine >/etc/flip-only; echo mine >/root/flip-only; mkdir -p /var/lib/flip-only; echo mine >/tmp/flip-only");
    const found = await onServer(
      "flap",
      "ls /etc/flip-only /root/flip-only /var/lib/flip-only /tmp/flip-only 2>&1 | grep -c 'No such file' || true",
    );
    expect(found.trim()).toBe("4");
    expect((await onServer("flip", "hostname")).trim()).toBe("flip");
  });

  it("gives each server our images, and what one does with them is not seen on the other", async () => {
    // The first may be without: the files before this one prune there.
    succeeded(await project.flipflap("lab", "stop"));
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    const tools = "$(docker images -q flipflap/tools)";
    const digest = `docker run --rm --network none ${tools} sha256sum /bin/ping`;
    const first = await onServer("flap", digest);
    expect(first).toMatch(/^[0-9a-f]{64}/);
    await onServer(
      "flip",
      `docker run --name writes --network none ${tools} sh -c 'echo none >/bin/ping; chmod 777 /bin/tar; rm /bin/ls'; docker rm writes; docker image rm ${tools}`,
    );
    expect((await onServer("flip", "docker images -q flipflap/tools")).trim()).toBe("");
    expect(await onServer("flap", digest)).toBe(first);
    expect(await onServer("flap", `docker run --rm --network none ${tools} sh -c 'ls -l /bin/tar'`)).toMatch(/^-rwxr-xr-x/);
    succeeded(await project.flipflap("lab", "stop"));
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    expect(await onServer("flip", digest)).toBe(first);
  });

  it("accepts keys only, and shows each server's own host key", async () => {
    const ssh = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
    const refused = await tryRun([...ssh, "-o", "PubkeyAuthentication=no", `root@${(await addresses()).flip}`, "true"]);
    expect(refused.code).toBe(255);
    expect(refused.stderr).toContain("Permission denied (publickey)");
    const keys = project
      .read(".flipflap/ssh/known_hosts")
      .trim()
      .split("\n")
      .map((line) => line.split(" ")[2]);
    expect(new Set(keys).size).toBe(2);
  });

  const addresses = async (): Promise<Record<string, string>> =>
    Object.fromEntries(
      (
        JSON.parse(succeeded(await project.flipflap("lab", "status", "--json"))) as { servers: { server: string; address: string }[] }
      ).servers.map(({ server, address }) => [server, address]),
    );

  it("cuts a server's power: its peer loses the carrier and no more; repair brings the testbed back", async () => {
    succeeded(await project.flipflap("up"));
    // The number that the kernel gives the peer's namespace is no setting.
    const look = async (): Promise<string> =>
      (await onServer("flap", "ip -o link show up0; ip -o addr show up0")).replace(/ link-netnsid \d+/, "").replace(/state \w+/g, "");
    const before = await look();
    await onServer("flip", "echo kept >/root/on-disk");
    succeeded(await project.flipflap("lab", "power-cut", "flip"));
    expect((await labStatus()).servers.find((s) => s.server === "flip")?.power).toBe("off");
    const during = await look();
    expect(during).toContain("NO-CARRIER");
    expect(during.replace("NO-CARRIER,", "")).toBe(before.replace(",LOWER_UP", ""));
    expect((await project.flipflap("status")).stdout).toMatch(/flip +no answer/);

    succeeded(await project.flipflap("lab", "power-on", "flip"));
    // The disk is as it was; the kernel's state is gone.
    expect((await onServer("flip", "cat /root/on-disk")).trim()).toBe("kept");
    expect(await onServer("flip", "ip -br link; cat /sys/class/net/up0/mtu")).not.toContain("br-red-net");
    const repaired = await project.flipflap("repair");
    expect(repaired.stdout).toMatch(/\d+ mended, 0 left/);
    expect(succeeded(await project.flipflap("check"))).toContain("0 not as declared; 12 ways probed, 0 closed");
  });

  it("has its dockerd again after that was killed", async () => {
    await onServer("flap", "kill -9 $(cat /run/docker.pid)");
    const running = "docker ps -q --filter label=flipflap.stack 2>/dev/null | wc -l";
    await waitUntil("four containers on flap", 60, async () => (await onServer("flap", running)).trim() === "4");
    await waitUntil("their attach", 10, async () => (await project.flipflap("check")).code === 0);
    expect(succeeded(await project.flipflap("check"))).toContain("0 not as declared");
  });

  it("mends what a killed run left half-done, and starts again without a change", async () => {
    await run(["ip", "link", "del", names.managementDevice(0)]);
    const pid = (await labStatus()).servers.find((s) => s.server === "flip")?.pid ?? 0;
    expect(pid).toBeGreaterThan(1);
    process.kill(pid, "SIGKILL");
    succeeded(await project.flipflap("lab", "start"));
    expect((await labStatus()).servers.map((s) => s.power)).toEqual(["on", "on"]);
    const pids = (await labStatus()).servers.map((s) => s.pid);
    succeeded(await project.flipflap("lab", "start"));
    expect((await labStatus()).servers.map((s) => s.pid)).toEqual(pids);
    expect(await onServer("flap", "hostname")).toContain("flap");
  });

  const second = Project.make("second-lab");
  afterAll(async () => {
    await second.flipflap("lab", "stop");
    second.remove();
  });

  it("lives beside another lab with other names and ranges", async () => {
    const before = await labStatus();
    succeeded(await second.flipflap("lab", "start"));
    const other = await labStatus(second);
    expect(other.servers.map((s) => s.power)).toEqual(["on", "on"]);
    expect(other.ranges.filter((range) => before.ranges.includes(range))).toEqual([]);
    succeeded(await second.flipflap("lab", "stop"));
    expect(await labStatus()).toEqual(before);
  });

  it("refuses ranges that the machine itself routes, naming both", async () => {
    const ranges = rangesOfSlot(99);
    const inside = formatAddress(hostAddress(ranges.underlayIpv4, 128));
    await run(["ip", "netns", "add", "ff-test-overlap"]);
    try {
      // A route of the machine's own, to a device that leads nowhere.
      await run(["ip", "link", "add", "ff-test-ov0", "type", "veth", "peer", "name", "ff-test-ov1", "netns", "ff-test-overlap"]);
      await run(["ip", "link", "set", "ff-test-ov0", "up"]);
      await run(["ip", "-n", "ff-test-overlap", "link", "set", "ff-test-ov1", "up"]);
      await run(["ip", "route", "add", `${inside}/25`, "dev", "ff-test-ov0"]);
      const refused = await tryRun([`${process.cwd()}/bin/flipflap`, "lab", "start"], {
        cwd: second.root,
        env: { ...process.env, FLIPFLAP_ROOT: second.root, FLIPFLAP_LAB_SLOT: "99" },
      });
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain(
        `range ${formatPrefix(ranges.underlayIpv4)} overlaps the machine's route ${inside}/25 dev ff-test-ov0`,
      );
      expect(refused.stderr).toContain("FLIPFLAP_LAB_SLOT");
    } finally {
      await tryRun(["ip", "link", "del", "ff-test-ov0"]);
      await run(["ip", "netns", "del", "ff-test-overlap"]);
    }
  });

  it("gives the machine back as it was, with the stacks' servers gone under them", async () => {
    succeeded(await project.flipflap("lab", "power-cut", "flap"));
    succeeded(await project.flipflap("down"));
    await second.flipflap("lab", "stop");
    const { before, now } = comparable(inject("machineBefore"), await machineSnapshot(project.root));
    expect(now).toBe(before);
  });
});
