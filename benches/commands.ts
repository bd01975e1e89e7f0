/** What a user waits for: an unchanged preview, a second up, beside Pulumi's own floor. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pulumiEnvironment } from "../deploy/pulumi";
import { machineConditions } from "../experiments/runner/conditions";
import { resultsTable, runBench, type Variant } from "../experiments/runner/runner";
import { tryRun } from "../support/process";
import { codeRoot } from "../support/project";
import type { BenchOptions } from "./bench";
import { Project, succeeded } from "./support/scratchProject";

function timed(name: string, command: readonly string[], cwd: string, env: NodeJS.ProcessEnv): Variant {
  return {
    name,
    measure: async () => {
      const begin = process.hrtime.bigint();
      succeeded(await tryRun(command, { cwd, env }));
      return { value: Number(process.hrtime.bigint() - begin) / 1e9, raw: null };
    },
  };
}

/** A program that declares nothing: what the engine, the language host and the SDK cost by themselves. */
async function emptyProgram(project: Project): Promise<string> {
  const folder = join(project.root, "empty");
  mkdirSync(folder);
  writeFileSync(join(folder, "Pulumi.yaml"), "name: empty\nruntime: nodejs\nmain: index.js\n");
  writeFileSync(join(folder, "index.js"), 'require("@pulumi/pulumi");\n');
  writeFileSync(join(folder, "package.json"), "{}\n");
  succeeded(await tryRun(["pulumi", "stack", "init", "empty"], { cwd: folder, env: pulumiEnvironment(project.root) }));
  return folder;
}

export async function benchCommands(options: BenchOptions): Promise<void> {
  const project = Project.make("bench");
  try {
    succeeded(await project.flipflap("up"));
    const env = pulumiEnvironment(project.root);
    const preview = ["pulumi", "preview", "--non-interactive", "-s"];
    const bench = {
      ...options,
      name: "waiting",
      unit: "s",
      baseline: timed("pulumi preview of an empty program", [...preview, "empty"], await emptyProgram(project), env),
      variants: [
        timed("pulumi preview -s flip, unchanged", [...preview, "flip"], project.root, env),
        timed("npm run up, again", ["npm", "run", "--silent", "up"], codeRoot, { ...env, FLIPFLAP_ROOT: project.root }),
        timed("flipflap check", [join(codeRoot, "bin", "flipflap"), "check"], project.root, env),
      ],
      warmUp: true,
      conditions: machineConditions(),
    };
    console.log(`\n${resultsTable(bench, await runBench(bench))}\n`);
  } finally {
    await project.flipflap("down");
    project.remove();
  }
}
