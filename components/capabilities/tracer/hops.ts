/** The time that a packet spent at each device of its way. Pure. */
import type { BoundedTime, Clocks } from "./clocks";
import { isAfterthought, isSent, type Journey, leaves, type PlacedStep, type ServerLeg, stepsOfLeg } from "./journey";
import { placeOf } from "./words";

/** One device on the way: from the moment that the packet is there to the moment that it is at the next. */
export interface Hop {
  readonly server: string;
  /** The namespace's name; the server's own is the server's. */
  readonly place: string;
  readonly device: string;
  readonly steps: readonly PlacedStep[];
  /** Undefined at the end, where nothing follows. */
  readonly ns?: number;
  /** Of what carries the packet where it cannot be read. */
  readonly isInferred?: true;
  /** Of the way to another server: how sure that is; undefined where the clocks cannot be compared. */
  readonly crossing?: { readonly to: string; readonly time?: BoundedTime };
}

export function hopsOf(journey: Journey, clocks: Clocks): Hop[] {
  const groups: { readonly leg: ServerLeg; readonly steps: PlacedStep[] }[] = [];
  for (const leg of journey.legs) {
    const { server } = leg;
    for (const step of stepsOfLeg(leg)) {
      const isHere = ({ steps: [one] }: { readonly steps: readonly PlacedStep[] }): boolean =>
        one !== undefined && one.server === server && one.namespace === step.namespace && one.device === step.device;
      const last = groups.at(-1);
      if (last !== undefined && isHere(last)) last.steps.push(step);
      else if (isAfterthought(step)) [...groups].reverse().find(isHere)?.steps.push(step);
      else groups.push({ leg, steps: [step] });
    }
  }
  return groups.map(({ leg, steps }, i): Hop => {
    const first = steps[0] as PlacedStep;
    const next = groups[i + 1]?.steps[0];
    const base = {
      server: first.server,
      place: placeOf(first),
      device: first.device,
      steps,
      ...(leg.isInferred === true && { isInferred: true as const }),
    };
    const last = steps.at(-1) as PlacedStep;
    // Nothing follows: what is known is how long it was there.
    if (next === undefined) return steps.length > 1 ? { ...base, ns: last.atNs - first.atNs } : base;
    if (next.server === first.server) return { ...base, ns: next.atNs - first.atNs };
    // A copy that stayed was the last to be seen: where the other one left is not known.
    if (!leaves(leg)) return last === first ? base : { ...base, ns: last.atNs - first.atNs };
    const sent = [...steps].reverse().find(({ point }) => point === "net_dev_start_xmit") ?? last;
    const time = clocks.between(first.server, sent.atNs, next.server, next.atNs);
    return { ...base, ns: sent.atNs - first.atNs, crossing: { to: next.server, ...(time !== undefined && { time }) } };
  });
}

/** By one socket buffer: of a flood's copies nobody knows which one went out. */
const hasOneBuffer = ({ leg }: ServerLeg): boolean => leg.steps.every(({ buffer }) => buffer === 0);

/** Where a packet left a server and where it came to the next one: what clocks are compared by. A wrong pair would spoil all others. */
export function crossingsOf(journey: Journey): { from: PlacedStep; to: PlacedStep }[] {
  if (journey.isAmbiguous || journey.legs.length !== 2 || !journey.legs.every(hasOneBuffer)) return [];
  const [before, after] = journey.legs;
  if (before === undefined || after === undefined) return [];
  const of = (one: ServerLeg): PlacedStep[] => stepsOfLeg(one).filter((step) => !isAfterthought(step));
  const [from, to] = [of(before).at(-1), of(after)[0]];
  return from?.point === "net_dev_start_xmit" && to !== undefined && !isSent(to) ? [{ from, to }] : [];
}
