/** From an experiment's matrix to its cells. Pure. */
import type { ExperimentRulesSpec } from "../components/host/objects/experimentRules";
import type { Experiment, Matrix, Profile } from "./types.gen";

export type ProfileName = keyof Experiment["profiles"];

/** One value of each; what an experiment does not vary and has no default is absent. */
export interface Cell {
  readonly network: string;
  readonly placement: "same-server" | "across";
  readonly streams: number;
  readonly direction: "forward" | "reverse";
  readonly cores: "free" | "one";
  readonly systems?: number;
  readonly sites?: number;
  readonly rules?: number;
  readonly filter?: ExperimentRulesSpec["filter"];
  readonly match?: "none" | "top";
  readonly mtuBytes?: number;
  readonly tso?: boolean;
}

/** Server to server: what a path is compared with has the same streams, direction and cores. */
export type BaselineCell = Pick<Cell, "streams" | "direction" | "cores"> & { readonly network: "" };

export type AnyCell = Cell | BaselineCell;

export const isBaseline = (cell: AnyCell): cell is BaselineCell => cell.network === "";

const defaults = { placement: ["across"], streams: [1], direction: ["forward"], cores: ["free"] } as const satisfies Matrix;

/** Without rules it does not matter how they would be made; nor where they are policies, which are not tried one after the other. */
function settled(cell: Cell, arePolicies: boolean): Cell {
  if (cell.rules === undefined || (cell.rules > 0 && !arePolicies)) return cell;
  const { filter: _, match: __, ...rest } = cell;
  return rest;
}

export function cellKey(cell: AnyCell): string {
  return Object.entries(cell)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(" ");
}

export const profileOf = (experiment: Experiment, name: ProfileName): Profile => experiment.profiles[name];

function matrixOf(experiment: Experiment, profile: ProfileName): Matrix {
  const matrix = { ...defaults, ...experiment.matrix, ...profileOf(experiment, profile).matrix };
  if (experiment.method === "boot") return { systems: matrix.systems ?? [10], placement: ["same-server"] };
  if (experiment.method === "boot-tunnels") return { sites: matrix.sites ?? [1], placement: ["same-server"] };
  return matrix.rules === undefined ? matrix : { filter: ["iptables"], match: ["none"], ...matrix };
}

/** Every combination, each once, in the order of the matrix. `byPolicies`: networks whose rules are policies. */
export function cellsOf(
  experiment: Experiment,
  profile: ProfileName,
  networks: readonly string[],
  byPolicies: readonly string[] = [],
): Cell[] {
  let cells: Record<string, unknown>[] = networks.map((network) => ({ network }));
  const matrix = { ...defaults, ...matrixOf(experiment, profile) };
  for (const [key, values] of Object.entries(matrix) as [string, readonly unknown[]][])
    cells = cells.flatMap((cell) => values.map((value) => ({ ...cell, [key]: value })));
  const unique = new Map(
    cells.map((cell) => settled(cell as unknown as Cell, byPolicies.includes(String(cell.network)))).map((cell) => [cellKey(cell), cell]),
  );
  return [...unique.values()];
}

export function baselineOf({ streams, direction, cores }: AnyCell): BaselineCell {
  return { network: "", streams, direction, cores };
}

/** What people read: the values by which the cells differ. */
export function cellLabel(cell: AnyCell, all: readonly AnyCell[]): string {
  const own = cell as unknown as Record<string, unknown>;
  // What is absent, as the filter of a cell without rules, is no value of its own.
  const values = (key: string): Set<unknown> =>
    new Set(all.flatMap((one) => (isBaseline(one) ? [] : ((one as unknown as Record<string, unknown>)[key] ?? []))));
  const varied = (keys: readonly string[]): string[] => keys.filter((key) => values(key).size > 1 && own[key] !== undefined);
  if (isBaseline(cell)) {
    const more = varied(["streams", "direction", "cores"]).map((key) => valueText(key, own[key]));
    return ["server to server", ...more].join(", ");
  }
  const keys = varied(["placement", "filter", "match", "rules", "streams", "direction", "cores", "mtuBytes", "tso", "systems", "sites"]);
  return [cell.network, ...keys.map((key) => valueText(key, own[key]))].join(", ");
}

export function valueText(key: string, value: unknown): string {
  switch (key) {
    case "placement":
      return value === "across" ? "two servers" : "one server";
    case "rules":
      return value === 1 ? "1 rule" : `${String(value)} rules`;
    case "match":
      return value === "top" ? "first matches" : "none matches";
    case "streams":
      return value === 1 ? "1 stream" : `${String(value)} streams`;
    case "cores":
      return value === "one" ? "one core" : "cores free";
    case "mtuBytes":
      return `MTU ${String(value)}`;
    case "tso":
      return value === true ? "TSO on" : "TSO off";
    case "systems":
      return value === 1 ? "1 system" : `${String(value)} systems`;
    case "sites":
      return value === 1 ? "1 site" : `${String(value)} sites`;
    default:
      return String(value);
  }
}
