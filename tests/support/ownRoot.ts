import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, inject } from "vitest";

const mark = (root: string): string => join(root, "taken-by");

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

/** Whether this process has the project now. */
function take(root: string): boolean {
  for (;;) {
    try {
      writeFileSync(mark(root), String(process.pid), { flag: "wx" });
      return true;
    } catch {
      const holder = Number(readFileSync(mark(root), "utf8"));
      if (holder === process.pid) return true;
      if (holder !== 0 && isAlive(holder)) return false;
      rmSync(mark(root), { force: true });
    }
  }
}

/** The project of the lab that this file has to itself while it runs: vitest (4.1) has given one number to two workers at once. */
export function ownRoot(): string {
  const roots = inject("roots");
  const own = roots.find(take);
  if (own === undefined) throw new Error(`all of ${roots.length} labs are taken`);
  // The first hook is the last to run.
  afterAll(() => rmSync(mark(own), { force: true }));
  return own;
}
