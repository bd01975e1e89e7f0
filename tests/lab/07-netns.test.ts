/** Kind netns: the baseline of one server. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { Status } from "../../cli/verbs/status";
import type { Checked } from "../../deploy/checks";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const lab = onLab(project);
const { inSystem } = lab;
const onServer = (command: string): Promise<string> => lab.onServer("flip", command);
const wrong = async (): Promise<Checked[]> =>
  (JSON.parse((await project.flipflap("drift", "--json")).stdout) as Checked[]).filter(({ result }) => result !== "ok");

describe("kind netns", () => {
  let status: Status;
  let before = "";
  const address = (system: string, index: number): string =>
    status.systems.find(({ name }) => name === system)?.interfaces[0]?.addresses[index]?.split("/")[0] ?? "none";

  beforeAll(async () => {
    project.use("netns");
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    before = await serverSnapshot(project.root, "flip");
    status = JSON.parse(succeeded(await project.flipflap("up", "--json"))) as Status;
  });

  it("comes up: namespaces and no containers, reached at full size in both families", async () => {
    expect(status.systems.map(({ name, state, reachable }) => [name, state, reachable])).toEqual([
      ["blue", "running", true],
      ["green", "running", true],
    ]);
    expect(await onServer("docker ps --format '{{.Names}}'")).toBe("ff-agent\n");
    expect(await wrong()).toEqual([]);
    const hops = succeeded(await inSystem("blue", "ping", "-n", "-c", "1", address("green", 0)));
    expect(hops).toContain("ttl=63");
    succeeded(await inSystem("green", "ping", "-n", "-c", "1", address("blue", 1)));
  });

  it.each([
    ["its address", "ip -n ff-blue addr flush dev eth0 scope global", ["addresses", "defaultRoutes"]],
    ["an offload", "ip netns exec ff-blue ethtool -K eth0 tso off", ["tso"]],
    [
      "a neighbour",
      "ip neigh flush dev $(ip -o link show type veth | sed -n 's/^[0-9]*: \\(ffv-[0-9a-f]*\\).*/\\1/p' | head -n 1) nud permanent",
      ["port.neighbours"],
    ],
    ["the namespace", "ip netns del ff-blue", []],
  ])("names %s that somebody changed, and mends it", async (_, command, properties) => {
    await onServer(command);
    const [found, ...others] = await wrong();
    succeeded(await project.flipflap("repair"));
    expect(others).toEqual([]);
    expect(found?.differences.map(({ property }) => property)).toEqual(expect.arrayContaining(properties));
    expect(found?.name).toMatch(/^(blue|green)-namespace$/);
    expect(await wrong()).toEqual([]);
  });

  it("leaves a namespace of somebody else alone", async () => {
    succeeded(await project.pulumi("destroy", "-s", "flip", "--yes", "--skip-preview"));
    await onServer("ip netns add ff-green");
    const refused = await project.pulumi("up", "-s", "flip", "--yes", "--skip-preview");
    expect(refused.stdout + refused.stderr).toContain("ff-green: there is a network namespace of this name that is not ours");
    succeeded(await project.pulumi("destroy", "-s", "flip", "--yes", "--skip-preview"));
    expect(await onServer("ip netns list")).toMatch(/^ff-green/m);
    await onServer("ip netns del ff-green; umount /run/netns; rmdir /run/netns");
  });

  it("gives the server back as it was", async () => {
    for (const stack of ["flip", "flap"]) succeeded(await project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview"));
    expect(await serverSnapshot(project.root, "flip")).toBe(before);
    project.use("bridge");
  });
});
