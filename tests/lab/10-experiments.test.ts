/** Experiments on what is deployed: measured, interrupted in every way, gone on with, compared, and shown in a real browser. */
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { readRun, runNames } from "../../experiments/results";
import { run, waitUntil } from "../../support/process";
import { begunExperiment } from "../support/begunExperiment";
import { look } from "../support/browser";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"];
const { onServer } = onLab(project);
const before = new Map<string, string>();

const profiles = (seconds: number, rounds: number): string =>
  `profiles: { quick: { seconds: ${seconds}, rounds: ${rounds} }, full: { seconds: 60, rounds: 100 } }`;
const declared = (name: string, body: string, seconds = 1, rounds = 2): void =>
  project.write(`experiments/${name}.yaml`, `title: Try ${name}\nasks: Does it work?\n${body}\n${profiles(seconds, rounds)}\n`);

interface Told {
  readonly run: string;
  readonly isEnded: boolean;
  readonly cells: readonly {
    readonly label: string;
    readonly value: { readonly median: number };
    readonly ratio?: { readonly median: number };
    readonly values: readonly number[];
    readonly details: Readonly<Record<string, number>>;
    readonly failures: readonly string[];
  }[];
  readonly left: readonly { readonly cell: string; readonly why: string }[];
}

async function measured(name: string, code: number): Promise<Told> {
  const finished = await project.flipflap("experiment", "run", name, "--json");
  expect([finished.code, finished.stderr]).toEqual([code, expect.anything()]);
  return JSON.parse(finished.stdout) as Told;
}

const drifted = async (): Promise<string> => (await project.flipflap("drift")).stdout;

const begun = (name: string) => begunExperiment(project, name);

async function afterSamples(latest: () => string, count: number): Promise<void> {
  await waitUntil(`${count} samples`, 60, () => latest() !== "" && readRun(project.root, latest()).samples.length >= count);
}

