/** Where a running lab keeps what it tells the project about its servers. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { LabState } from "../components/config/labState";
import { projectFiles } from "../support/project";

export function readLabState(root: string): LabState | undefined {
  const file = projectFiles.lab(root);
  return existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as LabState) : undefined;
}

export function writeLabState(root: string, state: LabState | undefined): void {
  const file = projectFiles.lab(root);
  if (state === undefined) {
    rmSync(file, { force: true });
    return;
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(state, null, 2)}\n`);
}
