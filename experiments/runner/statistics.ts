/** Medians and their intervals. Pure, with a recorded seed. */

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[middle - 1], sorted[middle]];
  if (high === undefined) return Number.NaN;
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2;
}

/** A small generator with a seed (mulberry32): the same seed gives the same order and the same intervals. */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j] as T, result[i] as T];
  }
  return result;
}

/** What is not covered by an interval, at most. */
export const errorShare = 0.05;

export interface Estimate {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly count: number;
  /** Whether low and high are the ends of an interval that covers the true median in 95% of runs; else of the range of all values. */
  readonly isInterval: boolean;
}

/** P(X <= atMost) of a binomial distribution with even chances. */
function binomialHead(count: number, atMost: number): number {
  let logarithm = -count * Math.LN2;
  let sum = 0;
  for (let k = 0; k <= atMost; k++) {
    sum += Math.exp(logarithm);
    logarithm += Math.log(count - k) - Math.log(k + 1);
  }
  return sum;
}

/**
 * The rank of the value that begins the interval of a median (the one that ends it has the same rank from above); 0 where there
 * are too few values. By the sign test: how many of the values are below the true median is a matter of even chances, whatever
 * they are distributed like.
 */
export function intervalRank(count: number, error: number): number {
  let rank = 0;
  while (2 * (rank + 1) <= count + 1 && 2 * binomialHead(count, rank) <= error) rank++;
  return rank;
}

/** `error`: what may be left uncovered; less than all of it where a run may stop at one of several looks. */
export function estimate(values: readonly number[], error: number = errorShare): Estimate {
  const sorted = [...values].sort((a, b) => a - b);
  const count = sorted.length;
  const rank = intervalRank(count, error);
  const at = Math.max(0, rank - 1);
  return {
    median: median(sorted),
    low: sorted[at] ?? Number.NaN,
    high: sorted[count - 1 - at] ?? Number.NaN,
    count,
    isInterval: rank > 0,
  };
}

const growth = 1.5;

/**
 * The rounds after which a run may stop since its intervals are narrow: some, further and further apart. A run that stops when it
 * likes what it sees is wrong more often than it says; so the error is shared out between these looks.
 */
export function looksOf(rounds: number, mostRounds: number): readonly number[] {
  const all: number[] = [];
  for (let at = rounds; at < mostRounds; at = Math.ceil(at * growth)) all.push(at);
  all.push(Math.max(rounds, mostRounds));
  // A look at too few values decides nothing, whatever is left of the error to it.
  const useful = all.filter((at) => intervalRank(at, errorShare / all.length) > 0);
  return useful.length > 0 ? useful : all.slice(-1);
}

/** Whether values that were taken one after the other rise or fall (Mann and Kendall, at 5%). */
export function drifts(values: readonly number[]): boolean {
  const count = values.length;
  if (count < 6) return false;
  let score = 0;
  for (const [i, later] of values.entries()) for (const earlier of values.slice(0, i)) score += Math.sign(later - earlier);
  const deviation = Math.sqrt((count * (count - 1) * (2 * count + 5)) / 18);
  return (Math.abs(score) - 1) / deviation > 1.96;
}

/** P(|Z| > z) of a normal distribution (Abramowitz and Stegun 7.1.26: to seven digits). */
function normalTails(z: number): number {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  return ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp(-x * x);
}

/** How many orders of `a` and `b` values give each number of pairs in which the first is the greater. */
function orders(a: number, b: number): readonly number[] {
  // Counted by the greatest value: it is one of the first, and beats all of the second, or one of the second.
  const known = new Map<string, readonly number[]>();
  const of = (i: number, j: number): readonly number[] => {
    if (i === 0 || j === 0) return [1];
    const key = `${i} ${j}`;
    const found = known.get(key);
    if (found !== undefined) return found;
    const sum = Array.from({ length: i * j + 1 }, () => 0);
    for (const [u, n] of of(i - 1, j).entries()) sum[u + j] = (sum[u + j] ?? 0) + n;
    for (const [u, n] of of(i, j - 1).entries()) sum[u] = (sum[u] ?? 0) + n;
    known.set(key, sum);
    return sum;
  };
  return of(a, b);
}

