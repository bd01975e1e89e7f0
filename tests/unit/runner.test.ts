import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { foreignCpuShare } from "../../experiments/runner/conditions";
import { resultsTable, runBench, type Variant } from "../../experiments/runner/runner";
import {
  beyondChance,
  canTell,
  chanceOfDifference,
  drifts,
  errorShare,
  estimate,
  generator,
  intervalRank,
  looksOf,
  median,
  roundsToTell,
  shuffled,
} from "../../experiments/runner/statistics";

describe("statistics", () => {
  it("finds medians", () => {
    expect([median([3, 1, 2]), median([4, 1, 2, 3]), median([7])]).toEqual([2, 2.5, 7]);
    expect(median([])).toBeNaN();
  });
  it("gives the same order for the same seed", () => {
    const values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100];
    expect(shuffled(values, generator(5))).toEqual(shuffled(values, generator(5)));
    expect([...shuffled(values, generator(5))].sort((a, b) => a - b)).toEqual(values);
  });
  it("has an interval by ranks from six values on, and a range below", () => {
    const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);
    expect(estimate([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3, count: 3, isInterval: false });
    expect(estimate(upTo(5)).isInterval).toBe(false);
    // The ranks that tables of the sign test give.
    for (const [count, rank] of [
      [6, 1],
      [8, 1],
      [9, 2],
      [12, 3],
      [20, 6],
      [30, 10],
      [100, 40],
    ] as const) {
      expect([count, intervalRank(count, errorShare)]).toEqual([count, rank]);
      expect(estimate(upTo(count))).toMatchObject({ low: rank, high: count + 1 - rank, isInterval: true });
    }
  });
  it("has an interval that an outlier does not move far", () => {
    const { median: middle, low, high } = estimate([10, 10.1, 9.9, 10, 10.2, 9.8, 10, 10, 500]);
    expect([middle, low, high]).toEqual([10, 9.9, 10.2]);
  });
  it("shares the error out between the looks at which a run may stop", () => {
    expect(looksOf(5, 5)).toEqual([5]);
    // At five and at eight there are too few values for a fifth of 5%.
    expect(looksOf(5, 20)).toEqual([8, 12, 18, 20]);
    expect(looksOf(9, 9)).toEqual([9]);
  });

  /** Normally distributed (Box and Muller). */
  const normal = (random: () => number): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const runs = 200_000;

  it.each<[string, (random: () => number) => number]>([
    ["one mode", (random) => 100 + 2 * normal(random)],
    // As one stream on this kind of machine: the median lies between them where there is next to nothing.
    ["two modes", (random) => (random() < 0.45 ? 38 : 30) + (random() < 0.5 ? -1 : 1) * Math.abs(normal(random))],
  ])(`covers the median of %s in 94%% of ${runs} runs at least, although each stops when it likes what it sees`, (_, draw) => {
    const random = generator(4711);
    const truth = median(Array.from({ length: 200_001 }, () => draw(random)));
    const looks = looksOf(5, 20);
    const most = looks.at(-1) ?? 0;
    let covered = 0;
    for (let run = 0; run < runs; run++) {
      const values: number[] = [];
      for (let i = 1; i <= most; i++) {
        values.push(draw(random));
        if (!looks.includes(i)) continue;
        const { low, high, median: middle, isInterval } = estimate(values, errorShare / looks.length);
        if (i < most && (!isInterval || (high - low) / middle > 0.05)) continue;
        if (low <= truth && truth <= high) covered++;
        break;
      }
    }
    expect(covered / runs).toBeGreaterThanOrEqual(0.94);
  });

  it("marks nine of ten runs that drift, and one of twenty that do not", () => {
    const random = generator(12);
    const marked = (slope: number, count: number): number => {
      let sum = 0;
      for (let run = 0; run < 20_000; run++) if (drifts(Array.from({ length: count }, (_, i) => slope * i + normal(random)))) sum++;
      return sum / 20_000;
    };
    // A drift by three of its own spreads over the run.
    expect(marked(3 / 20, 20)).toBeGreaterThanOrEqual(0.9);
    for (const count of [6, 9, 20]) expect(marked(0, count)).toBeLessThanOrEqual(0.055);
    expect(drifts([1, 2, 3, 4, 5])).toBe(false);
  });

  it("tells differences from chance as often as it says, over all cells together", () => {
    // Exact values of the test by Mann and Whitney.
    expect(chanceOfDifference([1, 2, 3], [4, 5, 6])).toBeCloseTo(0.1);
    expect(chanceOfDifference([1, 2, 3, 4, 5], [6, 7, 8, 9, 10])).toBeCloseTo(2 / 252);
    expect(chanceOfDifference([1, 3, 5, 7], [2, 4, 6, 8])).toBeCloseTo(0.6857, 3);
    expect(chanceOfDifference([7, 7, 7], [7, 7, 7])).toBe(1);
    // Equal values are no less exact: 2 of 20, and 2 of 70, orders.
    expect(chanceOfDifference([1, 1, 1], [2, 2, 2])).toBeCloseTo(0.1);
    expect(chanceOfDifference([1, 1, 1, 1], [2, 2, 2, 2])).toBeCloseTo(2 / 70);
    expect([canTell(3, 3, 1), canTell(3, 30, 1)]).toEqual([false, true]);
    expect(beyondChance([0.04, 0.001, 0.03])).toEqual([false, true, false]);
    expect([roundsToTell(1), roundsToTell(27)]).toEqual([4, 7]);
    const random = generator(99);
    const sample = (): number[] => Array.from({ length: 8 }, () => normal(random));
    let wrong = 0;
    const comparisons = 4000;
    for (let i = 0; i < comparisons; i++)
      if (beyondChance(Array.from({ length: 13 }, () => chanceOfDifference(sample(), sample()))).includes(true)) wrong++;
    expect(wrong / comparisons).toBeLessThanOrEqual(0.055);
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
