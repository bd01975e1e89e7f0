/** Servers join a running testbed and leave it: the others go on. */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { run, sleep } from "../../support/process";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const { onServer, inSystem, reaches } = onLab(project);
const before = new Map<string, string>();

const testbed = (third: string, link: string): string => `
tenants: [{ name: red }]
networks: [{ name: over, tenant: red, kind: evpn, vn: 136, subnet: 10.1.2.0/24 }]
systems:
  - { name: one, tenant: red, server: flip, networks: [{ name: over, address: 10.1.2.11 }] }
  - { name: two, tenant: red, server: flap, networks: [{ name: over, address: 10.1.2.12 }] }
  ${third}
links: [{ between: [${link}], mtuBytes: 9000 }]
`;
const pair = testbed("", "flip, flap");
const three = testbed("- { name: third, tenant: red, server: flop, networks: [{ name: over, address: 10.1.2.13 }] }", "flip, flap, flop");

const join = (): void => {
  project.write("Pulumi.flop.yaml", project.read("Pulumi.flap.yaml"));
  project.write("testbeds/joining.yaml", three);
};
const leave = (): void => {
  rmSync(`${project.root}/Pulumi.flop.yaml`);
  project.write("testbeds/joining.yaml", pair);
};
const up = async (): Promise<string> => succeeded(await project.flipflap("up"));
const expectWhole = async (): Promise<void> =>
  expect((await project.flipflap("check")).stdout).toMatch(/ 0 not as declared; \d+ ways probed, 0 closed/);

/** How many of a hundred pings a second between the first two got no answer while something is done. */
async function lostDuring(work: () => Promise<unknown>): Promise<number> {
  await inSystem("one", "rm", "-f", "/tmp/ping");
  const pinging = inSystem("one", "sh", "-c", "ping -i 0.01 -w 120 -q 10.1.2.12 & echo $! >/tmp/ping; wait");
  expect(await eventually(async () => (await inSystem("one", "test", "-s", "/tmp/ping")).code === 0)).toBe(true);
  await sleep(1000);
  await work();
  await inSystem("one", "sh", "-c", "kill -INT $(cat /tmp/ping)");
  const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec((await pinging).stdout) ?? [];
  // A second before, and all the while: a busy machine sends fewer than it was asked to.
  expect(Number(sent)).toBeGreaterThan(50);
  return Number(sent) - Number(received);
}

describe("a third server", () => {
  beforeAll(async () => {
    project.write("testbeds/joining.yaml", pair);
    project.use("joining");
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    for (const server of ["flip", "flap"]) before.set(server, await serverSnapshot(project.root, server));
    await up();
  });
  afterAll(() => {
    rmSync(`${project.root}/Pulumi.flop.yaml`, { force: true });
    project.use("bridge");
  });

  it("joins a running testbed: what a replugged cable took from the first two is made again", async () => {
    join();
    await up();
    await expectWhole();
    expect(await reaches("one", "10.1.2.13", { count: 2 })).toBe(true);
  });

  it("leaves, and joins again, and the first two notice nothing", async () => {
    const lost = await lostDuring(async () => {
      leave();
      await up();
    });
    expect(lost).toBe(0);
    await expectWhole();
    expect((await project.flipflap("lab", "status")).stdout).not.toContain("flop");
    const again = await lostDuring(async () => {
      join();
      await up();
    });
    expect(again).toBe(0);
    await expectWhole();
  });

  it("with a NIC that no link names comes up all the same, and is refused where it needs the hub", async () => {
    project.write("testbeds/joining.yaml", three.replace("flip, flap, flop", "flip, flap"));
    expect((await project.flipflap("up")).stderr).toContain("no link joins flop with it");
    project.write(
      "testbeds/joining.yaml",
      `${pair.replace("links:", "  - { name: third, tenant: red, server: flop, networks: [{ name: alone }] }\nlinks:").replace("networks: [{ name: over", "networks: [{ name: alone, tenant: red, kind: bridge, mode: l2, subnet: 10.1.9.0/24 }, { name: over")}`,
    );
    await up();
    expect(await onServer("flop", "ip -br link show up0")).toContain("up0");
  });

  it("and all of them give back what they had", async () => {
    leave();
    await up();
    for (const stack of ["flap", "flip"]) succeeded(await project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview"));
    for (const server of ["flip", "flap"]) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
    expect(await run(["ip", "netns", "list"])).not.toContain("-flop");
  });
});
