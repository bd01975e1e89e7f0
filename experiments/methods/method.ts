/** What a way of measuring is. */
import type { Declaration } from "../../components/config/declaration";
import type { AnyCell, Cell } from "../cells";
import type { End, Site } from "../site";
import type { Experiment } from "../types.gen";

export interface Measured {
  /** In the method's unit. */
  readonly value: number;
  /** Other figures of the same measurement, by their names with units. */
  readonly details: Readonly<Record<string, number>>;
  /** What the tool printed. */
  readonly raw: string;
}

/** What a measurement between two ends depends on, beside the ends. */
export interface LinkOptions extends Pick<Cell, "streams" | "direction" | "cores"> {
  readonly seconds: number;
  /** Where policies let none other in: the ports that the far end may listen at. */
  readonly ports?: { readonly first: number; readonly last: number };
  readonly experiment: Pick<Experiment, "protocol" | "requestBytes" | "responseBytes" | "packetBytes" | "congestionControl">;
}

interface MethodBase {
  readonly unit: string;
  readonly better: "more" | "less";
}

/** Between two ends; server to server is the baseline. */
export interface LinkMethod extends MethodBase {
  readonly between: "ends";
  measure(site: Site, from: End, to: End, options: LinkOptions): Promise<Measured>;
}

/** On a server; there is nothing of the kind to compare with but the smallest cell. */
export interface ServerMethod extends MethodBase {
  readonly between: "none";
  /** What is measured is the testbed, not each of its networks: the one that it is called by. */
  network?(declaration: Declaration): string | undefined;
  /** Why a cell cannot be measured there; undefined where it can. */
  impossible(declaration: Declaration, cell: Cell): string | undefined;
  measure(site: Site, cell: Cell): Promise<Measured>;
}

/** Named and refused, with the reason. */
export interface MissingMethod extends MethodBase {
  readonly between: "missing";
  readonly reason: string;
}

export type Method = LinkMethod | ServerMethod | MissingMethod;

export function linkOptions(cell: AnyCell, experiment: Experiment, seconds: number): LinkOptions {
  const { streams, direction, cores } = cell;
  return { streams, direction, cores, seconds, experiment };
}
