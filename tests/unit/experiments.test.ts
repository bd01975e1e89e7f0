import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { afterAll, describe, expect, it } from "vitest";
import { type AnyCell, baselineOf, cellKey, cellLabel, cellsOf } from "../../experiments/cells";
import { experimentNames, loadExperiment } from "../../experiments/load";
import { csvOf } from "../../experiments/report/csv";
import { page } from "../../experiments/report/page";
import { ticks } from "../../experiments/report/plots";
import { readRun, type Run, type RunHeader, runNames, RunWriter, type Sample } from "../../experiments/results";
import { compareRuns, summarise } from "../../experiments/summary";
import type { Experiment } from "../../experiments/types.gen";
import { codeRoot } from "../../support/project";

const sweep: Experiment = {
  title: "A sweep",
  asks: "What do rules cost?",
  report: "S1",
  method: "throughput",
  matrix: { filter: ["iptables", "nft"], match: ["none", "top"], rules: [0, 10, 200] },
  profiles: { quick: { seconds: 1, rounds: 2, matrix: { rules: [0, 200] } }, full: { seconds: 60, rounds: 10 } },
  published: [{ label: "S1", value: 2.26, where: { rules: 200, filter: "iptables", match: "none" } }],
};

describe("cells", () => {
  it("are every combination, with one cell of no rules", () => {
    const cells = cellsOf(sweep, "full", ["bridge"]);
    expect(cells).toHaveLength(1 + 2 * 2 * 2);
    expect(cells.filter(({ rules }) => rules === 0)).toEqual([
      { network: "bridge", placement: "across", streams: 1, direction: "forward", cores: "free", rules: 0 },
    ]);
    expect(new Set(cells.map(cellKey)).size).toBe(cells.length);
  });
  it("of a profile replace those of the matrix, one by one", () => {
    expect(cellsOf(sweep, "quick", ["bridge"]).map(({ rules }) => rules)).toEqual([0, 200, 200, 200, 200]);
  });
  it("are called by what they differ in", () => {
    const cells: AnyCell[] = cellsOf(sweep, "full", ["bridge"]);
    const all = [baselineOf(cells[0]!), ...cells];
    expect(all.map((cell) => cellLabel(cell, all)).slice(0, 4)).toEqual([
      "server to server",
      "bridge, 0 rules",
      "bridge, iptables, none matches, 10 rules",
      "bridge, iptables, none matches, 200 rules",
    ]);
  });
  it("of boot are numbers of systems", () => {
    const boot: Experiment = { ...sweep, method: "boot", matrix: { systems: [1, 50] } };
    expect(cellsOf(boot, "full", ["bridge"]).map(({ systems }) => systems)).toEqual([1, 50]);
  });
});

describe("the shipped experiments", () => {
  it.each(experimentNames(codeRoot))("%s fits the schema and has cells", (name) => {
    const experiment = loadExperiment(codeRoot, name);
    for (const profile of ["quick", "full"] as const) expect(cellsOf(experiment, profile, ["any"]).length).toBeGreaterThan(0);
  });
});

describe("faults of an experiment", () => {
  const root = mkdtempSync(join(tmpdir(), "flipflap-experiments-"));
  afterAll(() => rmSync(root, { recursive: true }));
  const said = (text: string): string => {
    mkdirSync(join(root, "experiments"), { recursive: true });
    writeFileSync(join(root, "experiments", "bad.yaml"), text);
    try {
      loadExperiment(root, "bad");
      return "";
    } catch (error) {
      return (error as Error).message;
    }
  };
  it("are all told at once, with path and fix", () => {
    expect(
      said(
        "title: x\nasks: what\nmethod: thruput\nmatrix: { rules: [-1], placements: [across] }\nprofiles: { quick: { seconds: 1, rounds: 1 }, full: { rounds: 1 } }\n",
      ),
    ).toMatchInlineSnapshot(`
      "The declaration has 5 faults; nothing was changed.
        experiments/bad.yaml: title: "x" does not fit (must NOT have fewer than 3 characters); A heading for people.
        experiments/bad.yaml: method: "thruput" is not allowed; choose one of "throughput", "udp-pps", "rr", "crr", "boot", "boot-tunnels", "policy-complexity", "devices", "trace"
        experiments/bad.yaml: matrix.placements: is not known here; did you mean "placement"?
        experiments/bad.yaml: matrix.rules[0]: -1 is out of range; it must be >= 0
        experiments/bad.yaml: profiles.full.seconds: is missing; add it: Of one measurement, after what is dropped at its begin."
    `);
  });
  it("is a name that is none", () => {
    expect(() => loadExperiment(root, "s1-rulez")).toThrow(
      'experiments/s1-rulez.yaml: there is no such experiment; did you mean "s1-rules"?',
    );
  });
});

function runOf(values: (cell: AnyCell, round: number) => number, rounds = 5, name = "try-20260101-000000"): Run {
  const own = cellsOf(sweep, "full", ["bridge"]);
  const cells = [baselineOf(own[0]!), ...own];
  const header: RunHeader = {
    type: "run",
    run: name,
    experiment: "try",
    definition: sweep,
    profile: "full",
    testbed: "bridge",
    kinds: { bridge: "bridge" },
    topology: "<svg></svg>",
    seed: 7,
    unit: "Gb/s",
    better: "more",
    startedAt: "2026-01-01T00:00:00Z",
    cells,
    left: [],
    conditions: { kernel: "6.18" },
  };
  const samples = cells.flatMap((cell) =>
    Array.from({ length: rounds }, (_, i): Sample => {
      const at = "2026-01-01T00:00:00Z";
      return {
        type: "sample",
        round: i + 1,
        cell: cellKey(cell),
        value: values(cell, i + 1),
        details: { cpuPercentPerGbit: 3 },
        foreignCpu: 0,
        busyCpu: 0.9,
        at,
        seconds: 1,
        raw: "",
      };
    }),
  );
  return { header, samples, disturbed: [], failures: [], repeated: [], isEnded: true };
}

