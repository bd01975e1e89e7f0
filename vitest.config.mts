import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    reporters: ["default", "./tests/reporter.ts"],
    projects: [
      {
        test: {
          name: "fast",
          include: ["tests/{unit,errors,preview,plugins}/**/*.test.ts"],
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // One lab for all: its files run one after the other, in the order of their numbers.
        test: {
          name: "lab",
          include: ["tests/lab/**/*.test.ts"],
          globalSetup: "tests/lab/globalSetup.ts",
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 300_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
