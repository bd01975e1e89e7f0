/** A lab for each worker. What a killed run left is taken away first; the machine's state before is kept for those that compare it. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { type MachineSnapshot, machineSnapshot } from "../support/snapshot";

declare module "vitest" {
  export interface ProvidedContext {
    /** Of the labs' projects, a worker each. */
    roots: string[];
    machineBefore: MachineSnapshot;
  }
}

export default async function setup({ provide, config }: TestProject): Promise<() => Promise<void>> {
  // Another name for another run beside this one.
  const name = `lab${process.env.FLIPFLAP_TEST_LAB ?? ""}`;
  const projects = Array.from({ length: config.maxWorkers }, (_, i) => Project.make(i === 0 ? name : `${name}-${i + 1}`));
  for (const project of projects) succeeded(await project.flipflap("lab", "stop"));
  // Of a killed run with more labs than this one.
  for (let i = projects.length + 1; existsSync(Project.folder(`${name}-${i}`)); i++) {
    const left = new Project(Project.folder(`${name}-${i}`));
    succeeded(await left.flipflap("lab", "stop"));
    left.remove();
  }
  const [first] = projects as [Project];
  const machineBefore = await machineSnapshot(first.root);
  provide(
    "roots",
    projects.map(({ root }) => root),
  );
  provide("machineBefore", machineBefore);
  mkdirSync(join(first.root, ".flipflap"), { recursive: true });
  writeFileSync(join(first.root, ".flipflap", "machine-before"), machineBefore.lines.join("\n"));
  return async () => {
    for (const project of projects) {
      await project.flipflap("down");
      await project.flipflap("lab", "stop");
      project.remove();
    }
  };
}
