/**
 * What an encrypted tunnel takes in comes out as another packet, which nobody can read: two journeys, joined at the gateways by time and
 * length. Inferred, and marked so. Pure.
 */
import { isSent, type Journey, type PlacedStep, type ServerLeg, stepsOf } from "./journey";

/** RFC 3948: ESP in UDP. */
const espPort = 4500;

function isCarrier(journey: Journey): boolean {
  const seen = stepsOf(journey)[0]?.seen;
  if (seen === undefined) return false;
  return seen.tunnel?.kind === "esp" || (seen.protocol === 17 && (seen.sourcePort === espPort || seen.targetPort === espPort));
}

/** What strongSwan, or the kernel, takes for a packet; and how long a carrier waits for what it carries. */
const mostNs = 50_000_000;
const patienceMs = 1000;

interface Gap {
  /** How many legs are whole before it; and steps of the one that it is in. */
  readonly leg: number;
  readonly steps: number;
  readonly from: PlacedStep;
  readonly to: PlacedStep;
}

/** Where a packet was in one namespace last, and is in another one next: both somebody's own. */
function gapsOf({ legs }: Journey): Gap[] {
  const placed = legs.flatMap((one, leg) =>
    stepsOf({ legs: [one], isAmbiguous: false })
      .sort((a, b) => a.atNs - b.atNs)
      .map((step, i) => ({ leg, steps: i, step })),
  );
  return placed.flatMap(({ leg, steps, step: to }, i) => {
    const from = placed[i - 1]?.step;
    const isGap = from !== undefined && from.namespace !== "" && to.namespace !== "" && from.namespace !== to.namespace && !isSent(to);
    return isGap ? [{ leg, steps, from, to }] : [];
  });
}

function carries(carrier: Journey, { from, to }: Gap): boolean {
  const steps = stepsOf(carrier);
  const [first, last] = [steps[0], [...steps].reverse().find(({ point }) => point !== "net_dev_xmit")];
  if (first === undefined || last === undefined || carrier.isAmbiguous) return false;
  const [before, after] = [first.atNs - from.atNs, to.atNs - last.atNs];
  return (
    [first.server, first.namespace].join() === [from.server, from.namespace].join() &&
    [last.server, last.namespace].join() === [to.server, to.namespace].join() &&
    before >= 0 &&
    before < mostNs &&
    after >= 0 &&
    after < mostNs &&
    first.seen.bytes > from.seen.bytes
  );
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
      ...part(0, gap.steps),
      ...carrier.legs.map((leg) => ({ ...leg, isInferred: true as const })),
      ...part(gap.steps),
      ...legs.slice(gap.leg + 1),
    ],
  };
}

/** Joins journeys as they come; what carries nothing that was seen goes on as it is. */
export class Concealed {
  private carriers: { readonly journey: Journey; readonly sinceMs: number }[] = [];
  private waiting: { readonly journey: Journey; readonly sinceMs: number }[] = [];

  take(taken: readonly Journey[], nowMs: number, all = false): Journey[] {
    const done: Journey[] = [];
    for (const journey of taken) (isCarrier(journey) ? this.carriers : this.waiting).push({ journey, sinceMs: nowMs });
    this.waiting = this.waiting.filter(({ journey, sinceMs }) => {
      const joined = this.joined(journey);
      // Its carrier may be told a little later.
      if (joined === journey && gapsOf(journey).length > 0 && !all && sinceMs + patienceMs > nowMs) return true;
      done.push(joined);
      return false;
    });
    this.carriers = this.carriers.filter(({ journey, sinceMs }) => {
      if (!all && sinceMs + 2 * patienceMs > nowMs) return true;
      done.push(journey);
      return false;
    });
    return done;
  }

  private joined(journey: Journey): Journey {
    for (const gap of gapsOf(journey)) {
      const at = this.carriers.findIndex((one) => carries(one.journey, gap));
      const [carrier] = at < 0 ? [] : this.carriers.splice(at, 1);
      if (carrier !== undefined) return this.joined(filled(journey, gap, carrier.journey));
    }
    return journey;
  }
}

/** Of a journey that was asked for only because it may carry another. */
export const isAside = isCarrier;
