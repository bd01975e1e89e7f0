/** One self-contained HTML page of runs: plots, tables, conditions. Pure. */
import { isBaseline } from "../cells";
import type { Run } from "../results";
import { type CellSummary, figure, interval, medianTitle, remarks as cellRemarks } from "../summary";
import { escape } from "../../support/escape";
import { devicesPlot, devicesStyle, devicesTable } from "./devicesPlot";
import { intervalPlot, plotStyle, publishedOf, rulesPlots, sweepPlots } from "./plots";

export interface Reported {
  readonly run: Run;
  readonly summaries: readonly CellSummary[];
  /** The kind of each network, for what reports published. */
  readonly kinds: ReadonlyMap<string, string>;
}

const style = `
:root{--ink:#1b1f24;--soft:#57606a;--paper:#fff;--panel:#f6f8fa;--line:#d8dee4;--accent:#0072b2;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9ba6b2;--paper:#12161b;--panel:#1a2027;--line:#333c47;--accent:#56b4e9}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:60rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.25rem;margin:0}h3{font-size:1rem;margin:1.2rem 0 .4rem}
p{margin:.3rem 0}a{color:var(--accent)}.soft{color:var(--soft);font-size:.9rem}
section{border-top:2px solid var(--line);margin-top:2.2rem;padding-top:1.2rem}
figure{margin:1rem 0}figcaption{color:var(--soft);font-size:.9rem}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;width:100%}
th,td{overflow-wrap:normal;text-align:left;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}
th[scope=row]{font-weight:500;min-width:13rem}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
details{background:var(--panel);border-radius:.4rem;padding:.5rem .8rem;margin:.8rem 0}summary{cursor:pointer}
pre{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.8rem;margin:.5rem 0}
.topology{background:#fff;border-radius:.4rem;padding:.5rem;overflow-x:auto}.topology svg{max-width:100%;height:auto}
.warn{border-left:4px solid #d55e00;padding-left:.7rem}
nav ul{columns:2 18rem;padding-left:1.2rem;margin:.6rem 0}
@media print{body{max-width:none;padding:0;font-size:11pt}section{break-inside:avoid-page}nav,details:not([open]){display:none}}
`;

const detailNames: Readonly<Record<string, string>> = {
  cpuPercentPerGbit: "CPU % per Gb/s",
  p50Microseconds: "P50 us",
  p90Microseconds: "P90 us",
  p99Microseconds: "P99 us",
  transactionsPerSecond: "transactions/s",
  lostPercent: "lost %",
  memoryMiBPerSystem: "MiB a system",
  secondsPerSystem: "s a system",
  attachMillisecondsMedian: "attach ms",
  rulesSeconds: "s until the rules are in force",
};

