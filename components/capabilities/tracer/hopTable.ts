/** The time at each device, for people. Pure. */
import { isResolved } from "./clocks";
import type { Hop } from "./hops";
import { addressesOf, typeOf } from "./words";

const us = (ns: number): string => (ns / 1000).toFixed(1);

/** Rows of place, device, time in us, and what is to say of it. */
export function hopRows(hops: readonly Hop[]): string[][] {
  return hops.map(({ place, device, ns, crossing, steps, isInferred }, i) => {
    const last = steps.at(-1);
    const notes = [
      ...(crossing === undefined
        ? []
        : [
            crossing.time === undefined
              ? `to ${crossing.to}: not resolvable, packets went one way only`
              : isResolved(crossing.time)
                ? `to ${crossing.to}: ${us(crossing.time.ns)} ± ${us(crossing.time.boundNs)} us`
                : `to ${crossing.to}: not resolvable, ± ${us(crossing.time.boundNs)} us`,
          ]),
      ...(isInferred === true && hops[i - 1]?.isInferred !== true ? ["carries it, by time and length: encrypted"] : []),
      ...(last?.reason === undefined ? [] : [`dropped: ${last.reason}`]),
    ];
    const seen = steps[0]?.seen;
    const before = hops[i - 1]?.steps[0]?.seen;
    const text = seen === undefined ? "" : `${typeOf(seen)} ${addressesOf(seen)}`;
    const isNew = seen !== undefined && (before === undefined || `${typeOf(before)} ${addressesOf(before)}` !== text);
    return [place, device, ns === undefined ? "" : us(ns), isNew ? text : "", notes.join("; ")];
  });
}

export const hopColumns = ["PLACE", "DEVICE", "US", "PACKET", ""] as const;
