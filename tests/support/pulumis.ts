/** The Pulumis that work on a project now. */
import { readdirSync, readFileSync } from "node:fs";

export function pulumisOf(root: string): number[] {
  return readdirSync("/proc").flatMap((entry) => {
    try {
      const [program] = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      const environment = readFileSync(`/proc/${entry}/environ`, "utf8").split("\0");
      return program?.split("/").at(-1) === "pulumi" && environment.includes(`FLIPFLAP_ROOT=${root}`) ? [Number(entry)] : [];
    } catch {
      return [];
    }
  });
}
