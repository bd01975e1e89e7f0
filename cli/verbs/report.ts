import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { csvOf } from "../../experiments/report/csv";
import { page, type Reported } from "../../experiments/report/page";
import { readRun, resultsFolder, runNames } from "../../experiments/results";
import { summarise } from "../../experiments/summary";
import { projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { jsonOption, type Verb } from "../verb";

/** The newest run of each experiment on each testbed. */
function newest(root: string): string[] {
  const latest = new Map<string, string>();
  for (const name of runNames(root)) {
    const { header } = readRun(root, name);
    latest.set(`${header.experiment} ${header.testbed}`, name);
  }
  return [...latest.values()];
}

export const report: Verb = {
  name: "report",
  words: "[RUN]...",
  summary: "make one page of what was measured: plots, tables, conditions, the reports' own figures",
  details: `
Without names: the newest run of each experiment. The page needs no network: results/report.html, and results/report.csv
beside it.`,
  options: { ...jsonOption, out: { type: "string", value: "FILE", help: "the page's file; default: results/report.html" } },
  run: ({ words, flags }) => {
    const root = projectRoot();
    const known = runNames(root);
    const unknown = words.filter((name) => !known.includes(name));
    if (unknown.length > 0) throw new UsageError(`there is no run ${unknown.join(", ")}; there are ${known.join(", ") || "none yet"}`);
    const names = words.length > 0 ? words : newest(root);
    if (names.length === 0) throw new UsageError("nothing was measured yet; flipflap experiment run NAME");
    const all = names.map((name): Reported => {
      const run = readRun(root, name);
      return { run, summaries: summarise(run), kinds: new Map(Object.entries(run.header.kinds)) };
    });
    const out = typeof flags.out === "string" ? resolve(flags.out) : join(resultsFolder(root), "report.html");
    const csvFile = out.replace(/(\.html?)?$/, ".csv");
    const csv = csvOf(all);
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, page(all, csv, new Date().toISOString().slice(0, 16).replace("T", " ")));
    writeFileSync(csvFile, csv);
    const made = { page: relative(process.cwd(), out), csv: relative(process.cwd(), csvFile), runs: names };
    console.log(flags.json === true ? JSON.stringify(made) : `${made.page} and ${made.csv}: ${names.length} runs`);
    return Promise.resolve(0);
  },
};
