/** What `flipflap status` shows beside systems. */
import type { Script } from "../host/sh";

/** What `flipflap status` tells of a kind on a server, beside its systems. */
export interface Observation {
  readonly title: string;
  /** Prints what `read` reads. Changes nothing. */
  readonly script: Script;
  read(output: string): ObservedTable;
  /** Packets that it has dropped, by the reason in words. */
  drops?(output: string): ReadonlyMap<string, number>;
}

export interface ObservedTable {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** What is wrong, with the reason; a healthy testbed has none. */
  readonly problems: readonly string[];
}
