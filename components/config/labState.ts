/** What a running lab tells the project about its servers. */
import type { ServerDeclaration } from "./declaration";
import type { Underlay } from "./types.gen";

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
