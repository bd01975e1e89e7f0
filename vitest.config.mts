import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Vitest's own order is by size, and by what took long the last time. */
class ByName extends BaseSequencer {
  override sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return Promise.resolve([...files].sort((a, b) => (a.moduleId < b.moduleId ? -1 : 1)));
  }
}

export default defineConfig({
  test: {
    sequence: { sequencer: ByName },
    reporters: ["default", "./tests/reporter.ts"],
    projects: [
      {
        test: {
          name: "fast",
          setupFiles: "tests/support/retry.ts",
          include: ["tests/{unit,errors,preview,plugins,bpf,netfilter}/**/*.test.ts"],
          testTimeout: 30_000,
          // Every shipped testbed is registered in a hook.
          hookTimeout: 60_000,
          // One file waits for packets for most of that time.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // A file has a lab to itself, and files start in the order of their numbers. Beside each other they take two thirds of the
        // time: FLIPFLAP_TEST_LABS=2.
        test: {
          name: "lab",
          include: ["tests/{lab,guest}/**/*.test.ts"],
          globalSetup: "tests/lab/globalSetup.ts",
          setupFiles: ["tests/support/times.ts", "tests/support/retry.ts"],
          maxWorkers: Number(process.env.FLIPFLAP_TEST_LABS ?? 1),
          testTimeout: 180_000,
          hookTimeout: 300_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
