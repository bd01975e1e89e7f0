/** How long many systems take, as a picture: both axes by powers of ten, so that what grows alike is a straight line. Pure. */
import { escape } from "../support/escape";

export interface Series {
  readonly name: string;
  readonly points: readonly { readonly systems: number; readonly seconds: number }[];
  readonly colour: string;
  /** Of a stroke: what is compared with. */
  readonly dash?: string;
}

const [width, height] = [720, 440];
const plot = { left: 56, right: 500, top: 44, bottom: 392 };

/** 1, 2 and 5 times the powers of ten between two numbers. */
function decades(least: number, most: number): number[] {
  const all: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(most)); power++)
    for (const factor of [1, 2, 5]) all.push(Number((factor * 10 ** power).toPrecision(3)));
  return all.filter((value) => value >= least && value <= most);
}

const at = (value: number, least: number, most: number, from: number, to: number): number =>
  from + ((Math.log10(value) - Math.log10(least)) / (Math.log10(most) - Math.log10(least))) * (to - from);

export function curve(title: string, series: readonly Series[]): string {
  const points = series.flatMap((one) => one.points);
  const [leastX, mostX] = [Math.min(...points.map((p) => p.systems)), Math.max(...points.map((p) => p.systems))];
  const [leastY, mostY] = [Math.min(...points.map((p) => p.seconds)) * 0.8, Math.max(...points.map((p) => p.seconds)) * 1.2];
  const x = (systems: number): number => at(systems, leastX, mostX, plot.left, plot.right);
  const y = (seconds: number): number => at(seconds, leastY, mostY, plot.bottom, plot.top);
  const line = (x1: number, y1: number, x2: number, y2: number): string =>
    `<line class="grid" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
  const text = (words: string, left: number, top: number, anchor: string, kind = "tick"): string =>
    `<text class="${kind}" x="${left.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}">${escape(words)}</text>`;
  const grid = [
    ...decades(leastY, mostY).flatMap((value) => [
      line(plot.left, y(value), plot.right, y(value)),
      text(`${value}`, plot.left - 8, y(value) + 4, "end"),
    ]),
    ...[...new Set(points.map((p) => p.systems))].flatMap((value) => [
      line(x(value), plot.top, x(value), plot.bottom),
      text(value.toLocaleString("en"), x(value), plot.bottom + 20, "middle"),
    ]),
    text("systems", (plot.left + plot.right) / 2, plot.bottom + 40, "middle"),
    text("seconds", 8, plot.top - 6, "start"),
  ];
  // A line's name stands beside its end, and not on another one; a single figure's beside that.
  const ends = series.flatMap((one) => {
    const last = one.points.at(-1);
    return last?.systems === mostX ? [{ one, wanted: y(last.seconds) }] : [];
  });
  const placed: { one: Series; top: number }[] = [];
  for (const { one, wanted } of ends.sort((a, b) => a.wanted - b.wanted))
    placed.push({ one, top: Math.max(wanted, (placed.at(-1)?.top ?? 0) + 20) });
  const singles = series.flatMap((one) =>
    one.points.length === 1 ? one.points.map((p) => text(one.name, x(p.systems) + 8, y(p.seconds) + 4, "start", "name")) : [],
  );
  const lines = series.map(({ points: own, colour, dash }) => {
    const path = own.map((p, i) => `${i === 0 ? "M" : "L"}${x(p.systems).toFixed(1)} ${y(p.seconds).toFixed(1)}`).join("");
    const marks = own.map((p) => `<circle cx="${x(p.systems).toFixed(1)}" cy="${y(p.seconds).toFixed(1)}" r="3.5" fill="${colour}"/>`);
    return `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"${dash === undefined ? "" : ` stroke-dasharray="${dash}"`}/>${marks.join("")}`;
  });
  const names = placed.map(({ one, top }) => {
    const [key, left] = [
      `stroke="${one.colour}" stroke-width="2"${one.dash === undefined ? "" : ` stroke-dasharray="${one.dash}"`}`,
      plot.right + 14,
    ];
    return `<line x1="${left}" y1="${top}" x2="${left + 24}" y2="${top}" ${key}/>${text(one.name, left + 30, top + 4, "start", "name")}`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(title)}">`,
    `<title>${escape(title)}</title>`,
    `<desc>${escape(series.map(({ name, points: own }) => `${name}: ${own.map((p) => `${p.systems} in ${p.seconds.toFixed(1)} s`).join(", ")}`).join("; "))}</desc>`,
    "<style>text{font:13px system-ui,sans-serif;fill:#222}.tick{fill:#666}.title{font-size:15px;font-weight:600}.grid{stroke:#ddd}.name{paint-order:stroke;stroke:#fff;stroke-width:4px}</style>",
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    text(title, plot.left, 20, "start", "title"),
    ...grid,
    ...lines,
    ...names,
    ...singles,
    "</svg>",
    "",
  ].join("\n");
}
