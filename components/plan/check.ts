/** A declaration that holds: read, schema-checked, and by the rules of the testbed and of every kind. */
import { capabilities } from "../capabilities/registry";
import type { Declaration } from "../config/declaration";
import { applyRules, ConfigError, type Fault } from "../config/faults";
import type { LabState } from "../config/labState";
import { loadDeclaration } from "../config/load";
import { allKinds } from "../kinds/registry";
import { routerRules } from "./routers";
import { testbedRules } from "./rules";
import { policyRules } from "./rules/policies";

export function ruleFaults(declaration: Declaration): Fault[] {
  const faults = [testbedRules, policyRules, routerRules, ...capabilities.map((capability) => capability.rules)].flatMap((rules) =>
    applyRules(rules, declaration),
  );
  for (const kind of allKinds) {
    const networks = declaration.testbed.networks.filter((network) => network.kind === kind.kind);
    faults.push(...applyRules(kind.rules, { declaration, networks }));
  }
  return faults;
}

/** Throws a ConfigError with every fault. */
export function checkedDeclaration(root: string, lab: LabState | undefined, needsLab: boolean, asked?: string): Declaration {
  const { declaration, faults } = loadDeclaration(root, lab, needsLab, asked);
  const all = declaration === undefined ? faults : [...faults, ...ruleFaults(declaration)];
  if (declaration === undefined || all.length > 0) throw new ConfigError(all);
  return declaration;
}
