/** Plots of a run as SVG: what a sweep does to each series, or each cell's median and interval. Pure. */
import { type AnyCell, isBaseline, valueText } from "../cells";
import type { Run } from "../results";
import { type CellSummary, figure, interval } from "../summary";
import type { Published } from "../types.gen";
import { escape } from "../../support/escape";

/** Okabe and Ito's, told apart by the colour-blind; markers and dashes say the same again. */
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"] as const;
const dashes = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 2"] as const;

/** Round numbers from 0 to at least `most`. */
export function ticks(most: number, count = 5): number[] {
  if (!(most > 0)) return [0, 1];
  const rough = most / count;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((candidate) => candidate >= rough) ?? magnitude * 10;
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

function marker(series: number, x: number, y: number, size = 4): string {
  const [a, b] = [x.toFixed(1), y.toFixed(1)];
  const path = (d: string): string => `<path class="s${series % 6} solid" d="${d}"/>`;
  switch (series % 4) {
    case 0:
      return `<circle class="s${series % 6} solid" cx="${a}" cy="${b}" r="${size}"/>`;
    case 1:
      return `<rect class="s${series % 6} solid" x="${(x - size).toFixed(1)}" y="${(y - size).toFixed(1)}" width="${size * 2}" height="${size * 2}"/>`;
    case 2:
      return path(`M${a} ${(y - size * 1.2).toFixed(1)}l${size * 1.2} ${size * 2.2}h${-size * 2.4}z`);
    default:
      return path(`M${a} ${(y + size * 1.2).toFixed(1)}l${size * 1.2} ${-size * 2.2}h${-size * 2.4}z`);
  }
}

/** A figure of a report: hollow, so that it is not taken for one of ours. */
const publishedMark = (x: number, y: number): string =>
  `<path class="published" d="M${x.toFixed(1)} ${(y - 6).toFixed(1)}l6 6l-6 6l-6 -6z"/>`;

type Values = Readonly<Record<string, unknown>>;
const valuesOf = (cell: AnyCell): Values => cell as unknown as Values;

/** The published figures of a cell; a network's kind counts as a value of the matrix. */
export function publishedOf(run: Run, cell: AnyCell, kinds: ReadonlyMap<string, string>): Published[] {
  if (isBaseline(cell)) return [];
  const own: Values = { ...valuesOf(cell), kind: kinds.get(cell.network) };
  return (run.header.definition.published ?? []).filter(({ where = {} }) =>
    Object.entries(where).every(([key, value]) => own[key] === value),
  );
}

const sweptKeys = ["rules", "systems"] as const;

/** What a sweep goes along: with two values or more. */
export function sweptKey(cells: readonly AnyCell[]): (typeof sweptKeys)[number] | undefined {
  return sweptKeys.find((key) => new Set(cells.flatMap((cell) => valuesOf(cell)[key] ?? [])).size > 1);
}

export interface Plot {
  readonly title: string;
  readonly svg: string;
}

export function svg(title: string, description: string, width: number, height: number, body: readonly string[]): string {
  return [
    `<svg class="plot" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escape(title)}">`,
    `<title>${escape(title)}</title>`,
    `<desc>${escape(description)}</desc>`,
    ...body,
    "</svg>",
  ].join("\n");
}

/** What the cells of a series share, beside what is swept. */
function seriesName(cell: AnyCell, key: string, all: readonly AnyCell[]): string {
  const own = valuesOf(cell);
  const varied = ["network", "filter", "match", "streams", "direction", "cores", "mtuBytes", "tso"].filter(
    (name) => name !== key && new Set(all.map((one) => valuesOf(one)[name])).size > 1 && own[name] !== undefined,
  );
  return varied.map((name) => valueText(name, own[name])).join(", ");
}

/** Zero and what follows it stay apart, and a hundred is not out of sight. */
const along = (value: number): number => Math.log2(1 + value);

export function sweepPlots(run: Run, summaries: readonly CellSummary[], kinds: ReadonlyMap<string, string>): Plot[] {
  const cells = summaries.filter(({ cell, values }) => !isBaseline(cell) && values.length > 0);
  const key = sweptKey(cells.map(({ cell }) => cell));
  if (key === undefined) return [];
  const placements = [...new Set(cells.map(({ cell }) => String(valuesOf(cell).placement)))];
  return placements.map((placement) => {
    const own = cells.filter(({ cell }) => String(valuesOf(cell).placement) === placement);
    return sweepPlot(run, own, key, placements.length > 1 ? valueText("placement", placement) : "", kinds);
  });
}

/** How long rules took to be in force, where they were swept. */
export function rulesPlots(run: Run, summaries: readonly CellSummary[]): Plot[] {
  const timed = summaries.flatMap((one) => {
    const seconds = one.details.rulesSeconds;
    return seconds === undefined ? [] : [{ ...one, value: { ...one.value, median: seconds, low: seconds, high: seconds } }];
  });
  const definition = { ...run.header.definition, title: "Until the rules are in force on all servers, with SSH", published: [] };
  const header = { ...run.header, definition, unit: "s", better: "less" as const };
  return sweepPlots({ ...run, header }, timed, new Map());
}

function sweepPlot(run: Run, own: readonly CellSummary[], key: string, part: string, kinds: ReadonlyMap<string, string>): Plot {
  const cells = own.map(({ cell }) => cell);
  const isShared = ({ cell }: CellSummary): boolean => key === "rules" && valuesOf(cell).rules === 0;
  const swept = own.filter((one) => !isShared(one));
  const names = [
    ...new Set(
      swept.map(({ cell }) =>
        seriesName(
          cell,
          key,
          swept.map((one) => one.cell),
        ),
      ),
    ),
  ];
  const series = names.map((name) => {
    const points = swept.filter(
      ({ cell }) =>
        seriesName(
          cell,
          key,
          swept.map((one) => one.cell),
        ) === name,
    );
    // Without rules all series start from the same cell.
    const start = own.filter((one) => isShared(one) && points.some(({ cell }) => sharesStart(cell, one.cell)));
    return { name, points: [...start, ...points].sort((a, b) => Number(valuesOf(a.cell)[key]) - Number(valuesOf(b.cell)[key])) };
  });
  const xs = [...new Set(own.map(({ cell }) => Number(valuesOf(cell)[key])))].sort((a, b) => a - b);
  const marks = own.flatMap(({ cell }) =>
    publishedOf(run, cell, kinds).map((published) => ({ ...published, x: Number(valuesOf(cell)[key]) })),
  );
  const most = Math.max(...own.map(({ value }) => value.high), ...marks.map(({ value }) => value));
  const scale = ticks(most);
  const [width, height, left, right, top, bottom] = [
    640,
    380,
    60,
    16,
    16,
    52 + 20 * Math.ceil((series.length + (marks.length > 0 ? 1 : 0)) / 2),
  ];
  const x = (value: number): number =>
    left + ((along(value) - along(xs[0] ?? 0)) / (along(xs.at(-1) ?? 1) - along(xs[0] ?? 0) || 1)) * (width - left - right - 20) + 10;
  const y = (value: number): number => height - bottom - (value / (scale.at(-1) ?? 1)) * (height - bottom - top);
  const body: string[] = [];
  for (const tick of scale) {
    body.push(`<line class="grid" x1="${left}" x2="${width - right}" y1="${y(tick).toFixed(1)}" y2="${y(tick).toFixed(1)}"/>`);
    body.push(`<text class="tick" x="${left - 8}" y="${(y(tick) + 4).toFixed(1)}" text-anchor="end">${figureOfTick(tick)}</text>`);
  }
  let lastLabel = Number.NEGATIVE_INFINITY;
  for (const value of xs) {
    // Labels that would touch are left out.
    if (x(value) - lastLabel < 24) continue;
    lastLabel = x(value);
    body.push(`<text class="tick" x="${x(value).toFixed(1)}" y="${height - bottom + 18}" text-anchor="middle">${value}</text>`);
  }
  body.push(
    `<text class="axis" x="${(left + width - right) / 2}" y="${height - bottom + 36}" text-anchor="middle">${key === "rules" ? "rules" : "systems at once"}</text>`,
  );
  body.push(
    `<text class="axis" transform="translate(14 ${(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">${escape(run.header.unit)}</text>`,
  );
  for (const [i, { points }] of series.entries()) {
    const line = points.map(({ cell, value }) => `${x(Number(valuesOf(cell)[key])).toFixed(1)},${y(value.median).toFixed(1)}`).join(" ");
    body.push(`<polyline class="s${i % 6} line" stroke-dasharray="${dashes[i % 6]}" points="${line}"/>`);
    for (const { cell, value } of points) {
      const at = x(Number(valuesOf(cell)[key])) + (i - (series.length - 1) / 2) * 2;
      body.push(
        `<line class="s${i % 6} line" x1="${at.toFixed(1)}" x2="${at.toFixed(1)}" y1="${y(value.low).toFixed(1)}" y2="${y(value.high).toFixed(1)}"/>`,
      );
      body.push(marker(i, at, y(value.median)));
    }
  }
  for (const mark of marks) body.push(publishedMark(x(mark.x), y(mark.value)));
  const legend = [
    ...series.map(({ name }, i) => ({ name: name || "ours", i })),
    ...(marks.length > 0 ? [{ name: `as published (${run.header.definition.report ?? "report"})`, i: -1 }] : []),
  ];
  for (const [n, { name, i }] of legend.entries()) {
    const [lx, ly] = [left + (n % 2) * 290, height - bottom + 58 + Math.floor(n / 2) * 20];
    body.push(
      i < 0
        ? publishedMark(lx + 12, ly - 4)
        : `<line class="s${i % 6} line" stroke-dasharray="${dashes[i % 6]}" x1="${lx}" x2="${lx + 24}" y1="${ly - 4}" y2="${ly - 4}"/>${marker(i, lx + 12, ly - 4)}`,
    );
    body.push(`<text class="legend" x="${lx + 32}" y="${ly}">${escape(name)}</text>`);
  }
  const title = [run.header.definition.title, part].filter(Boolean).join(": ");
  const description = series
    .map(
      ({ name, points }) =>
        `${name || "ours"}: ${points.map(({ cell, value }) => `${String(valuesOf(cell)[key])}: ${interval(value)}`).join("; ")}`,
    )
    .join(". ");
  return {
    title: part || run.header.definition.title,
    svg: svg(title, `${run.header.unit}. ${description}. ${cells.length} cells.`, width, height, body),
  };
}

function sharesStart(cell: AnyCell, start: AnyCell): boolean {
  const [a, b] = [valuesOf(cell), valuesOf(start)];
  return Object.keys(b).every((name) => name === "rules" || a[name] === b[name]);
}

const figureOfTick = (value: number): string => String(Number(value.toPrecision(4)));

/** One row a cell: median, interval, and a mark where a report has a figure. */
export function intervalPlot(run: Run, summaries: readonly CellSummary[], kinds: ReadonlyMap<string, string>): Plot {
  const rows = summaries.filter(({ values }) => values.length > 0);
  const published = rows.map(({ cell }) => publishedOf(run, cell, kinds));
  const most = Math.max(...rows.map(({ value }) => value.high), ...published.flat().map(({ value }) => value), 0);
  const scale = ticks(most);
  const rowHeight = 30;
  const longest = Math.max(...rows.map(({ label }) => label.length), 10);
  const [width, left, right, top] = [720, Math.min(300, 16 + longest * 7), 90, 10];
  const height = top + rows.length * rowHeight + 46 + (published.flat().length > 0 ? 22 : 0);
  const x = (value: number): number => left + (value / (scale.at(-1) ?? 1)) * (width - left - right);
  const below = top + rows.length * rowHeight;
  const body: string[] = [];
  for (const tick of scale) {
    body.push(`<line class="grid" x1="${x(tick).toFixed(1)}" x2="${x(tick).toFixed(1)}" y1="${top}" y2="${below}"/>`);
    body.push(`<text class="tick" x="${x(tick).toFixed(1)}" y="${below + 16}" text-anchor="middle">${figureOfTick(tick)}</text>`);
  }
  body.push(
    `<text class="axis" x="${((left + width - right) / 2).toFixed(1)}" y="${below + 36}" text-anchor="middle">${escape(run.header.unit)}</text>`,
  );
  for (const [i, { cell, label, value }] of rows.entries()) {
    const y = top + i * rowHeight + rowHeight / 2;
    const series = isBaseline(cell) ? 0 : 1;
    body.push(
      `<text class="label" x="${left - 10}" y="${y + 4}" text-anchor="end">${escape(label.length > 40 ? `${label.slice(0, 39)}…` : label)}</text>`,
    );
    body.push(`<line class="s${series} line wide" x1="${x(value.low).toFixed(1)}" x2="${x(value.high).toFixed(1)}" y1="${y}" y2="${y}"/>`);
    body.push(marker(series, x(value.median), y, 5));
    for (const one of published[i] ?? []) body.push(publishedMark(x(one.value), y));
    body.push(`<text class="value" x="${width - right + 10}" y="${y + 4}">${figure(value.median)}</text>`);
  }
  if (published.flat().length > 0) {
    body.push(
      publishedMark(left + 8, below + 52),
      `<text class="legend" x="${left + 22}" y="${below + 56}">as published (${escape(run.header.definition.report ?? "report")})</text>`,
    );
  }
  const description = rows.map(({ label, value }) => `${label}: ${interval(value)}`).join("; ");
  return {
    title: run.header.definition.title,
    svg: svg(run.header.definition.title, `${run.header.unit}. ${description}.`, width, height, body),
  };
}

export const plotStyle = [
  ".plot{width:100%;height:auto;max-width:46rem;font:13px system-ui,sans-serif}",
  ".plot text{fill:var(--ink)}",
  ".plot .tick,.plot .axis,.plot .legend{fill:var(--soft)}",
  ".plot .grid{stroke:var(--line);stroke-width:1}",
  ".plot .line{fill:none;stroke-width:1.8}.plot .wide{stroke-width:3}",
  ".plot .published{fill:var(--paper);stroke:var(--ink);stroke-width:1.6}",
  ...colours.map((colour, i) => `.plot .s${i}{stroke:${colour}}.plot .s${i}.solid{fill:${colour}}`),
].join("\n");
