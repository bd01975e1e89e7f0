/** Journeys as OpenTelemetry's spans, in OTLP's JSON: a trace a journey, a span a device. Pure. */
import { type BoundedTime } from "./clocks";
import type { Hop } from "./hops";
import type { Journey } from "./journey";
import { addressesOf, typeOf } from "./words";

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue: string } | { readonly intValue: string } | { readonly doubleValue: number };
}

const word = (key: string, value: string): Attribute => ({ key, value: { stringValue: value } });
const whole = (key: string, value: number): Attribute => ({ key, value: { intValue: String(Math.round(value)) } });

/** So many hexadecimal digits of what is the same for the same journey. */
function idOf(text: string, digits: 16 | 32): string {
  let [a, b] = [0xcbf29ce484222325n, 0x9e3779b97f4a7c15n];
  for (const byte of Buffer.from(text)) {
    a = BigInt.asUintN(64, (a ^ BigInt(byte)) * 0x100000001b3n);
    b = BigInt.asUintN(64, (b ^ a) * 0x9e3779b97f4a7c15n);
  }
  return `${a.toString(16).padStart(16, "0")}${b.toString(16).padStart(16, "0")}`.slice(0, digits);
}

const crossingWords = (to: string, time: BoundedTime | undefined): Attribute[] => [
  word("flipflap.crossing.to", to),
  ...(time === undefined
    ? []
    : [
        { key: "flipflap.crossing.us", value: { doubleValue: time.ns / 1000 } },
        { key: "flipflap.crossing.bound_us", value: { doubleValue: time.boundNs / 1000 } },
      ]),
];

/**
 * One line of a file that a collector's otlpjsonfile receiver reads. `wallOf` is each server's wall clock less its monotonic one, in ns:
 * spans of two servers are as far apart as their wall clocks are.
 */
export function otlpLine(journey: Journey, hops: readonly Hop[], wallOf: ReadonlyMap<string, bigint>): string {
  const first = hops[0];
  const traceId = idOf(JSON.stringify(journey.legs.map(({ server, leg }) => [server, leg.identity, leg.ordinal, leg.steps[0]?.atNs])), 32);
  const rootId = idOf(`${traceId} root`, 16);
  const wall = (server: string, ns: number): string => String((wallOf.get(server) ?? 0n) + BigInt(Math.round(ns)));
  const endOf = (hop: Hop): number => (hop.steps[0]?.atNs ?? 0) + (hop.ns ?? 0);
  const spans = hops.map((hop, i) => {
    const seen = hop.steps[0]?.seen;
    const reason = hop.steps.at(-1)?.reason;
    return {
      server: hop.server,
      span: {
        traceId,
        spanId: idOf(`${traceId} ${i}`, 16),
        parentSpanId: rootId,
        name: `${hop.place} ${hop.device}`,
        kind: 1,
        startTimeUnixNano: wall(hop.server, hop.steps[0]?.atNs ?? 0),
        endTimeUnixNano: wall(hop.server, endOf(hop)),
        attributes: [
          word("network.interface.name", hop.device),
          ...(seen === undefined
            ? []
            : [word("flipflap.packet", `${typeOf(seen)} ${addressesOf(seen)}`), whole("flipflap.bytes", seen.bytes)]),
          ...(hop.crossing === undefined ? [] : crossingWords(hop.crossing.to, hop.crossing.time)),
        ],
        ...(reason !== undefined && { status: { code: 2, message: reason } }),
      },
    };
  });
  const last = hops.at(-1);
  const root = {
    traceId,
    spanId: rootId,
    name: first?.steps[0] === undefined ? "journey" : `${typeOf(first.steps[0].seen)} ${addressesOf(first.steps[0].seen)}`,
    kind: 1,
    startTimeUnixNano: wall(first?.server ?? "", first?.steps[0]?.atNs ?? 0),
    endTimeUnixNano: last === undefined ? "0" : wall(last.server, endOf(last)),
    attributes: journey.isAmbiguous ? [word("flipflap.ambiguous", "true")] : [],
  };
  const servers = [...new Set(hops.map(({ server }) => server))];
  return JSON.stringify({
    resourceSpans: servers.map((server, i) => ({
      resource: { attributes: [word("service.name", "flipflap"), word("host.name", server)] },
      scopeSpans: [
        {
          scope: { name: "flipflap.trace" },
          spans: [...(i === 0 ? [root] : []), ...spans.flatMap((one) => (one.server === server ? [one.span] : []))],
        },
      ],
    })),
  });
}
