/** What a run's samples amount to. Pure. */
import { type AnyCell, baselineOf, cellKey, cellLabel, isBaseline, profileOf } from "./cells";
import type { Run, RunHeader } from "./results";
import { beyondChance, chanceOfDifference, drifts, errorShare, type Estimate, estimate, looksOf, median } from "./runner/statistics";

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
  /** The values rise or fall over the run: their median is of no one state. */
  readonly drifts: boolean;
  /** How many of the values others disturbed, however often they were taken again. */
  readonly disturbed: number;
}

/** After which rounds a run of this profile may stop. */
export function looksOfRun({ definition, profile }: Pick<RunHeader, "definition" | "profile">): readonly number[] {
  const { rounds, mostRounds = rounds } = profileOf(definition, profile);
  return looksOf(rounds, mostRounds);
}

export function summarise(run: Run): CellSummary[] {
  const { header, samples, failures } = run;
  const byCell = groupBy(samples);
  const error = errorShare / looksOfRun(header).length;
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
      value: estimate(values, error),
      values,
      ...(!isBaseline(cell) && ratios.length > 0 && { ratio: estimate(ratios, error) }),
      details: Object.fromEntries(names.map((name) => [name, median(own.map(({ details }) => details[name] ?? Number.NaN))])),
      failures: failures.filter((failure) => failure.cell === key).map(({ round, error: said }) => `round ${round}: ${said}`),
      drifts: drifts(values),
      disturbed: own.filter((sample) => sample.disturbed === true).length,
    };
  });
}

/** What a reader of a cell's median has to know. */
export function remarks({ failures, drifts: isDrifting, disturbed }: CellSummary): string {
  return [
    ...(failures.length > 0 ? [`${failures.length} failed`] : []),
    ...(isDrifting ? ["drifts"] : []),
    ...(disturbed > 0 ? [`${disturbed} disturbed`] : []),
  ].join(", ");
}

export const medianTitle = "median [95% interval] or (range)";

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

/** The interval's share of the median; without an interval nothing is narrow. */
export const relativeWidth = ({ median: middle, low, high, isInterval }: Estimate): number =>
  !isInterval ? Number.POSITIVE_INFINITY : middle === 0 ? 0 : (high - low) / Math.abs(middle);

export interface Compared {
  readonly label: string;
  readonly before: Estimate;
  readonly after: Estimate;
  readonly change: number;
  /** How likely two runs of equal cells are that far apart. */
  readonly chance: number;
  /** Not by chance: in 19 of 20 comparisons of equal runs no cell is named. */
  readonly isBeyondNoise: boolean;
}

/** Cells that two runs share. */
export function compareRuns(before: Run, after: Run): Compared[] {
  const old = new Map(summarise(before).map((one) => [one.key, one]));
  const all = summarise(after).flatMap((one): Omit<Compared, "isBeyondNoise">[] => {
    const other = old.get(one.key);
    if (other === undefined || other.values.length === 0 || one.values.length === 0) return [];
    return [
      {
        label: one.label,
        before: other.value,
        after: one.value,
        change: one.value.median / other.value.median - 1,
        chance: chanceOfDifference(other.values, one.values),
      },
    ];
  });
  const isReal = beyondChance(all.map(({ chance }) => chance));
  return all.map((one, i) => ({ ...one, isBeyondNoise: isReal[i] === true }));
}

export function figure(value: number): string {
  if (Number.isNaN(value)) return "-";
  const size = Math.abs(value);
  return size >= 1000 ? value.toFixed(0) : size >= 100 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

/** With its interval, or the range of its values in round brackets. */
export const interval = ({ median: middle, low, high, isInterval, count }: Estimate): string => {
  const span = `${figure(low)}, ${figure(high)}`;
  return `${figure(middle)} ${isInterval ? `[${span}]` : `(${span}; range of ${count})`}`;
};
