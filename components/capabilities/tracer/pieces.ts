/**
 * A packet that a device cuts into segments (GSO), and segments that a device merges into one (GRO), are journeys of their own: here each
 * is told what it came from and what it went into, by the bytes of its connection. Pure.
 */
import type { TraceLeg, TracePacket } from "../../host/contract/types.gen";
import { isAfterthought, isSent, type Journey, type Kin, type PlacedStep, type ServerLeg, startOf, stepsOfLeg } from "./journey";

/** Longer than journeys wait for their legs: all kin have been told by then. */
const patienceMs = 2500;
/** What is in a device's queue to be cut, or is being merged. */
const mostNs = 50_000_000;
/** More than these wait for nothing. */
const mostWaiting = 50_000;
/** A packet covers two of these at most. */
const bucketBytes = 1 << 16;

interface Piece {
  readonly journey: Journey & { readonly kin: Kin };
  readonly sinceMs: number;
  /** Where each of its legs begins and ends. */
  readonly begins: readonly PlacedStep[];
  readonly ends: readonly PlacedStep[];
  readonly buckets: readonly string[];
}

const isSuper = ({ flags }: TracePacket): boolean => flags?.includes("super") === true;
const flowOf = ({ source, sourcePort, target, targetPort }: TracePacket): string => `${source} ${sourcePort} ${target} ${targetPort}`;
const isData = ({ protocol, payloadBytes, flags }: TracePacket): boolean =>
  protocol === 6 && payloadBytes > 0 && flags?.includes("later fragment") !== true;

/** Whether the one has more than the other's bytes; numbers wrap. */
const holds = (whole: TracePacket, part: TracePacket): boolean =>
  part.payloadBytes < whole.payloadBytes && ((part.sequence - whole.sequence) >>> 0) + part.payloadBytes <= whole.payloadBytes;

const isSoon = (before: PlacedStep, after: PlacedStep): boolean => after.atNs >= before.atNs && after.atNs - before.atNs < mostNs;
const isHere = (one: PlacedStep, other: PlacedStep): boolean => one.server === other.server && one.namespace === other.namespace;

/** A device cuts what it takes from its queue. */
const isCut = (whole: PlacedStep, part: PlacedStep): boolean =>
  whole.reason === undefined &&
  isSuper(whole.seen) &&
  holds(whole.seen, part.seen) &&
  part.point === "net_dev_start_xmit" &&
  isHere(whole, part) &&
  isSoon(whole, part);

/** A device merges what it receives, before anybody else sees that; there it looks itself, where all points are followed. */
const isMerged = (part: PlacedStep, whole: PlacedStep): boolean =>
  part.reason === undefined &&
  isSuper(whole.seen) &&
  holds(whole.seen, part.seen) &&
  whole.point === "netif_receive_skb" &&
  (isSent(part) ? !isHere(part, whole) : isHere(part, whole) && isSoon(part, whole));

export class Pieces {
  /** Flows in which something was cut or merged, with when that was seen last: only their packets wait. */
  private readonly flows = new Map<string, number>();
  private readonly buckets = new Map<string, Piece[]>();
  private waiting: Piece[] = [];

  saw({ packets }: TraceLeg, nowMs: number): void {
    for (const packet of packets) if (isData(packet) && isSuper(packet)) this.flows.set(flowOf(packet), nowMs);
  }

  take(taken: readonly Journey[], nowMs: number, all = false): Journey[] {
    const done: Journey[] = [];
    for (const journey of taken) {
      const piece = this.waiting.length < mostWaiting ? this.pieceOf(journey, nowMs) : undefined;
      if (piece === undefined) done.push(journey);
      else this.add(piece);
    }
    const isYoung = ({ sinceMs }: Piece): boolean => sinceMs + patienceMs > nowMs;
    // They are in the order in which they came.
    const young = all ? -1 : this.waiting.findIndex(isYoung);
    for (const piece of this.waiting.splice(0, young < 0 ? this.waiting.length : young)) {
      this.drop(piece);
      done.push({ ...piece.journey, legs: ownLegs(piece.journey) });
    }
    for (const [flow, seenMs] of this.flows) if (seenMs + 2 * patienceMs < nowMs) this.flows.delete(flow);
    return done;
  }

  private pieceOf(journey: Journey, sinceMs: number): Piece | undefined {
    if (journey.isAmbiguous) return undefined;
    const legs = journey.legs.map((one) => stepsOfLeg(one).filter((step) => !isAfterthought(step)));
    const [begins, ends] = [legs.flatMap((steps) => steps.slice(0, 1)), legs.flatMap((steps) => steps.slice(-1))];
    const [first, last] = [begins[0]?.seen, ends.at(-1)?.seen];
    if (first === undefined || last === undefined || begins.length < legs.length || !isData(first)) return undefined;
    const flows = new Set([...begins, ...ends].map(({ seen }) => flowOf(seen)));
    if (![...flows].some((flow) => this.flows.has(flow))) return undefined;
    const numbers = new Set([first.sequence, (first.sequence + first.payloadBytes) >>> 0].map((at) => Math.floor(at / bucketBytes)));
    const buckets = [...flows].flatMap((flow) => [...numbers].map((number) => `${flow} ${number}`));
    return { journey: { ...journey, kin: { cutInto: [], mergedFrom: [] } }, sinceMs, begins, ends, buckets };
  }

