/** What a running lab tells the project about its servers. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type { ServerDeclaration } from "../components/config/declaration";
import type { Underlay } from "../components/config/types.gen";
import { projectFiles } from "../support/project";

/** All that a stack file says of a real server. */
export type LabServerFacts = Omit<ServerDeclaration, "name" | "hub" | "isLab"> & {
  readonly underlay: Required<Underlay>;
  readonly locator: string;
};

export interface LabState {
  readonly name: string;
  readonly slot: number;
  readonly servers: Readonly<Record<string, LabServerFacts>>;
}

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
