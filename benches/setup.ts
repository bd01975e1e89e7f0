/** A fresh clone with an empty HOME, from nothing to the status table, and back. System packages that are installed already stay so. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { machineConditions } from "../experiments/runner/conditions";
import { resultsTable, runBench, type Variant } from "../experiments/runner/runner";
import { run, tryRun } from "../support/process";
import { codeRoot } from "../support/project";
import type { BenchOptions } from "./bench";
import { succeeded } from "./support/scratchProject";

export async function benchSetup(options: BenchOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-fresh-"));
  const clone = join(folder, "flipflap");
  // Nothing of this machine's user: no caches, no configuration.
  const env = {
    HOME: join(folder, "home"),
    PATH: (process.env.PATH ?? "")
      .split(":")
      .filter((entry) => !entry.startsWith(codeRoot))
      .join(":"),
  };
  const timed = (name: string, ...words: string[]): Variant => ({
    name,
    measure: async () => {
      const begin = Date.now();
      succeeded(await tryRun(words, { cwd: clone, env }));
      return { value: (Date.now() - begin) / 1000, raw: null };
    },
  });
  try {
    await run(["mkdir", env.HOME]);
    await run(["git", "clone", "--quiet", codeRoot, clone]);
    const bench = {
      ...options,
      name: "a fresh clone",
      unit: "s",
      baseline: timed("npm run up, the first time", "npm", "run", "up"),
      variants: [],
      rounds: 1,
      warmUp: false,
      conditions: machineConditions(),
    };
    console.log(`\n${resultsTable(bench, await runBench(bench))}\n`);
  } finally {
    await tryRun(["npm", "run", "down"], { cwd: clone, env });
    await tryRun(["chmod", "-R", "u+w", folder]);
    rmSync(folder, { recursive: true, force: true });
  }
}
