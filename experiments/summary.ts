/** What a run's samples amount to. Pure. */
import { type AnyCell, baselineOf, cellKey, cellLabel, isBaseline } from "./cells";
import type { Run } from "./results";
import { type Estimate, estimate, median } from "./runner/statistics";

export interface CellSummary {
  readonly cell: AnyCell;
  readonly key: string;
  readonly label: string;
  readonly value: Estimate;
  readonly values: readonly number[];
  /** To server to server in the same round; absent for the baseline itself. */
  readonly ratio?: Estimate;
  /** Medians of the other figures. */
  readonly details: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

export function summarise(run: Run): CellSummary[] {
  const { header, samples, failures } = run;
  const byCell = groupBy(samples);
  const valueOf = new Map(samples.map(({ cell, round, value }) => [`${round} ${cell}`, value]));
  return header.cells.map((cell): CellSummary => {
    const key = cellKey(cell);
    const own = byCell.get(key) ?? [];
    const values = own.map(({ value }) => value);
    const baseline = cellKey(baselineOf(cell));
    const ratios = own.flatMap(({ round, value }) => {
      const base = valueOf.get(`${round} ${baseline}`);
      return base === undefined ? [] : [value / base];
    });
    const names = Object.keys(own[0]?.details ?? {});
    return {
      cell,
      key,
      label: cellLabel(cell, header.cells),
      value: estimate(values, header.seed),
      values,
      ...(!isBaseline(cell) && ratios.length > 0 && { ratio: estimate(ratios, header.seed) }),
      details: Object.fromEntries(names.map((name) => [name, median(own.map(({ details }) => details[name] ?? Number.NaN))])),
      failures: failures.filter((failure) => failure.cell === key).map(({ round, error }) => `round ${round}: ${error}`),
    };
  });
}

/** Node 20 has no Map.groupBy. */
function groupBy<T extends { readonly cell: string }>(items: readonly T[]): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(item.cell);
    if (group === undefined) groups.set(item.cell, [item]);
    else group.push(item);
  }
  return groups;
}

/** The interval's share of the median. */
export const relativeWidth = ({ median: middle, low, high }: Estimate): number => (middle === 0 ? 0 : (high - low) / Math.abs(middle));

export interface Compared {
  readonly label: string;
  readonly before: Estimate;
  readonly after: Estimate;
  readonly change: number;
  /** The intervals of the two do not meet. */
  readonly isBeyondNoise: boolean;
}

/** Cells that two runs share. */
export function compareRuns(before: Run, after: Run): Compared[] {
  const old = new Map(summarise(before).map((one) => [one.key, one]));
  return summarise(after).flatMap((one): Compared[] => {
    const other = old.get(one.key);
    if (other === undefined || other.values.length === 0 || one.values.length === 0) return [];
    return [
      {
        label: one.label,
        before: other.value,
        after: one.value,
        change: one.value.median / other.value.median - 1,
        isBeyondNoise: one.value.low > other.value.high || one.value.high < other.value.low,
      },
    ];
  });
}

export function figure(value: number): string {
  if (Number.isNaN(value)) return "-";
  const size = Math.abs(value);
  return size >= 1000 ? value.toFixed(0) : size >= 100 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

export const interval = ({ median: middle, low, high }: Estimate): string => `${figure(middle)} [${figure(low)}, ${figure(high)}]`;
