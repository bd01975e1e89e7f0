/**
 * How far servers' clocks are apart, from packets that went between them both ways: a packet arrives after it was sent. With a drift that
 * stays the same, each packet is a line that the difference of the clocks is below (this way) or above (that way); what all of them
 * leave open is the bound. No rate and no delay is guessed. Pure.
 */

/** Of a clock against another, in ns. */
export interface Difference {
  readonly least: number;
  readonly most: number;
}

interface Sample {
  /** By the first clock. */
  readonly at: number;
  /** What the difference is below, or above. */
  readonly limit: number;
}

/** No two clocks that anybody runs differ by more than this, in ns per ns. */
const mostDrift = 5e-4;
/** Older packets say less of now: a drift changes with the temperature. */
const windowNs = 30e9;
/** Of each interval of time the tightest packet is kept. */
const bucketNs = 50e6;

class Limits {
  private readonly kept = new Map<number, Sample>();

  /** Keeps the packet where it is the tightest of its time. */
  add(sample: Sample, isTighter: (a: number, b: number) => boolean): void {
    const bucket = Math.floor(sample.at / bucketNs);
    const before = this.kept.get(bucket);
    if (before === undefined || isTighter(sample.limit, before.limit)) this.kept.set(bucket, sample);
    for (const old of this.kept.keys()) if ((bucket - old) * bucketNs > windowNs) this.kept.delete(old);
  }

  get samples(): readonly Sample[] {
    return [...this.kept.values()].sort((a, b) => a.at - b.at);
  }
}

/** The corners that a line which touches all of the points from below can rest on. */
function hull(samples: readonly Sample[], side: 1 | -1): Sample[] {
  const kept: Sample[] = [];
  for (const sample of samples) {
    for (
      let last = kept.at(-1), before = kept.at(-2);
      last !== undefined && before !== undefined;
      last = kept.at(-1), before = kept.at(-2)
    ) {
      const turn = (last.at - before.at) * (sample.limit - before.limit) - (last.limit - before.limit) * (sample.at - before.at);
      if (turn * side > 0) break;
      kept.pop();
    }
    kept.push(sample);
  }
  return kept;
}

/** A possible difference: `offset` at the origin, and what it grows by a ns. */
interface Line {
  readonly offset: number;
  readonly drift: number;
}

/** The clock of one server against another's. */
export class ClockPair {
  private readonly below = new Limits();
  private readonly above = new Limits();
  private corners: readonly Line[] | undefined;
  private origin = 0;

  /** A packet left by the first clock and came by the second. */
  there(sentNs: number, cameNs: number): void {
    this.below.add({ at: sentNs, limit: cameNs - sentNs }, (a, b) => a < b);
    this.corners = undefined;
  }

  /** A packet left by the second clock and came by the first. */
  back(sentNs: number, cameNs: number): void {
    this.above.add({ at: cameNs, limit: sentNs - cameNs }, (a, b) => a > b);
    this.corners = undefined;
  }

  private fit(): readonly Line[] {
    const [below, above] = [hull(this.below.samples, 1), hull(this.above.samples, -1)];
    const first = below[0] ?? above[0];
    if (first === undefined || below.length === 0 || above.length === 0) return [];
    this.origin = first.at;
    // offset + drift * t <= limit, side 1; >= limit, side -1.
    const limits = [
      ...below.map(({ at, limit }) => ({ t: at - this.origin, limit, side: 1 })),
      ...above.map(({ at, limit }) => ({ t: at - this.origin, limit, side: -1 })),
    ];
    const isOpen = ({ offset, drift }: Line): boolean =>
      Math.abs(drift) <= mostDrift * 1.000001 && limits.every(({ t, limit, side }) => (offset + drift * t - limit) * side <= 1e-3);
    const found: Line[] = [];
    for (const [i, a] of limits.entries()) {
      for (const drift of [mostDrift, -mostDrift]) found.push({ offset: a.limit - drift * a.t, drift });
      for (const b of limits.slice(i + 1)) {
        if (a.t === b.t) continue;
        const drift = (a.limit - b.limit) / (a.t - b.t);
        found.push({ offset: a.limit - drift * a.t, drift });
      }
    }
    return found.filter(isOpen);
  }

  /** Undefined where packets went one way only. By the first clock. */
  at(ns: number): Difference | undefined {
    this.corners ??= this.fit();
    if (this.corners.length === 0) return undefined;
    const all = this.corners.map(({ offset, drift }) => offset + drift * (ns - this.origin));
    return { least: Math.min(...all), most: Math.max(...all) };
  }
}

/** The time between two clocks' readings, with its bound. */
export interface BoundedTime {
  readonly ns: number;
  /** The true one is within so much of it. */
  readonly boundNs: number;
}

export const isResolved = ({ ns, boundNs }: BoundedTime): boolean => boundNs <= Math.abs(ns);

/** All pairs of servers of a trace. */
export class Clocks {
  private readonly pairs = new Map<string, ClockPair>();

  private pair(from: string, to: string): { pair: ClockPair; isTurned: boolean } {
    const isTurned = from > to;
    const key = isTurned ? `${to} ${from}` : `${from} ${to}`;
    const pair = this.pairs.get(key) ?? new ClockPair();
    this.pairs.set(key, pair);
    return { pair, isTurned };
  }

  /** A packet went from one server to another. */
  crossed(from: string, sentNs: number, to: string, cameNs: number): void {
    const { pair, isTurned } = this.pair(from, to);
    if (isTurned) pair.back(sentNs, cameNs);
    else pair.there(sentNs, cameNs);
  }

  /** How long it took between the two; undefined where the clocks cannot be compared. */
  between(from: string, sentNs: number, to: string, cameNs: number): BoundedTime | undefined {
    const { pair, isTurned } = this.pair(from, to);
    const difference = pair.at(isTurned ? cameNs : sentNs);
    if (difference === undefined) return undefined;
    const sign = isTurned ? -1 : 1;
    const [a, b] = [cameNs - sentNs - sign * difference.least, cameNs - sentNs - sign * difference.most];
    return { ns: (a + b) / 2, boundNs: Math.abs(a - b) / 2 };
  }
}