  private add(piece: Piece): void {
    this.waiting.push(piece);
    const met = new Set(piece.buckets.flatMap((name) => this.buckets.get(name) ?? []));
    for (const other of met) {
      link(piece, other);
      link(other, piece);
    }
    for (const name of piece.buckets) {
      const own = this.buckets.get(name) ?? [];
      own.push(piece);
      this.buckets.set(name, own);
    }
  }

  private drop(piece: Piece): void {
    for (const name of piece.buckets) {
      const left = (this.buckets.get(name) ?? []).filter((one) => one !== piece);
      if (left.length === 0) this.buckets.delete(name);
      else this.buckets.set(name, left);
    }
  }
}

function link(before: Piece, after: Piece): void {
  const [from, to] = [before.journey.kin, after.journey.kin];
  const [begin, end] = [after.begins[0], before.ends.at(-1)];
  if (begin === undefined || end === undefined) return;
  const cutAfter = before.ends.findIndex((whole) => isCut(whole, begin));
  const mergedAt = after.begins.findIndex((whole) => isMerged(end, whole));
  // Of what was sent again the latest is whose segments these are.
  if (cutAfter >= 0 && (to.cutFrom === undefined || startOf(to.cutFrom) < startOf(before.journey))) {
    const others = to.cutFrom?.kin?.cutInto;
    others?.splice(others.indexOf(after.journey), 1);
    from.cutInto.push(after.journey);
    from.cutAfter = cutAfter;
    to.cutFrom = before.journey;
  } else if (from.mergedInto === undefined && mergedAt >= 0) {
    from.mergedInto = after.journey;
    to.mergedFrom.push(before.journey);
    to.mergedAt = mergedAt;
  }
}

/** With a segment's way where it was cut meanwhile, and merged to what it had been. */
function ownLegs({ legs, kin }: Journey): readonly ServerLeg[] {
  const [segment] = kin?.cutInto ?? [];
  const at = (kin?.cutAfter ?? legs.length) + 1;
  if (segment === undefined || at >= legs.length) return legs;
  return [...legs.slice(0, at), ...segment.legs.map((leg) => ({ ...leg, isSegment: true as const })), ...legs.slice(at)];
}

/** The way to where a journey begins. */
function legsBefore({ kin }: Journey, met: Set<Kin>): readonly ServerLeg[] {
  if (kin === undefined || met.has(kin)) return [];
  met.add(kin);
  const merged = kin.mergedAt === 0 ? kin.mergedFrom[0] : undefined;
  const one = kin.cutFrom ?? merged;
  return one === undefined
    ? []
    : [...legsBefore(one, met), ...one.legs.slice(0, kin.cutFrom === undefined ? undefined : (one.kin?.cutAfter ?? 0) + 1)];
}

/** The way from where a journey ends. */
function legsAfter({ kin, legs }: Journey, met: Set<Kin>): readonly ServerLeg[] {
  if (kin === undefined || met.has(kin)) return [];
  met.add(kin);
  const one = kin.mergedInto ?? (kin.cutAfter === legs.length - 1 ? kin.cutInto[0] : undefined);
  return one === undefined ? [] : [...one.legs.slice(kin.mergedInto === undefined ? 0 : one.kin?.mergedAt), ...legsAfter(one, met)];
}

/** The way of one of its bytes: with what it was before it was cut or merged, and what it is then. */
export const wholeWay = (journey: Journey): Journey => ({
  isAmbiguous: journey.isAmbiguous,
  legs: [...legsBefore(journey, new Set()), ...journey.legs, ...legsAfter(journey, new Set())],
});

const bytesOf = (journey: Journey): number => journey.legs[0]?.leg.packets[0]?.bytes ?? 0;

/** For machines: how many, and of how many bytes. */
export interface KinCounts {
  readonly cutFromBytes?: number;
  readonly cutInto?: number;
  readonly mergedFrom?: number;
  readonly mergedIntoBytes?: number;
}

export function kinCounts({ kin }: Journey): KinCounts | undefined {
  if (kin === undefined) return undefined;
  const { cutFrom, cutInto, mergedFrom, mergedInto } = kin;
  const counts = {
    ...(cutFrom !== undefined && { cutFromBytes: bytesOf(cutFrom) }),
    ...(cutInto.length > 0 && { cutInto: cutInto.length }),
    ...(mergedFrom.length > 0 && { mergedFrom: mergedFrom.length }),
    ...(mergedInto !== undefined && { mergedIntoBytes: bytesOf(mergedInto) }),
  };
  return Object.keys(counts).length > 0 ? counts : undefined;
}

const segments = (count: number): string => `${count} segment${count === 1 ? "" : "s"}`;

export function kinText(journey: Journey): string | undefined {
  const counts = kinCounts(journey);
  if (counts === undefined) return undefined;
  const { cutFromBytes, cutInto, mergedFrom, mergedIntoBytes } = counts;
  const merged = mergedFrom === undefined ? [] : [`merged from ${segments(mergedFrom)}`];
  const isCutFirst = journey.kin?.mergedAt !== 0;
  return [
    ...(cutFromBytes === undefined ? [] : [`cut from ${cutFromBytes} bytes`]),
    ...(isCutFirst ? [] : merged),
    ...(cutInto === undefined ? [] : [`cut into ${segments(cutInto)}`]),
    ...(isCutFirst ? merged : []),
    ...(mergedIntoBytes === undefined ? [] : [`merged into ${mergedIntoBytes} bytes`]),
  ].join(", ");
}
