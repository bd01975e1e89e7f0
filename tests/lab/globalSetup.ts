/** One lab for all lab tests. What a killed run left is taken away first; the machine's state before is kept for the last test. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { type MachineSnapshot, machineSnapshot } from "../support/snapshot";
import { Project, succeeded } from "../../support/scratchProject";

declare module "vitest" {
  export interface ProvidedContext {
    root: string;
    machineBefore: MachineSnapshot;
  }
}

export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  // Another name for another run beside this one.
  const project = Project.make(`lab${process.env.FLIPFLAP_TEST_LAB ?? ""}`);
  succeeded(await project.flipflap("lab", "stop"));
  const machineBefore = await machineSnapshot(project.root);
  provide("root", project.root);
  provide("machineBefore", machineBefore);
  mkdirSync(join(project.root, ".flipflap"), { recursive: true });
  writeFileSync(join(project.root, ".flipflap", "machine-before"), machineBefore.lines.join("\n"));
  return async () => {
    await project.flipflap("down");
    await project.flipflap("lab", "stop");
    project.remove();
  };
}