function cellTable({ run, summaries, kinds }: Reported): string {
  const details = Object.keys(detailNames).filter((name) => summaries.some((one) => one.details[name] !== undefined));
  const hasRatio = summaries.some(({ ratio }) => ratio !== undefined);
  const hasPublished = summaries.some(({ cell }) => publishedOf(run, cell, kinds).length > 0);
  const head = [
    "<th scope=col>cell</th>",
    `<th scope=col class=n>${escape(run.header.unit)}, ${medianTitle}</th>`,
    ...(hasRatio ? ["<th scope=col class=n>ratio to server to server</th>"] : []),
    ...details.map((name) => `<th scope=col class=n>${detailNames[name]}</th>`),
    ...(hasPublished ? [`<th scope=col class=n>published (${run.header.definition.report ?? ""})</th>`] : []),
    "<th scope=col class=n>rounds</th>",
  ];
  const rows = summaries.map((one) => {
    const published = publishedOf(run, one.cell, kinds).map(({ value }) => figure(value));
    const cells = [
      `<th scope=row>${escape(one.label)}</th>`,
      `<td class=n>${one.values.length === 0 ? "-" : interval(one.value)}</td>`,
      ...(hasRatio ? [`<td class=n>${one.ratio === undefined ? (isBaseline(one.cell) ? "1" : "-") : interval(one.ratio)}</td>`] : []),
      ...details.map((name) => `<td class=n>${one.details[name] === undefined ? "" : figure(one.details[name])}</td>`),
      ...(hasPublished ? [`<td class=n>${published.join(", ")}</td>`] : []),
      `<td class=n>${one.values.length}${cellRemarks(one) === "" ? "" : ` (${cellRemarks(one)})`}</td>`,
    ];
    return `<tr>${cells.join("")}</tr>`;
  });
  return `<div class=scroll><table><thead><tr>${head.join("")}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}

function conditions({ header }: Run): string {
  const lines: string[] = [];
  const walk = (value: unknown, path: string): void => {
    if (value !== null && typeof value === "object")
      for (const [key, inner] of Object.entries(value)) walk(inner, path === "" ? key : `${path} ${key}`);
    else lines.push(`<tr><th scope=row>${escape(path)}</th><td>${escape(String(value))}</td></tr>`);
  };
  walk(header.conditions, "");
  return `<details><summary>Conditions</summary><div class=scroll><table><tbody>${lines.join("")}</tbody></table></div></details>`;
}

function remarks({ run, summaries }: Reported): string {
  const failed = summaries.flatMap(({ label, failures }) => failures.map((failure) => `${label}, ${failure}`));
  const left = run.header.left.map(({ cell, why }) => `${cell}: not measured, ${why}`);
  const state = run.isEnded ? [] : [`not at its end: flipflap experiment resume ${run.header.run}`];
  const all = [...state, ...failed, ...left];
  if (all.length === 0) return "";
  return `<div class=warn><p><strong>Not all was measured</strong></p><ul>${all.map((text) => `<li>${escape(text)}</li>`).join("")}</ul></div>`;
}

function section(reported: Reported): string {
  const { run, summaries, kinds } = reported;
  const { header, samples, disturbed } = run;
  const { definition } = header;
  const sweeps = sweepPlots(run, summaries, kinds);
  const plots = summaries.every(({ values }) => values.length === 0)
    ? []
    : sweeps.length > 0
      ? sweeps
      : [intervalPlot(run, summaries, kinds)];
  const byDevice = devicesPlot(run, summaries);
  const about = [
    `testbed ${header.testbed}`,
    `profile ${header.profile}`,
    `${samples.length} measurements`,
    ...(run.repeated.length > 0 ? [`${run.repeated.length} failed and repeated`] : []),
    ...(disturbed.length > 0 ? [`${disturbed.length} disturbed by others and repeated`] : []),
    `seed ${header.seed}`,
    header.startedAt.slice(0, 16).replace("T", " "),
    header.run,
  ];
  return [
    `<section id="${escape(header.run)}">`,
    `<h2>${escape(definition.title)}</h2>`,
    `<p>${escape(definition.asks)}</p>`,
    `<p class=soft>${about.map(escape).join(" · ")}</p>`,
    remarks(reported),
    ...plots.map(
      ({ title, svg }) =>
        `<figure>${svg}<figcaption>${escape(title)}: medians with 95% intervals, or ranges where there are fewer than six values; ${header.better} is better.</figcaption></figure>`,
    ),
    ...rulesPlots(run, summaries).map(
      ({ title, svg }) => `<figure>${svg}<figcaption>${escape(title)}: medians; less is better.</figcaption></figure>`,
    ),
    ...(byDevice === undefined
      ? []
      : [
          `<figure>${byDevice.svg}<figcaption>${escape(byDevice.title)}: from the moment that a request is at one to the moment that it is at the next.</figcaption></figure>`,
        ]),
    cellTable(reported),
    devicesTable(run, summaries),
    conditions(run),
    "</section>",
  ].join("\n");
}

export function page(all: readonly Reported[], csv: string, madeAt: string): string {
  const topologies = new Map(all.map(({ run }) => [run.header.testbed, run.header.topology]));
  const links = all.map(({ run: { header } }) => `<li><a href="#${escape(header.run)}">${escape(header.definition.title)}</a></li>`);
  const download = `data:text/csv;base64,${Buffer.from(csv, "utf8").toString("base64")}`;
  return [
    "<!doctype html>",
    '<html lang="en">',
    "<head>",
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<link rel="icon" href="data:,">',
    "<title>flipflap: what was measured</title>",
    `<style>${style}\n${plotStyle}\n${devicesStyle}</style>`,
    "</head>",
    "<body>",
    "<header>",
    "<h1>What was measured</h1>",
    `<p class=soft>${all.length} ${all.length === 1 ? "experiment" : "experiments"}, made ${escape(madeAt)} · <a download="flipflap.csv" href="${download}">all medians as CSV</a></p>`,
    "<p>Every round measures each cell once, in random order, and server to server beside them. A ratio is to server to server in the same round. Intervals cover the true median in 95% of runs, by ranks (sign test), also where a run goes on until they are narrow; fewer than six values have a range. A cell that drifts rose or fell over the run.</p>",
    `<nav aria-label="Experiments"><ul>${links.join("")}</ul></nav>`,
    ...[...topologies].map(
      ([testbed, svg]) => `<details open><summary>Testbed ${escape(testbed)}</summary><div class=topology>${svg}</div></details>`,
    ),
    "</header>",
    "<main>",
    ...all.map(section),
    "</main>",
    "</body>",
    "</html>",
    "",
  ].join("\n");
}