const exactUpTo = 20;

/** The same with values that are equal: how many of all choices of the first from all values have each sum of ranks (doubled: equal ones share theirs). */
function chanceOfRanks(doubled: readonly number[], count: number, sum: number): number {
  let ways: Map<number, number>[] = [new Map([[0, 1]]), ...Array.from({ length: count }, () => new Map<number, number>())];
  for (const rank of doubled)
    ways = ways.map((chosen, size) => {
      const more = new Map(chosen);
      for (const [total, n] of ways[size - 1] ?? []) more.set(total + rank, (more.get(total + rank) ?? 0) + n);
      return more;
    });
  const middle = (count * doubled.reduce((total, rank) => total + rank, 0)) / doubled.length;
  let [far, all] = [0, 0];
  for (const [total, n] of ways[count] ?? []) {
    all += n;
    if (Math.abs(total - middle) >= Math.abs(sum - middle) - 1e-9) far += n;
  }
  return far / all;
}

/** How likely two samples of one distribution are at least as far apart as these (Mann and Whitney, two-sided). */
export function chanceOfDifference(before: readonly number[], after: readonly number[]): number {
  const [a, b] = [before.length, after.length];
  let greater = 0;
  for (const one of after) for (const other of before) greater += one > other ? 1 : one === other ? 0.5 : 0;
  const distance = Math.abs(greater - (a * b) / 2);
  const all = [...before, ...after];
  const ties = [...all.reduce((counts, value) => counts.set(value, (counts.get(value) ?? 0) + 1), new Map<number, number>()).values()];
  if (a <= exactUpTo && b <= exactUpTo) {
    if (ties.every((count) => count === 1)) {
      const counts = orders(a, b);
      const total = counts.reduce((sum, n) => sum + n, 0);
      return counts.reduce((sum, n, u) => (Math.abs(u - (a * b) / 2) >= distance ? sum + n : sum), 0) / total;
    }
    const rankOf = (value: number): number => all.reduce((rank, other) => rank + (other < value ? 2 : other === value ? 1 : 0), 1);
    return chanceOfRanks(
      all.map(rankOf),
      b,
      after.reduce((sum, value) => sum + rankOf(value), 0),
    );
  }
  const n = a + b;
  const tied = ties.reduce((sum, count) => sum + count ** 3 - count, 0);
  const deviation = Math.sqrt(((a * b) / 12) * (n + 1 - tied / (n * (n - 1))));
  return deviation === 0 ? 1 : Math.min(1, normalTails(Math.max(0, distance - 0.5) / deviation));
}

/** Which of several differences are real, so that not even one of those named is chance in 95% of comparisons (Holm). */
export function beyondChance(chances: readonly number[], error: number = errorShare): boolean[] {
  const order = chances.map((_, i) => i).sort((i, j) => (chances[i] ?? 1) - (chances[j] ?? 1));
  const isReal = chances.map(() => false);
  for (const [rank, i] of order.entries()) {
    if ((chances[i] ?? 1) > error / (chances.length - rank)) break;
    isReal[i] = true;
  }
  return isReal;
}

/** Whether so many values can be told from so many others at all, where as many differences are looked for at once. */
export function canTell(before: number, after: number, cells: number, error: number = errorShare): boolean {
  const apart = (count: number, from: number): number[] => Array.from({ length: count }, (_, i) => from + i);
  return chanceOfDifference(apart(before, 0), apart(after, before)) <= error / cells;
}

/** How many rounds two runs need for one difference among so many cells to be told from chance. */
export function roundsToTell(cells: number): number {
  let rounds = 2;
  while (!canTell(rounds, rounds, cells)) rounds++;
  return rounds;
}
