/** Reading experiments: those of the project, and those that are shipped. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ConfigError, type Fault } from "../components/config/faults";
import { readYaml } from "../components/config/sources";
import { nearest, schemaFaults } from "../components/config/validate";
import { codeRoot } from "../support/project";
import type { Experiment } from "./types.gen";
import * as validators from "./validators";

/** The project's own come first. */
const folders = (root: string): string[] => [...new Set([join(root, "experiments"), join(codeRoot, "experiments")])];

export function experimentNames(root: string): string[] {
  const names = folders(root).flatMap((folder) =>
    existsSync(folder) ? readdirSync(folder).flatMap((leaf) => (leaf.endsWith(".yaml") ? [leaf.slice(0, -".yaml".length)] : [])) : [],
  );
  return [...new Set(names)].sort();
}

/** With the defaults filled in that the schema tells of. */
export function loadExperiment(root: string, name: string): Experiment {
  const shown = `experiments/${name}.yaml`;
  const path = folders(root)
    .map((folder) => join(folder, `${name}.yaml`))
    .find((file) => existsSync(file));
  const faults: Fault[] = [];
  if (path === undefined) {
    const known = experimentNames(root);
    const near = nearest(name, known);
    const fix = near === undefined ? `choose one of ${known.join(", ")}, or make it` : `did you mean "${near}"?`;
    throw new ConfigError([{ rule: "experiment-file", path: shown, what: "there is no such experiment", fix }]);
  }
  const data = readYaml(path, shown, faults);
  if (faults.length === 0) faults.push(...schemaFaults(validators.experiment, data, `${shown}: `));
  if (faults.length > 0) throw new ConfigError(faults);
  return data as Experiment;
}
