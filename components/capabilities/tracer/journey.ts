/** Packets' ways through servers, joined from what each server saw. Pure. */
import type { TraceLeg, TracePacket, TraceStep } from "../../host/contract/types.gen";

/** What one server saw of a packet. */
export interface ServerLeg {
  readonly server: string;
  readonly leg: TraceLeg;
  /** Known by its time and length alone: what it carries cannot be read. */
  readonly isInferred?: true;
  /** Of one of the segments that the packet was cut into on the way. */
  readonly isSegment?: true;
}

export interface Journey {
  /** In the order of the way. */
  readonly legs: readonly ServerLeg[];
  /** Others were the same on these servers at the same time: which leg is whose is not known. */
  readonly isAmbiguous: boolean;
  /** Of segments: journeys that have its bytes, too. */
  readonly kin?: Kin;
}

/** What a packet was cut from and into, and merged from and into. */
export interface Kin {
  readonly cutInto: Journey[];
  /** Behind which of its legs. */
  cutAfter?: number;
  cutFrom?: Journey;
  readonly mergedFrom: Journey[];
  /** With which of its legs it begins, or is again what it was. */
  mergedAt?: number;
  mergedInto?: Journey;
}

/** How long one server's leg waits for another's: a busy agent tells late. */
const patienceMs = 2000;
/** The same, where what there is has a beginning and an end. */
const wholePatienceMs = 300;

interface Waiting extends ServerLeg {
  readonly sinceMs: number;
}

const sends: readonly TraceStep["point"][] = ["net_dev_queue", "net_dev_start_xmit", "net_dev_xmit"];
export const isSent = ({ point }: TraceStep): boolean => sends.includes(point);

/** Whether a leg begins where the packet was made: it was sent first, and received later if at all. */
const begins = ({ leg }: ServerLeg): boolean => leg.steps[0] !== undefined && isSent(leg.steps[0]);
/** Whether it leaves the server by its last device. */
export const leaves = ({ leg }: ServerLeg): boolean => {
  const last = leg.steps.at(-1);
  return last !== undefined && isSent(last);
};

const durationOf = ({ leg }: ServerLeg): number => (leg.steps.at(-1)?.atNs ?? 0) - (leg.steps[0]?.atNs ?? 0);

/** Cuts a leg where its packet was elsewhere for so long: between a device of the server that sent it and one that got it. */
function cut(one: ServerLeg, awayNs: number): readonly [ServerLeg, ServerLeg] | undefined {
  const { leg } = one;
  const pauses = leg.steps.flatMap((step, i) => {
    const next = leg.steps[i + 1];
    const isAway = next !== undefined && isSent(step) && !isSent(next) && step.namespace === "" && next.namespace === "";
    return isAway && next.atNs - step.atNs >= awayNs ? [i + 1] : [];
  });
  const [at] = pauses;
  if (at === undefined || pauses.length > 1) return undefined;
  return [
    { ...one, leg: { ...leg, steps: leg.steps.slice(0, at) } },
    { ...one, leg: { ...leg, steps: leg.steps.slice(at) } },
  ];
}

/** In the order of the way: who made it, who passed it on, who kept it. Who made it may keep it, after others have passed it on. */
function inOrder(legs: readonly ServerLeg[]): ServerLeg[] {
  const rank = (one: ServerLeg): number => (begins(one) ? 0 : leaves(one) ? 1 : 2);
  const [first, ...others] = [...legs].sort((a, b) => rank(a) - rank(b));
  if (first === undefined) return [];
  const isBack = begins(first) && !leaves(first) && others.length > 0 && others.every((one) => !begins(one) && leaves(one));
  const parts = isBack ? cut(first, Math.max(...others.map(durationOf))) : undefined;
  return parts === undefined ? [first, ...others] : [parts[0], ...others, parts[1]];
}

/** One packet, from who made it to who kept it. */
const isWhole = (legs: readonly ServerLeg[]): boolean =>
  new Set(legs.map(({ server }) => server)).size === legs.length && legs.some(begins) && legs.some((one) => !leaves(one));

/** Collects legs until all that belong together have come. */
export class Journeys {
  private readonly waiting = new Map<string, Waiting[]>();

  constructor(private readonly servers: readonly string[]) {}

  add(server: string, leg: TraceLeg, nowMs: number): void {
    const own = this.waiting.get(leg.identity);
    const one = { server, leg, sinceMs: nowMs };
    if (own === undefined) this.waiting.set(leg.identity, [one]);
    else own.push(one);
  }

  /** Those whose legs have waited long enough; all of them at the end. */
  take(nowMs: number, all = false): Journey[] {
    const done: Journey[] = [];
    for (const [identity, legs] of this.waiting) {
      // Of a stream of equal packets some are always young.
      const isOld = legs.some(({ sinceMs }) => sinceMs + 2 * patienceMs <= nowMs);
      const patience = isWhole(legs) ? wholePatienceMs : patienceMs;
      if (!all && !isOld && legs.some(({ sinceMs }) => sinceMs + patience > nowMs)) continue;
      this.waiting.delete(identity);
      done.push(...joined(legs, this.servers));
    }
    return done.sort((a, b) => startOf(a) - startOf(b));
  }
}

export const startOf = ({ legs }: Journey): number => legs[0]?.leg.steps[0]?.atNs ?? 0;

/** Of one identity: a packet, or several that nothing but their order tells apart. */
function joined(legs: readonly ServerLeg[], servers: readonly string[]): Journey[] {
  const of = new Map(
    servers.map((server) => [server, legs.filter((one) => one.server === server).sort((a, b) => a.leg.ordinal - b.leg.ordinal)]),
  );
  const counts = [...of.values()].map((own) => own.length).filter((count) => count > 0);
  const most = Math.max(...counts);
  // Where all servers that saw any saw as many, the first here is the first there.
  const isClear = counts.every((count) => count === most);
  if (isClear)
    return Array.from({ length: most }, (_, i) => ({
      legs: inOrder([...of.values()].flatMap((own) => own[i] ?? [])),
      isAmbiguous: false,
    }));
  // A packet that stayed on its server is nobody else's.
  const [alone, shared] = [legs.filter((one) => begins(one) && !leaves(one)), legs.filter((one) => !begins(one) || leaves(one))];
  if (alone.length > 0 && shared.length > 0)
    return [...alone.map((one) => ({ legs: [one], isAmbiguous: false })), ...joined(shared, servers)];
  return legs.map((one) => ({ legs: [one], isAmbiguous: true }));
}

/** A step with its server, and the packet as it was there. */
export interface PlacedStep extends TraceStep {
  readonly server: string;
  readonly seen: TracePacket;
}

export const stepsOf = ({ legs }: Journey): PlacedStep[] =>
  legs.flatMap(({ server, leg }) =>
    leg.steps.flatMap((step) => {
      const seen = leg.packets[step.packet];
      return seen === undefined ? [] : [{ ...step, server, seen }];
    }),
  );

/** Those of one server, in the order of their times. */
export const stepsOfLeg = (one: ServerLeg): PlacedStep[] => stepsOf({ legs: [one], isAmbiguous: false }).sort((a, b) => a.atNs - b.atNs);

/** Once a driver has it, the packet may be at the next device before this one says so. */
export const isAfterthought = ({ point }: PlacedStep): boolean => point === "net_dev_xmit";
