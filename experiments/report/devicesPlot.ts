/** Where a packet's time goes, as stacked bars: a way a row, a device a piece. Pure. */
import { escape } from "../../support/escape";
import type { Run } from "../results";
import { estimate } from "../runner/statistics";
import { type CellSummary, figure, interval } from "../summary";
import { type Plot, svg, ticks } from "./plots";

interface Piece {
  readonly name: string;
  readonly us: number;
  /** Between two servers: by clocks that are compared. */
  readonly isWire: boolean;
  readonly text: string;
}

interface Row {
  readonly label: string;
  readonly pieces: readonly Piece[];
  readonly isPublished?: true;
}

/** Of the details those that are devices, in the order of the way (experiments/methods/devices.ts). */
export const piecesOf = ({ details }: Pick<CellSummary, "details">): Piece[] =>
  Object.keys(details)
    .filter((name) => /^\d\d[ ~]/.test(name))
    .sort()
    .map((name) => {
      const us = details[name] ?? 0;
      return { name: name.slice(3).trim(), us, isWire: name[2] === "~", text: figure(us) };
    });

/** Ours, and below them the report's. */
function rowsOf(run: Run, summaries: readonly CellSummary[]): Row[] {
  const own = summaries.map((one): Row => ({ label: one.label, pieces: piecesOf(one) })).filter(({ pieces }) => pieces.length > 0);
  if (own.length === 0) return [];
  const published = (run.header.definition.publishedWays ?? []).map(({ label, parts }): Row => {
    const pieces = parts.map(({ name, batches }): Piece => {
      const value = estimate(batches);
      return { name, us: value.median, isWire: false, text: interval(value) };
    });
    return { label, pieces, isPublished: true };
  });
  return [...own, ...published];
}

const rowHeight = 40;
const barHeight = 20;

/** A name is in its piece where it fits there; all are in the table below. */
const fits = (name: string, width: number): boolean => name.length * 7.2 + 6 < width;

export function devicesPlot(run: Run, summaries: readonly CellSummary[]): Plot | undefined {
  const rows = rowsOf(run, summaries);
  if (rows.length === 0) return undefined;
  const total = (pieces: readonly Piece[]): number => pieces.reduce((sum, { us }) => sum + us, 0);
  const scale = ticks(Math.max(...rows.map(({ pieces }) => total(pieces))));
  const longest = Math.max(...rows.map(({ label }) => label.length), 10);
  const [width, left, right, top] = [720, Math.min(240, 16 + longest * 7), 60, 10];
  const below = top + rows.length * rowHeight;
  const x = (us: number): number => left + (us / (scale.at(-1) ?? 1)) * (width - left - right);
  const body = scale.flatMap((tick) => [
    `<line class="grid" x1="${x(tick).toFixed(1)}" x2="${x(tick).toFixed(1)}" y1="${top}" y2="${below}"/>`,
    `<text class="tick" x="${x(tick).toFixed(1)}" y="${below + 16}" text-anchor="middle">${tick}</text>`,
  ]);
  body.push(`<text class="axis" x="${((left + width - right) / 2).toFixed(1)}" y="${below + 36}" text-anchor="middle">us</text>`);
  for (const [i, { label, pieces, isPublished }] of rows.entries()) {
    const y = top + i * rowHeight + (rowHeight - barHeight) / 2;
    body.push(`<text class="label" x="${left - 10}" y="${y + barHeight / 2 + 4}" text-anchor="end">${escape(label)}</text>`);
    let from = 0;
    for (const [k, { name, us, isWire }] of pieces.entries()) {
      const [begin, end] = [x(from), x(from + us)];
      from += us;
      const piece = `<rect class="piece ${isPublished === true ? "theirs" : isWire ? "wire" : k % 2 === 0 ? "even" : "odd"}" x="${begin.toFixed(1)}" y="${y}" width="${Math.max(0.5, end - begin).toFixed(1)}" height="${barHeight}"><title>${escape(`${name}: ${figure(us)} us`)}</title></rect>`;
      body.push(piece);
      if (fits(name, end - begin))
        body.push(
          `<text class="inside" x="${((begin + end) / 2).toFixed(1)}" y="${y + barHeight / 2 + 4}" text-anchor="middle">${escape(name)}</text>`,
        );
    }
    body.push(`<text class="value" x="${(x(from) + 8).toFixed(1)}" y="${y + barHeight / 2 + 4}">${figure(from)}</text>`);
  }
  const description = rows
    .map(({ label, pieces }) => `${label}: ${pieces.map(({ name, us }) => `${name} ${figure(us)}`).join(", ")}`)
    .join("; ");
  return {
    title: `${run.header.definition.title}, device by device`,
    svg: svg("Time at each device", `us. ${description}.`, width, below + 46, body),
  };
}

/** The same in figures: a row a device. */
export function devicesTable(run: Run, summaries: readonly CellSummary[]): string {
  const rows = rowsOf(run, summaries).flatMap(({ label, pieces }) =>
    pieces.map(
      ({ name, text, isWire }, i) =>
        `<tr><th scope=row>${i === 0 ? escape(label) : ""}</th><td>${escape(isWire ? `(${name})` : name)}</td><td class=n>${text}</td></tr>`,
    ),
  );
  if (rows.length === 0) return "";
  return `<details><summary>Device by device</summary><div class=scroll><table><thead><tr><th scope=col>cell</th><th scope=col>device</th><th scope=col class=n>us, median of batches' means; of a report's with its interval</th></tr></thead><tbody>${rows.join("")}</tbody></table></div></details>`;
}

export const devicesStyle = [
  ".plot .piece{stroke:var(--paper);stroke-width:1}.plot .even{fill:#56b4e9}.plot .odd{fill:#e69f00}.plot .wire{fill:#bbb}.plot .theirs{fill:none;stroke:var(--ink);stroke-dasharray:3 2}.plot .theirs+.inside{fill:var(--ink)}.plot .inside{fill:#111}",
].join("\n");
