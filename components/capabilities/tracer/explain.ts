/** The way that a packet took, held against the one that is declared. Pure. */
import type { Declaration } from "../../config/declaration";
import { resolveMembers } from "../../kinds/members";
import { type End, onServer, type Waypoint } from "../../kinds/path";
import { kindOf } from "../../kinds/registry";
import type { TraceStep } from "../../host/contract/types.gen";
import { formatAddress } from "../../net/cidr";
import { portName } from "../../net/names";
import type { Hop } from "./hops";
import { isAfterthought, type Journey, type PlacedStep } from "./journey";
import { kindOfPacket, reasonText } from "./words";

export interface Explanation {
  /** Systems; addresses where the packet is of no two systems of a tenant. */
  readonly from: string;
  readonly to: string;
  readonly isKnown: boolean;
  /** What is declared; undefined where a kind does not say. */
  readonly declared?: readonly Waypoint[];
  /** Devices of it that the packet did not meet, and others that it met, in their order. */
  readonly missing: readonly Waypoint[];
  readonly extra: readonly Waypoint[];
  /** Where it was dropped, and why. */
  readonly dropped?: { readonly at: Waypoint; readonly reason: string };
  /** Where it was seen last, if it neither came to its end nor was dropped on a server: a switch between servers lost it, say. */
  readonly lastSeen?: Waypoint;
}

const nameOf = ({ server, namespace, device }: Waypoint): string => `${namespace === "" ? server : namespace} ${device}`;
const isSame = (declared: Waypoint, taken: Waypoint): boolean =>
  declared.device.endsWith("*") ? nameOf(taken).startsWith(nameOf(declared).slice(0, -1)) : nameOf(declared) === nameOf(taken);

/** What is common to both in its order; what is left of each. */
function compared(declared: readonly Waypoint[], taken: readonly Waypoint[]): { missing: Waypoint[]; extra: Waypoint[] } {
  const length = declared.map(() => taken.map(() => 0));
  const at = (i: number, k: number): number => length[i]?.[k] ?? 0;
  for (let i = declared.length - 1; i >= 0; i--)
    for (let k = taken.length - 1; k >= 0; k--) {
      const [a, b] = [declared[i] as Waypoint, taken[k] as Waypoint];
      (length[i] as number[])[k] = isSame(a, b) ? 1 + at(i + 1, k + 1) : Math.max(at(i + 1, k), at(i, k + 1));
    }
  const [missing, extra]: [Waypoint[], Waypoint[]] = [[], []];
  let [i, k] = [0, 0];
  while (i < declared.length || k < taken.length) {
    const [a, b] = [declared[i], taken[k]];
    if (a !== undefined && b !== undefined && isSame(a, b)) [i, k] = [i + 1, k + 1];
    else if (b === undefined || (a !== undefined && at(i + 1, k) >= at(i, k + 1))) {
      missing.push(a as Waypoint);
      i++;
    } else {
      extra.push(b);
      k++;
    }
  }
  return { missing, extra };
}

type Ends = ReadonlyMap<string, readonly End[]>;

function endsBy(ends: readonly End[], keysOf: (end: End) => readonly string[]): Ends {
  const found = new Map<string, End[]>();
  for (const end of ends)
    for (const key of keysOf(end)) {
      const own = found.get(key) ?? [];
      own.push(end);
      found.set(key, own);
    }
  return found;
}

interface Members {
  readonly byAddress: Ends;
  /** By the server's ends of their interfaces. */
  readonly byPort: Ends;
}

const known = new WeakMap<Declaration, Members>();

/** Asked for each packet: a declaration does not change. */
function membersOf(declaration: Declaration): Members {
  const before = known.get(declaration);
  if (before !== undefined) return before;
  const all = declaration.testbed.networks.flatMap((network) =>
    resolveMembers(declaration, network).members.map((member): End => ({ network, member })),
  );
  const members = {
    byAddress: endsBy(all, ({ member }) => Object.values(member.addresses).map(formatAddress)),
    byPort: endsBy(all, ({ member }) => [portName(member)]),
  };
  known.set(declaration, members);
  return members;
}

