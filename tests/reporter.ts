/** The closing line that CI reads, and the reasons of what was skipped. */
import type { Reporter, TestModule } from "vitest/node";

export default class CountingReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly unknown[]): void {
    let [passed, failed, skipped] = [0, unhandled.length, 0];
    for (const module of modules) {
      const tests = [...module.children.allTests()];
      // A file that did not load has no tests to count.
      if (module.state() === "failed" && tests.every((test) => test.result().state !== "failed")) failed++;
      for (const test of tests) {
        const state = test.result().state;
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
    console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
  }
}
