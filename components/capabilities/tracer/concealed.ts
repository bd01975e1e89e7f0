/**
 * What an encrypted tunnel takes in comes out as another packet, which nobody can read: two journeys, joined at the gateways by time and
 * length. Inferred, and marked so. Pure.
 */
import type { Concealing } from "../capability";
import { isAfterthought, isSent, type Journey, type PlacedStep, type ServerLeg, stepsOf, stepsOfLeg } from "./journey";

/** What strongSwan, or the kernel, takes for a packet. */
const mostNs = 50_000_000;
/** Outer IP, UDP, ESP's head, padding and check: what a tunnel adds to a packet. */
const addedBytes = { least: 20, most: 120 } as const;
/** Longer than a journey waits for its legs. */
const patienceMs = 2500;
/** More than these wait for nothing. */
const mostWaiting = 20_000;

const placeOf = ({ server, namespace }: PlacedStep): string => `${server} ${namespace}`;

interface Gap {
  /** How many legs are whole before it; and from which step on the packet is out again. */
  readonly leg: number;
  readonly at: number;
  readonly from: PlacedStep;
  readonly to: PlacedStep;
}

/** Where a packet was in one gateway last, and is in another one next. */
function gapsOf({ legs }: Journey, gateways: ReadonlySet<string>): Gap[] {
  const placed = legs
    .flatMap((one, leg) => stepsOfLeg(one).map((step, at) => ({ leg, at, step })))
    .filter(({ step }) => !isAfterthought(step));
  return placed.flatMap(({ leg, at, step: to }, i) => {
    const from = placed[i - 1]?.step;
    const isGap = from !== undefined && gateways.has(from.namespace) && gateways.has(to.namespace) && from.namespace !== to.namespace;
    return isGap && !isSent(to) ? [{ leg, at, from, to }] : [];
  });
}

/** The journey with its carrier's legs in the gap. */
function filled({ legs, isAmbiguous }: Journey, gap: Gap, carrier: Journey): Journey {
  const own = legs[gap.leg] as ServerLeg;
  const steps = [...own.leg.steps].sort((a, b) => a.atNs - b.atNs);
  const part = (from: number, to?: number): ServerLeg[] => {
    const some = steps.slice(from, to);
    return some.length === 0 ? [] : [{ ...own, leg: { ...own.leg, steps: some } }];
  };
  return {
    isAmbiguous,
    legs: [
      ...legs.slice(0, gap.leg),
      ...part(0, gap.at),
      ...carrier.legs.map((leg) => ({ ...leg, isInferred: true as const })),
      ...part(gap.at),
      ...legs.slice(gap.leg + 1),
    ],
  };
}

interface Carrier {
  readonly journey: Journey;
  readonly sinceMs: number;
  readonly key: string;
  readonly first: PlacedStep;
  readonly last: PlacedStep;
}

interface Waiting {
  readonly journey: Journey;
  readonly gap: Gap;
  readonly sinceMs: number;
}

/** Joins journeys as they come; what carries nothing that was seen goes on as it is. */
export class Concealed {
  /** By where they begin and end. */
  private readonly carriers = new Map<string, Carrier[]>();
  private waiting: Waiting[] = [];

  private readonly gateways: ReadonlySet<string>;

  constructor(private readonly conceals: readonly Pick<Concealing, "gateways" | "isCarrier">[]) {
    this.gateways = new Set(conceals.flatMap(({ gateways }) => gateways));
  }

  take(taken: readonly Journey[], nowMs: number, all = false): Journey[] {
    const done: Journey[] = [];
    for (const journey of taken) {
      const carrier = this.carrierOf(journey, nowMs);
      const [gap] = carrier === undefined ? gapsOf(journey, this.gateways) : [];
      if (carrier !== undefined) {
        const own = this.carriers.get(carrier.key) ?? [];
        own.push(carrier);
        this.carriers.set(carrier.key, own);
      } else if (gap !== undefined && this.waiting.length < mostWaiting) this.waiting.push({ journey, gap, sinceMs: nowMs });
      else done.push(journey);
    }
    const waiting = this.waiting;
    this.waiting = [];
    for (const { journey, gap, sinceMs } of waiting) {
      // All that could be its carrier have been told by then.
      if (all || sinceMs + patienceMs <= nowMs) done.push(this.joined(journey, gap));
      else this.waiting.push({ journey, gap, sinceMs });
    }
    for (const [key, own] of this.carriers) {
      // They are in the order in which they came.
      const young = all ? -1 : own.findIndex(({ sinceMs }) => sinceMs + 2 * patienceMs > nowMs);
      const old = young < 0 ? own.length : Math.max(young, own.length - mostWaiting);
      done.push(...own.splice(0, old).map(({ journey }) => journey));
      if (own.length === 0) this.carriers.delete(key);
    }
    return done;
  }

  private carrierOf(journey: Journey, sinceMs: number): Carrier | undefined {
    const steps = stepsOf(journey).filter((step) => !isAfterthought(step));
    const [first, last] = [steps[0], steps.at(-1)];
    if (first === undefined || last === undefined || journey.isAmbiguous || !this.conceals.some((one) => one.isCarrier(first.seen)))
      return undefined;
    if (!this.gateways.has(first.namespace) || !this.gateways.has(last.namespace)) return undefined;
    return { journey, sinceMs, key: `${placeOf(first)} > ${placeOf(last)}`, first, last };
  }

  /** With its one carrier; where several fit, nobody knows which. */
  private joined(journey: Journey, gap: Gap): Journey {
    const { from, to } = gap;
    const own = this.carriers.get(`${placeOf(from)} > ${placeOf(to)}`) ?? [];
    const fitting = own.filter(({ first, last }) => {
      const [before, after, added] = [first.atNs - from.atNs, to.atNs - last.atNs, first.seen.bytes - from.seen.bytes];
      return before >= 0 && before < mostNs && after >= 0 && after < mostNs && added >= addedBytes.least && added <= addedBytes.most;
    });
    const [carrier] = fitting;
    if (carrier === undefined) return journey;
    if (fitting.length > 1) return { ...journey, isAmbiguous: true };
    own.splice(own.indexOf(carrier), 1);
    return filled(journey, gap, carrier.journey);
  }
}

/** A journey that was asked for only because it may carry another. */
export const isAside = ({ legs }: Journey): boolean => legs.every(({ leg }) => leg.aside);
