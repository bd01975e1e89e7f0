/** Journeys as a picture (SVG): servers as lanes, devices as steps, microseconds at each. Pure. */
import { escape } from "../../../support/escape";
import { isResolved } from "./clocks";
import type { Hop } from "./hops";
import { addressesOf, typeOf } from "./words";

const box = { width: 118, height: 46, gap: 26 } as const;
const lane = { height: 74, name: 84 } as const;
const head = 40;
const between = 22;

const us = (ns: number): string => `${(ns / 1000).toFixed(1)} us`;

interface Text {
  readonly words: string;
  readonly x: number;
  readonly y: number;
  readonly anchor?: "start" | "middle" | "end";
  readonly kind?: string;
}

const text = ({ words, x, y, anchor = "start", kind = "" }: Text): string =>
  `<text x="${x.toFixed(0)}" y="${y.toFixed(0)}" text-anchor="${anchor}"${kind === "" ? "" : ` class="${kind}"`}>${escape(words)}</text>`;

/** At most so many letters: the end of a name tells names apart. */
const short = (name: string, most = 16): string => (name.length <= most ? name : `…${name.slice(1 - most)}`);

/** How dark a device is: by its share of the slowest one's time. */
const shade = (ns: number | undefined, most: number): string => `rgba(213,94,0,${(0.04 + 0.5 * Math.min(1, (ns ?? 0) / most)).toFixed(2)})`;

function crossingText({ crossing }: Hop): string {
  if (crossing === undefined) return "";
  const { time } = crossing;
  if (time === undefined) return "not resolvable";
  return isResolved(time) ? `${us(time.ns)} ± ${(time.boundNs / 1000).toFixed(1)}` : "not resolvable";
}

/** One journey's lanes from a height on; gives how high they are, too. */
function journeyPicture(hops: readonly Hop[], top: number, width: number): { parts: string[]; height: number } {
  const servers = [...new Set(hops.map(({ server }) => server))];
  const most = Math.max(1, ...hops.map(({ ns }) => ns ?? 0));
  const seen = hops[0]?.steps[0]?.seen;
  const x = (i: number): number => lane.name + i * (box.width + box.gap);
  const y = (server: string): number => top + head + servers.indexOf(server) * lane.height;
  const height = head + servers.length * lane.height;
  const total = hops.reduce((sum, { ns }) => sum + (ns ?? 0), 0);
  const parts = [
    text({ words: seen === undefined ? "" : `${typeOf(seen)} ${addressesOf(seen)}`, x: 8, y: top + 18, kind: "title" }),
    text({ words: `${us(total)} at devices`, x: width - 8, y: top + 18, anchor: "end", kind: "small" }),
    ...servers.flatMap((server) => [
      `<rect class="lane" x="4" y="${y(server)}" width="${width - 8}" height="${lane.height - 8}" rx="6"/>`,
      text({ words: short(server, 10), x: 12, y: y(server) + lane.height / 2, kind: "server" }),
    ]),
  ];
  for (const [i, hop] of hops.entries()) {
    const [left, above] = [x(i), y(hop.server) + 10];
    const last = hop.steps.at(-1);
    const tunnelled = hop.steps.some(({ seen: packet }) => packet.tunnel !== undefined);
    parts.push(
      `<rect class="device${last?.reason === undefined ? "" : " dropped"}${tunnelled ? " tunnel" : ""}${hop.isInferred === true ? " inferred" : ""}" x="${left}" y="${above}" width="${box.width}" height="${box.height}" rx="4" style="fill:${shade(hop.ns, most)}"/>`,
      text({
        words: short(`${hop.place === hop.server ? "" : `${hop.place} `}${hop.device}`),
        x: left + box.width / 2,
        y: above + 19,
        anchor: "middle",
      }),
      text({
        words: last?.reason ?? (hop.ns === undefined ? "" : us(hop.ns)),
        x: left + box.width / 2,
        y: above + 37,
        anchor: "middle",
        kind: last?.reason === undefined ? "time" : "reason",
      }),
    );
    const next = hops[i + 1];
    if (next === undefined) continue;
    const [fromX, fromY, toX, toY] = [left + box.width, above + box.height / 2, x(i + 1) - 4, y(next.server) + 10 + box.height / 2];
    const middle = (fromX + toX) / 2;
    parts.push(`<path class="way" d="M${fromX} ${fromY} C${middle} ${fromY} ${middle} ${toY} ${toX} ${toY}" marker-end="url(#end)"/>`);
    if (hop.crossing !== undefined)
      parts.push(
        text({ words: crossingText(hop), x: middle, y: Math.min(fromY, toY) - box.height / 2 - 14, anchor: "middle", kind: "small" }),
      );
  }
  return { parts, height };
}

export function journeysPicture(journeys: readonly (readonly Hop[])[]): string {
  const longest = Math.max(1, ...journeys.map((hops) => hops.length));
  const width = lane.name + longest * (box.width + box.gap) + 8;
  const all: string[] = [];
  let top = 0;
  for (const hops of journeys) {
    const { parts, height } = journeyPicture(hops, top, width);
    all.push(...parts);
    top += height + between;
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top}" width="${width}" height="${top}" role="img" aria-label="packets' ways through devices">`,
    "<style>text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600}.server{font-weight:600;fill:#444}.time{fill:#222}.small{font-size:11.5px;fill:#555}.reason{font-size:11px;font-weight:600;fill:#a00}.lane{fill:#f4f4f4}.device{stroke:#888}.tunnel{stroke:#0072b2;stroke-width:2}.inferred{stroke-dasharray:5 3}.dropped{stroke:#a00;stroke-width:2.5}.way{fill:none;stroke:#444;stroke-width:1.3}@media(prefers-color-scheme:dark){svg{background:#1b1b1b}text{fill:#ddd}.server,.time{fill:#ddd}.small{fill:#aaa}.reason{fill:#f77}.lane{fill:#262626}.way{stroke:#bbb}}</style>",
    '<defs><marker id="end" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
    ...all,
    "</svg>",
    "",
  ].join("\n");
}
