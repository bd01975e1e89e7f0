/** Cross-field rules that hold for every kind. Each has a golden case in tests/errors. */
import type { Declaration } from "../../config/declaration";
import type { Rule } from "../../config/faults";
import { addressRules } from "./addresses";
import { nameRules } from "./names";
import { serverRules } from "./servers";
import { systemRules } from "./systems";

export const testbedRules: readonly Rule<Declaration>[] = [...nameRules, ...addressRules, ...serverRules, ...systemRules];
