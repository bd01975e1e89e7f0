/** The closing line that CI reads, the reasons of what was skipped, and where the time went. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Reporter, TestCase, TestModule } from "vitest/node";
import { table } from "../cli/table";
import type { CommandTime } from "./support/times";

/** What a command is for; `flipflap lab start` is a start of servers, `pulumi destroy` takes away as `flipflap down` does. */
const causes: readonly (readonly [cause: string, words: RegExp])[] = [
  ["up", /^(flipflap|pulumi) (up|preview|refresh)/],
  ["down", /^(flipflap down|pulumi destroy)/],
  ["repair", /^flipflap repair/],
  ["move", /^flipflap move/],
  ["drift", /^flipflap (drift|check|status)/],
  ["exec", /^(flipflap )?exec/],
  ["lab", /^flipflap lab/],
  ["experiment", /^flipflap (experiment|policy|report)/],
];

/** Commands that ran at once count each: a row can come to more than its file took. */
function timesTable(times: readonly CommandTime[], fileSeconds: ReadonlyMap<string, number>): string {
  const rows = [...fileSeconds].map(([file, whole]) => {
    const own = times.filter((time) => time.file === file);
    const of = (words: RegExp): number => own.reduce((sum, time) => sum + (words.test(time.words.join(" ")) ? time.seconds : 0), 0);
    const seconds = causes.map(([, words]) => of(words));
    const rest = whole - seconds.reduce((sum, one) => sum + one, 0);
    return [file, ...[whole, ...seconds, rest].map((one) => (Math.round(one) === 0 ? "" : one.toFixed(0)))];
  });
  const sums = ["all", ...rows[0]!.slice(1).map((_, i) => String(rows.reduce((sum, row) => sum + Number(row[i + 1]), 0)))];
  return table(["FILE", "ALL", ...causes.map(([cause]) => cause.toUpperCase()), "REST"], [...rows, sums]);
}

const isRetried = (test: TestCase): boolean => (test.diagnostic()?.retryCount ?? 0) > 0;

export default class CountingReporter implements Reporter {
  private readonly folder = mkdtempSync(join(tmpdir(), "flipflap-test-times-"));
  private readonly notes = join(this.folder, "times");

  onInit(): void {
    process.env.FLIPFLAP_TEST_TIMES = this.notes;
    process.env.FLIPFLAP_TEST_RETRY = join(this.folder, "retried");
  }

  /** At once: what a run says at its end is lost where it is ended. */
  onTestCaseResult(test: TestCase): void {
    const { state, errors = [] } = test.result();
    if (isRetried(test)) console.log(`retried: ${test.fullName}: ${errors[0]?.message ?? ""}\n${errors[0]?.diff ?? ""}`);
    if (state === "failed") for (const { message, diff } of errors) console.log(`failed: ${test.fullName}: ${message}\n${diff ?? ""}`);
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    let [passed, failed, skipped, retried] = [0, unhandled.length, 0, 0];
    for (const module of modules) {
      const tests = [...module.children.allTests()];
      // A file that did not load has no tests to count.
      if (module.state() === "failed" && tests.every((test) => test.result().state !== "failed")) failed++;
      for (const test of tests) {
        const state = test.result().state;
        if (isRetried(test)) retried++;
        if (state === "passed") passed++;
        else if (state === "failed") failed++;
        else {
          skipped++;
          const note = test.result().state === "skipped" ? (test.result() as { note?: string }).note : undefined;
          console.log(`skipped: ${test.fullName}: ${note ?? "no reason given"}`);
          // A skip without a reason is a failure.
          if (note === undefined) failed++;
        }
      }
    }
    if (existsSync(this.notes)) {
      const lines = readFileSync(this.notes, "utf8").trim().split("\n");
      const times = lines.map((line) => JSON.parse(line) as CommandTime);
      const inLab = modules.filter(({ moduleId }) => moduleId.includes("/tests/lab/"));
      const fileSeconds = new Map(inLab.map((module) => [basename(module.moduleId), module.diagnostic().duration / 1000]));
      if (fileSeconds.size > 0) console.log(`\n${timesTable(times, fileSeconds)}`);
    }
    // At most one a run (support/retry.ts).
    console.log(`\n${retried} of these tests failed once and ${retried === 1 ? "was" : "were"} tried again`);
    rmSync(this.folder, { recursive: true, force: true });
    console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  }
}