describe("a run", () => {
  it("pairs each cell with server to server in its own round", () => {
    // Every round is slower; the ratio stays.
    const [base, first] = summarise(runOf((cell, round) => (cell.network === "" ? 40 : 10) / round));
    expect([base?.ratio, first?.ratio?.median]).toEqual([undefined, 0.25]);
  });

  it("differs from another beyond noise where chance is out of the question for all cells together", () => {
    const before = runOf((_, round) => 10 + round / 100, 8);
    const after = runOf((cell, round) => (cellKey(cell).includes("rules=200") ? 5 : 10) + round / 100, 8);
    // Three rounds tell nothing, however far apart they are.
    const short = compareRuns(
      runOf((_, round) => 10 + round / 100, 3),
      runOf((_, round) => 5 + round / 100, 3),
    );
    expect(short.filter(({ isBeyondNoise }) => isBeyondNoise)).toEqual([]);
    const compared = compareRuns(before, after);
    expect(compared.filter(({ isBeyondNoise }) => isBeyondNoise).map(({ label }) => label)).toEqual([
      "bridge, iptables, none matches, 200 rules",
      "bridge, iptables, first matches, 200 rules",
      "bridge, nft, none matches, 200 rules",
      "bridge, nft, first matches, 200 rules",
    ]);
    expect(compared.at(-1)?.change).toBeCloseTo(-0.5, 1);
  });

  it("is read back as it was written, without the line that a kill cut off", () => {
    const root = mkdtempSync(join(tmpdir(), "flipflap-results-"));
    const run = runOf(() => 1, 2);
    const writer = new RunWriter(root, run.header.run);
    writer.add(run.header);
    for (const sample of run.samples) writer.add({ ...sample, raw: writer.raw("what the tool printed") });
    writeFileSync(join(root, "results", run.header.run, "run.jsonl"), '{"type":"sample","rou', { flag: "a" });
    expect(runNames(root)).toEqual([run.header.run]);
    const read = readRun(root, run.header.run);
    expect([read.samples.length, read.isEnded, read.header.cells.length]).toEqual([run.samples.length, false, run.header.cells.length]);
    expect(read.samples[0]?.raw).toBe("raw/00001.txt");
    rmSync(root, { recursive: true });
  });
});

describe("the report", () => {
  const reported = (run: Run) => ({ run, summaries: summarise(run), kinds: new Map(Object.entries(run.header.kinds)) });
  it("plots a sweep with its series, its intervals, the published figure, and words for those who do not see it", () => {
    const one = reported(runOf((cell, round) => (cell.network === "" ? 40 : 10) + round / 10));
    const html = page([one], csvOf([one]), "2026-01-01 00:00");
    expect(html).toContain('role="img"');
    expect(html).toMatch(/<desc>Gb\/s\. iptables, none matches: 0: 10\.30 \(10\.1\d, 10\.\d+; range of 5\); 10: /);
    expect(html.match(/<polyline/g)).toHaveLength(4);
    expect(html).toContain("as published (S1)");
    expect(html).toMatch(/<td class=n>2\.26<\/td>/);
    // Nothing is fetched.
    expect(html.match(/(src|href)="(?!#|data:)[^"]*"/g)).toBeNull();
    expect(html).not.toMatch(/<script|@import|url\(http/);
  });
  it("shows a report's ways below ours, device by device, with the intervals of its batches", () => {
    const definition = loadExperiment(codeRoot, "s3-devices");
    const run = runOf(() => 30);
    const samples = run.samples.map((sample) => ({ ...sample, details: { "01 web eth0": 10, "02 flip br-net": 20 } }));
    const one = reported({ ...run, samples, header: { ...run.header, definition } });
    const html = page([one], "", "now");
    expect(html.match(/class="piece theirs"/g)).toHaveLength(4 + 4 + 4 + 3);
    expect(html).toMatch(/S3, bridge<\/th><td>veth pair<\/td><td class=n>7\.90 \[7\.69, 8\.47\]/);
    expect(html).toMatch(/<td>hypervisor<\/td><td class=n>233\.5 \[222\.5, 250\.6\]/);
  });
  it("escapes what users wrote", () => {
    const run = runOf(() => 1);
    const one = reported({ ...run, header: { ...run.header, definition: { ...sweep, title: '<script>alert("x")</script>' } } });
    expect(page([one], "", "now")).not.toContain("<script>");
  });
  it("has CSV with a line a cell", () => {
    const lines = csvOf([reported(runOf(() => 2))])
      .trim()
      .split("\r\n");
    expect(lines).toHaveLength(1 + 10);
    expect(lines[0]).toMatch(/^run,experiment,testbed,cell,network,placement,/);
    expect(lines[2]).toContain('"bridge, 0 rules"');
  });
  it("is made of ten thousand samples in less than three seconds", () => {
    const begin = performance.now();
    const one = reported(runOf((cell, round) => (cell.network === "" ? 40 : 10) + Math.sin(round), 1000));
    page([one], csvOf([one]), "now");
    expect(one.run.samples).toHaveLength(10_000);
    expect((performance.now() - begin) / 1000).toBeLessThan(3);
  });
  it("chooses round numbers for its axes", () => {
    expect(ticks(43)).toEqual([0, 10, 20, 30, 40, 50]);
    expect(ticks(0.9)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(ticks(0)).toEqual([0, 1]);
  });
});
