/** A run of an experiment in a process of its own, to be interrupted. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import type { Project } from "../../benches/support/scratchProject";
import { pulumiEnvironment } from "../../deploy/pulumi";
import { runNames } from "../../experiments/results";
import { codeRoot } from "../../support/project";

export interface Begun {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  /** The run's name, once it has begun to write. */
  readonly latest: () => string;
}

export function begunExperiment({ root }: Project, name: string): Begun {
  const had = runNames(root);
  const child = spawn(join(codeRoot, "bin", "flipflap"), ["experiment", "run", name], {
    cwd: root,
    env: { ...pulumiEnvironment(root), CI: "true" },
    stdio: "ignore",
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { child, ended, latest: () => runNames(root).find((run) => !had.includes(run)) ?? "" };
}
