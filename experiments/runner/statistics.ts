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

export interface Estimate {
  readonly median: number;
  /** 95%, by the bootstrap. */
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

/** P(X >= atLeast) of a binomial distribution. */
function binomialTail(count: number, share: number, atLeast: number): number {
  if (share >= 1) return 1;
  // From the mode's side in logarithms: no power of a small number is lost.
  let log = 0;
  const [p, q] = [Math.log(share), Math.log(1 - share)];
  let sum = 0;
  for (let k = 0; k <= count; k++) {
    if (k > 0) log += Math.log(count - k + 1) - Math.log(k);
    if (k >= atLeast) sum += Math.exp(log + k * p + (count - k) * q);
  }
  return Math.min(1, sum);
}

/** Where the bootstrap of a median ends, without drawing: a resample's median is at most the i-th value where at least half of its draws are. */
function bootstrapQuantile(sorted: readonly number[], quantile: number): number {
  const count = sorted.length;
  let [low, high] = [0, count - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (binomialTail(count, (middle + 1) / count, Math.floor(count / 2) + 1) >= quantile) high = middle;
    else low = middle + 1;
  }
  return sorted[low] ?? Number.NaN;
}

const drawnUpTo = 30;

export function estimate(values: readonly number[], seed = 1, resamples = 2000): Estimate {
  if (values.length > drawnUpTo) {
    const sorted = [...values].sort((a, b) => a - b);
    return { median: median(values), low: bootstrapQuantile(sorted, 0.025), high: bootstrapQuantile(sorted, 0.975), count: values.length };
  }
  const random = generator(seed);
  const medians = Array.from({ length: resamples }, () =>
    median(Array.from(values, () => values[Math.floor(random() * values.length)] as number)),
  ).sort((a, b) => a - b);
  return {
    median: median(values),
    low: medians[Math.floor(resamples * 0.025)] ?? Number.NaN,
    high: medians[Math.floor(resamples * 0.975)] ?? Number.NaN,
    count: values.length,
  };
}