describe("experiments", () => {
  beforeAll(async () => {
    mkdirSync(join(project.root, "experiments"), { recursive: true });
    project.use("compare");
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    for (const server of servers) before.set(server, await serverSnapshot(project.root, server));
  });

  it("refuse what is not up, what is not there, and what no network can do", async () => {
    declared("reach", "method: throughput");
    const notUp = await project.flipflap("experiment", "run", "reach");
    expect([notUp.code, notUp.stderr]).toEqual([1, expect.stringContaining("testbed compare is not up on flap, flip: flipflap up")]);
    succeeded(await project.flipflap("up"));
    declared("nowhere", "method: throughput\nnetworks: [bridge2]");
    expect((await project.flipflap("experiment", "run", "nowhere")).stderr).toContain('the testbed has no network "bridge2"');
    expect((await project.flipflap("experiment", "run", "s1-policy")).stderr).toContain('the testbed has no network "cilium-no-rules"');
    expect((await project.flipflap("experiment", "run", "s1-trace")).stderr).toContain("needs fentry programs, which are still to come");
    expect((await project.flipflap("experiment", "run", "nothing")).stderr).toContain(
      "experiments/nothing.yaml: there is no such experiment",
    );
  });

  it("measure every network on one server and across, beside server to server, and say what could not be", async () => {
    declared("reach", "method: throughput\nmatrix: { placement: [same-server, across] }");
    const told = await measured("reach", 3);
    expect(told.left).toEqual([{ cell: "bare, two servers", why: "it has no two systems on two servers that reach one another" }]);
    expect(told.cells.map(({ label }) => label)).toEqual([
      "server to server",
      "bridge, one server",
      "bridge, two servers",
      "evpn, one server",
      "evpn, two servers",
      "bare, one server",
    ]);
    for (const { label, value, ratio, values } of told.cells) {
      expect([label, value.median > 0.5, values.length]).toEqual([label, true, 2]);
      expect([label, ratio === undefined]).toEqual([label, label === "server to server"]);
    }
    // Raw output of each measurement is there.
    expect(readdirSync(join(project.root, "results", told.run, "raw")).length).toBeGreaterThanOrEqual(12);
    expect(await drifted()).toContain(" 0 not as deployed");
  });

  it("put rules in the way, and take them away", async () => {
    declared(
      "rules",
      "method: throughput\nnetworks: [bridge]\nmatrix: { placement: [same-server], filter: [iptables, nft], rules: [0, 2000] }",
      1,
    );
    const told = await measured("rules", 0);
    const of = (label: string): number => told.cells.find((cell) => cell.label === label)?.value.median ?? Number.NaN;
    expect(of("bridge, nft, 2000 rules") / of("bridge, 0 rules")).toBeLessThan(0.7);
    expect(of("bridge, iptables, 2000 rules") / of("bridge, 0 rules")).toBeLessThan(0.7);
    expect(await drifted()).toContain(" 0 not as deployed");
  });

  it("measure latency, connections, packets, interfaces' settings and boot", async () => {
    declared("latency", "method: rr\nnetworks: [bridge]\nmatrix: { cores: [one, free] }", 1, 1);
    declared("udp", "method: rr\nprotocol: udp\nnetworks: [evpn]", 1, 1);
    declared("connect", "method: crr\nnetworks: [bridge]", 1, 1);
    declared("packets", "method: udp-pps\nnetworks: [bare]\nmatrix: { placement: [same-server] }", 1, 1);
    declared(
      "offload",
      "method: throughput\nnetworks: [bridge]\nmatrix: { tso: [true, false], mtuBytes: [1500, 9000], direction: [reverse] }",
      1,
      1,
    );
    declared("boot", "method: boot\nnetworks: [bridge]\nmatrix: { systems: [1, 4] }", 1, 1);
    for (const name of ["latency", "udp", "connect", "packets", "offload", "boot"]) {
      const told = await measured(name, 0);
      for (const { label, value, failures } of told.cells)
        expect([name, label, value.median > 0, failures]).toEqual([name, label, true, []]);
      if (name === "latency")
        expect(told.cells[1]?.details.p99Microseconds).toBeGreaterThan(told.cells[1]?.details.p50Microseconds ?? Number.NaN);
      if (name === "boot") expect(told.cells.map(({ details }) => (details.memoryMiBPerSystem ?? 0) > 0)).toContain(true);
    }
    expect(await drifted()).toContain(" 0 not as deployed");
  });

  it("refuse a cell that the network cannot carry, and measure the others", async () => {
    declared("large", "method: throughput\nnetworks: [evpn]\nmatrix: { mtuBytes: [8950, 9000] }", 1, 1);
    const told = await measured("large", 3);
    expect(told.cells.map(({ failures }) => failures)).toEqual([[], [], ["round 1: MTU 9000 is above the network's 8950"]]);
  });

  it("go on where a tool dies in the middle, and name the cell", async () => {
    declared("dies", "method: throughput\nnetworks: [bridge, evpn]", 3, 1);
    const { ended, latest } = begun("dies");
    await waitUntil(
      "a measurement",
      60,
      async () =>
        (await onServer("flip", "pgrep -x iperf3 || true")).trim() !== "" &&
        latest() !== "" &&
        readRun(project.root, latest()).samples.length > 0,
    );
    await onServer("flip", "kill -9 $(pgrep -x iperf3)");
    // It was measured once more, and that is told.
    expect(await ended).toBe(0);
    const { failures, repeated, samples, isEnded } = readRun(project.root, latest());
    expect([failures.length, repeated.length, samples.length, isEnded]).toEqual([0, 1, 3, true]);
    expect(repeated[0]?.error).toMatch(/iperf3/);
  });

  it("stop on Ctrl-C with all put back, and can be resumed", async () => {
    declared("stopped", "method: throughput\nnetworks: [bridge]\nmatrix: { rules: [0, 100] }", 1, 3);
    const { child, ended, latest } = begun("stopped");
    await afterSamples(latest, 2);
    child.kill("SIGINT");
    expect(await ended).toBe(130);
    expect(await drifted()).toContain(" 0 not as deployed");
    const before = readRun(project.root, latest()).samples.length;
    expect(before).toBeLessThan(9);
    succeeded(await project.flipflap("experiment", "resume", latest()));
    const { samples, isEnded } = readRun(project.root, latest());
    expect([new Set(samples.map(({ round, cell }) => `${round} ${cell}`)).size, samples.length, isEnded]).toEqual([9, 9, true]);
  });

  it("leave marks where they are killed: drift names them, repair takes them away, resume goes on", async () => {
    declared("killed", "method: throughput\nnetworks: [bridge]\nmatrix: { rules: [10, 100] }", 1, 3);
    const { child, ended, latest } = begun("killed");
    await afterSamples(latest, 2);
    await waitUntil("rules", 30, async () => (await onServer("flip", "iptables -S FF-experiment 2>/dev/null | wc -l")).trim() !== "0");
    child.kill("SIGKILL");
    await ended;
    expect(await drifted()).toMatch(
      /ff-bench \(container\): it has this stack's mark[^]*FF-experiment \(filter\): it has this stack's mark/,
    );
    succeeded(await project.flipflap("repair"));
    expect(await drifted()).toContain(" 0 not as deployed");
    succeeded(await project.flipflap("experiment", "resume"));
    const { samples, isEnded } = readRun(project.root, latest());
    expect([new Set(samples.map(({ round, cell }) => `${round} ${cell}`)).size, samples.length, isEnded]).toEqual([9, 9, true]);
    expect((await project.flipflap("experiment", "resume", latest())).stderr).toContain("is at its end");
  });

  it("say what a full disk stopped", async () => {
    declared("full", "method: throughput\nnetworks: [bridge]", 1, 2);
    const results = join(project.root, "results");
    await run([
      "sh",
      "-c",
      'mv "$0" "$0.kept"; mkdir "$0"; mount -t tmpfs -o size=64k flipflap-test "$0"; head -c 48k /dev/zero >"$0/filler"',
      results,
    ]);
    try {
      const full = await project.flipflap("experiment", "run", "full");
      expect([full.code, full.stderr]).toEqual([
        1,
        expect.stringMatching(/ENOSPC: no space left on device[^]*flipflap experiment resume full-/),
      ]);
      expect(await drifted()).toContain(" 0 not as deployed");
      await run(["rm", join(results, "filler")]);
      succeeded(await project.flipflap("experiment", "resume"));
    } finally {
      await run(["sh", "-c", 'umount "$0"; rmdir "$0"; mv "$0.kept" "$0"', results]);
    }
  });

  it("compare a run with another", async () => {
    const [a, b] = runNames(project.root).filter((name) => name.startsWith("stopped") || name.startsWith("killed"));
    const said = succeeded(await project.flipflap("experiment", "compare", a ?? "", b ?? ""));
    expect(said).toMatch(/server to server +\S+ \(.*; range of 3\).* cells differ beyond noise.*too few rounds/s);
  });

  it("make a page that a browser shows without a complaint, legible on any screen", async () => {
    succeeded(await project.flipflap("report"));
    const file = join(project.root, "results", "report.html");
    const wide = await look(file, 1200);
    expect(wide.consoleLines).toEqual([]);
    expect(wide.looked.plots).toBeGreaterThanOrEqual(8);
    expect(wide.looked).toMatchObject({ touching: [], outside: [], scrollsSideways: false, background: "rgb(255, 255, 255)" });
    expect(wide.looked.smallestText).toBeGreaterThan(10);
    const small = await look(file, 500);
    expect(small.looked).toMatchObject({ touching: [], outside: [], scrollsSideways: false });
    expect(small.looked.smallestText).toBeGreaterThan(7);
    const dark = await look(file, 1200, true);
    expect(dark.looked.background).toBe("rgb(18, 22, 27)");
  });

  it("gives both servers back as they were", async () => {
    for (const stack of servers) succeeded(await project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview"));
    for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
    project.use("bridge");
  });
});