/** The members whose addresses the packet has: the first by its interface; the second of the same network, or of another of the tenant's. */
function endsOf(declaration: Declaration, journey: Journey): { readonly from: End; readonly to: End } | undefined {
  const first = journey.legs[0]?.leg;
  const [step, packet] = [first?.steps[0], first?.packets[0]];
  if (step === undefined || packet === undefined) return undefined;
  const { byAddress, byPort } = membersOf(declaration);
  const isOthers = ({ namespace, device }: TraceStep, own?: End): boolean =>
    (namespace !== "" && namespace !== own?.member.system) ||
    (byPort.get(device) ?? []).some(({ member }) => member.system !== own?.member.system);
  const senders = byAddress.get(packet.source) ?? [];
  const from =
    senders.find(({ member }) => member.system === step.namespace && member.interface === step.device) ??
    // A drop that comes long after all else is a journey of its own: the address must do, at a device that is nobody else's.
    (step.reason !== undefined && senders.length === 1 && !isOthers(step, senders[0]) ? senders[0] : undefined);
  if (from === undefined) return undefined;
  // What answers a translated packet has its target only where it is translated back.
  const last = journey.legs.at(-1)?.leg.packets.at(-1);
  for (const target of new Set([packet.target, last?.target ?? ""])) {
    const targets = (byAddress.get(target) ?? []).filter((end) => end.network.tenant === from.network.tenant);
    const to = targets.find(({ network }) => network === from.network) ?? targets[0];
    if (to !== undefined) return { from, to };
  }
  return undefined;
}

const inside = ({ member }: End): Waypoint => ({ server: member.server, namespace: member.system, device: member.interface });

function declaredWay(declaration: Declaration, { from, to }: { readonly from: End; readonly to: End }): readonly Waypoint[] | undefined {
  const between = kindOf(from.network).path?.(declaration, from, to);
  return between === undefined ? undefined : [inside(from), ...between, inside(to)];
}

export function explain(declaration: Declaration, journey: Journey, hops: readonly Hop[]): Explanation {
  const ends = endsOf(declaration, journey);
  const declared = ends && declaredWay(declaration, ends);
  const first = journey.legs[0]?.leg.packets[0];
  const taken = hops.map(({ server, device, steps }) => ({ ...onServer(server, device), namespace: steps[0]?.namespace ?? "" }));
  // Sockets of raw IP have taken their copies of a reply before nobody else wants it.
  const isTaken = ({ reason, seen }: PlacedStep): boolean => reason === "NO_SOCKET" && kindOfPacket(seen) === "reply";
  // A flood's copy at a system that it is not for.
  const isNobodys = ({ reason, namespace }: PlacedStep): boolean => reason === "OTHERHOST" && namespace !== ends?.to.member.system;
  const isExcused = (step: PlacedStep): boolean => isTaken(step) || isNobodys(step);
  // Of copies of a flood others are dropped where nobody wants them: what ends a packet is the last that is seen of it, on the last server.
  // A driver's word comes late.
  const lasts = hops.flatMap(({ server, steps }, i) =>
    server === hops.at(-1)?.server
      ? steps.filter((step) => !isExcused(step) && !isAfterthought(step)).map((step) => ({ step, at: taken[i] as Waypoint }))
      : [],
  );
  const end = lasts.sort((a, b) => a.step.atNs - b.step.atNs).at(-1);
  const isThere = lasts.some(({ step }) => ends !== undefined && step.namespace === ends.to.member.system && step.reason === undefined);
  const isDropped = end?.step.reason !== undefined && !(isThere && end.step.namespace !== ends?.to.member.system);
  const drop = isDropped ? { at: end.at, reason: end.step.reason as string } : undefined;
  const isDropAlone = hops.every(({ steps }) => steps.every(({ reason }) => reason !== undefined));
  const { missing, extra } = declared === undefined || isDropAlone ? { missing: [], extra: [] } : compared(declared, taken);
  const isLost = drop === undefined && !journey.isAmbiguous && missing.length > 0 && missing.at(-1) === declared?.at(-1);
  const lastSeen = isLost ? taken.at(-1) : undefined;
  return {
    from: ends?.from.member.system ?? first?.source ?? "",
    to: ends?.to.member.system ?? first?.target ?? "",
    isKnown: ends !== undefined,
    ...(declared !== undefined && { declared }),
    missing,
    extra,
    ...(drop !== undefined && { dropped: drop }),
    ...(lastSeen !== undefined && { lastSeen }),
  };
}

export function explanationText({ from, to, isKnown, declared, missing, extra, dropped, lastSeen }: Explanation): string {
  const lines = [
    ...(dropped === undefined ? [] : [`dropped at ${nameOf(dropped.at)}: ${reasonText(dropped.reason)}`]),
    ...(lastSeen === undefined ? [] : [`not seen after ${nameOf(lastSeen)}`]),
    ...(missing.length === 0 ? [] : [`never met: ${missing.map(nameOf).join(", ")}`]),
    ...(extra.length === 0 ? [] : [`not declared: ${extra.map(nameOf).join(", ")}`]),
  ];
  if (lines.length > 0) return `${from} to ${to}: ${lines.join("; ")}`;
  if (!isKnown) return `${from} to ${to}: no two systems of one tenant`;
  return declared === undefined ? `${from} to ${to}: arrived; no way is declared to hold it against` : `${from} to ${to}: as declared`;
}
