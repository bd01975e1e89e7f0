import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { foreignCpuShare } from "../../experiments/runner/conditions";
import { resultsTable, runBench, type Variant } from "../../experiments/runner/runner";
import { estimate, generator, median, shuffled } from "../../experiments/runner/statistics";

describe("statistics", () => {
  it("finds medians", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([7])]).toEqual([2, 2.5, 7]);
    expect(median([])).toBeNaN();
  });
  it("gives the same order and interval for the same seed", () => {
    const values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100];
    expect(estimate(values, 3)).toEqual(estimate(values, 3));
    expect(shuffled(values, generator(5))).toEqual(shuffled(values, generator(5)));
    expect([...shuffled(values, generator(5))].sort((a, b) => a - b)).toEqual(values);
  });
  it("has the same interval whether it is drawn or computed", () => {
    const random = generator(11);
    const values = Array.from({ length: 31 }, () => random());
    const [computed, drawn] = [estimate(values), estimate(values.slice(0, 30), 5)];
    expect(computed.low).toBeCloseTo(drawn.low, 1);
    expect(computed.high).toBeCloseTo(drawn.high, 1);
    const many = estimate(Array.from({ length: 1001 }, (_, i) => i));
    // The exact interval of a median by ranks: 500 plus and minus 1.96 times half the root of 1001.
    expect([many.median, Math.abs(many.low - 469) <= 1, Math.abs(many.high - 531) <= 1]).toEqual([500, true, true]);
  });
  it("has an interval around the median that an outlier does not move far", () => {
    const { median: middle, low, high } = estimate([10, 10.1, 9.9, 10, 10.2, 9.8, 10, 500]);
    expect(low).toBeLessThanOrEqual(middle);
    expect(high).toBeGreaterThanOrEqual(middle);
    expect(middle).toBeCloseTo(10, 0);
  });
});

describe("foreign CPU", () => {
  it("is what is neither idle, nor packets, nor ours", () => {
    const before = { total: 0, idle: 0, softInterrupts: 0, own: 0 };
    expect(foreignCpuShare(before, { total: 200, idle: 100, softInterrupts: 20, own: 60 })).toBeCloseTo(0.1);
    expect(foreignCpuShare(before, { total: 200, idle: 150, softInterrupts: 20, own: 60 })).toBe(0);
  });
});

describe("a bench", () => {
  it("pairs each variant with the baseline of its own round", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flipflap-bench-"));
    // The machine gets slower round by round; the ratio stays.
    let round = 0;
    let calls = 0;
    const at =
      (factor: number): (() => Promise<{ value: number; raw: unknown }>) =>
      async () => {
        if (calls++ % 2 === 0) round++;
        return { value: factor * (1000 / round), raw: { calls } };
      };
    const baseline: Variant = { name: "base", measure: at(1) };
    const bench = {
      name: "b",
      unit: "u",
      baseline,
      variants: [{ name: "half", measure: at(0.5) }],
      rounds: 7,
      warmUp: false,
      conditions: { kernel: "x" },
      seed: 1,
      file: join(folder, "r.jsonl"),
      say: () => undefined,
      foreignLimit: 1,
    };
    const results = await runBench(bench);
    expect(results[1]?.ratio?.median).toBeCloseTo(0.5);
    expect(results[1]?.ratio?.high).toBeCloseTo(0.5);
    const lines = readFileSync(bench.file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines[0]).toMatchObject({ conditions: { kernel: "x" }, seed: 1 });
    expect(lines.filter((line) => line.variant !== undefined && line.disturbed !== true).length).toBe(14);
    expect(resultsTable(bench, results)).toContain("| half |");
    rmSync(folder, { recursive: true });
  });
});
