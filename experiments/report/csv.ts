/** The summaries of runs as CSV (RFC 4180). Pure. */
import type { Run } from "../results";
import type { CellSummary } from "../summary";

const keys = ["network", "placement", "filter", "match", "rules", "streams", "direction", "cores", "mtuBytes", "tso", "systems"] as const;

const field = (value: unknown): string => {
  const text = value === undefined ? "" : String(value);
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

export function csvOf(runs: readonly { readonly run: Run; readonly summaries: readonly CellSummary[] }[]): string {
  const details = [...new Set(runs.flatMap(({ summaries }) => summaries.flatMap((one) => Object.keys(one.details))))];
  const columns = [
    "run",
    "experiment",
    "testbed",
    "cell",
    ...keys,
    "unit",
    "count",
    "median",
    "low",
    "high",
    "is95PercentInterval",
    "ratio",
    "ratioLow",
    "ratioHigh",
    "drifts",
    "disturbed",
  ];
  const lines = runs.flatMap(({ run: { header }, summaries }) =>
    summaries.map(({ cell, label, value, ratio, drifts, disturbed, details: own }) => {
      const values = cell as unknown as Readonly<Record<string, unknown>>;
      return [
        ...[header.run, header.experiment, header.testbed, label],
        ...keys.map((key) => (key === "network" && cell.network === "" ? "server to server" : values[key])),
        ...[
          header.unit,
          value.count,
          value.median,
          value.low,
          value.high,
          value.isInterval,
          ratio?.median,
          ratio?.low,
          ratio?.high,
          drifts,
          disturbed,
        ],
        ...details.map((name) => own[name]),
      ];
    }),
  );
  return `${[[...columns, ...details], ...lines].map((line) => line.map(field).join(",")).join("\r\n")}\r\n`;
}
