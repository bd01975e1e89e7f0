/** The core that every bench uses: interleaved rounds, the baseline in each, ratios within a round. */
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { cpuTimes, foreignCpuShare } from "./conditions";
import { type Estimate, estimate, generator, shuffled } from "./statistics";

export interface Variant {
  readonly name: string;
  /** One measurement: a figure in the bench's unit, and what the tool printed. */
  readonly measure: () => Promise<{ readonly value: number; readonly raw: unknown }>;
}

export interface Bench {
  readonly name: string;
  readonly unit: string;
  readonly baseline: Variant;
  readonly variants: readonly Variant[];
  readonly rounds: number;
  /** Measured once each and thrown away. */
  readonly warmUp: boolean;
  /** Kernel, congestion control, placement, offloads, versions: noted with the results. */
  readonly conditions: Readonly<Record<string, unknown>>;
  readonly seed: number;
  /** Append-only JSON lines. */
  readonly file: string;
  readonly say: (line: string) => void;
  /** A measurement during which others used more than this share of the machine is repeated, once. Default: a tenth. */
  readonly foreignLimit?: number;
}

export interface VariantResult {
  readonly name: string;
  readonly value: Estimate;
  /** To the baseline of the same round; absent for the baseline itself. */
  readonly ratio?: Estimate;
}

interface Round {
  readonly round: number;
  readonly values: Map<string, number>;
}

async function measureOnce(variant: Variant): Promise<{ value: number; raw: unknown; foreign: number }> {
  const before = cpuTimes();
  const { value, raw } = await variant.measure();
  return { value, raw, foreign: foreignCpuShare(before, cpuTimes()) };
}

export async function runBench(bench: Bench): Promise<VariantResult[]> {
  const { name, unit, seed, file } = bench;
  mkdirSync(dirname(file), { recursive: true });
  const record = (entry: object): void =>
    appendFileSync(file, `${JSON.stringify({ bench: name, at: new Date().toISOString(), ...entry })}\n`);
  record({ conditions: bench.conditions, seed, unit, rounds: bench.rounds });
  const random = generator(seed);
  const all = [bench.baseline, ...bench.variants];
  if (bench.warmUp) for (const variant of all) await variant.measure();
  const rounds: Round[] = [];
  for (let round = 1; round <= bench.rounds; round++) {
    const values = new Map<string, number>();
    for (const variant of shuffled(all, random)) {
      let measured = await measureOnce(variant);
      const disturbed = measured.foreign > (bench.foreignLimit ?? 0.1);
      if (disturbed) {
        record({ round, variant: variant.name, value: measured.value, foreignCpu: measured.foreign, disturbed: true, repeated: true });
        measured = await measureOnce(variant);
      }
      record({ round, variant: variant.name, value: measured.value, foreignCpu: measured.foreign, raw: measured.raw });
      values.set(variant.name, measured.value);
    }
    rounds.push({ round, values });
    bench.say(`${name}: round ${round} of ${bench.rounds}`);
  }
  const results = all.map((variant): VariantResult => {
    const of = (r: Round): number => r.values.get(variant.name) ?? Number.NaN;
    const value = estimate(rounds.map(of));
    if (variant === bench.baseline) return { name: variant.name, value };
    return {
      name: variant.name,
      value,
      ratio: estimate(rounds.map((r) => of(r) / (r.values.get(bench.baseline.name) ?? Number.NaN))),
    };
  });
  record({ results });
  return results;
}

const figure = (value: number): string => (value >= 1000 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

export function resultsTable(bench: Pick<Bench, "name" | "unit">, results: readonly VariantResult[]): string {
  const { count, isInterval } = results[0]?.value ?? { count: 0, isInterval: false };
  const rows = results.map(({ name, value, ratio }) => {
    const span = `${figure(value.median)} [${figure(value.low)}, ${figure(value.high)}]`;
    const part = ratio === undefined ? "1" : `${ratio.median.toFixed(3)} [${ratio.low.toFixed(3)}, ${ratio.high.toFixed(3)}]`;
    return `| ${name} | ${span} | ${part} |`;
  });
  return [
    `| ${bench.name} | ${bench.unit}, median [${isInterval ? "95%" : `range of ${count}`}] | ratio to baseline |`,
    "|---|---|---|",
    ...rows,
  ].join("\n");
}
