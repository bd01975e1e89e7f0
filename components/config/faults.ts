/** What is wrong with a declaration: where, what, and how to fix it. */

export interface Fault {
  /** Which rule says so; every rule has a golden case in tests/errors. */
  readonly rule: string;
  readonly path: string;
  readonly what: string;
  readonly fix: string;
}

/** Names one property: networks.red-net.mtuBytes. */
export type Report = (path: string, what: string, fix: string) => void;

export interface Rule<Context> {
  readonly id: string;
  readonly check: (context: Context, report: Report) => void;
}

export function applyRules<Context>(rules: readonly Rule<Context>[], context: Context): Fault[] {
  const faults: Fault[] = [];
  for (const rule of rules) {
    rule.check(context, (path, what, fix) => faults.push({ rule: rule.id, path, what, fix }));
  }
  return faults;
}

export function faultText(fault: Fault): string {
  return `${fault.path}: ${fault.what}; ${fault.fix}`;
}

/** All faults at once, before anything is touched. */
export class ConfigError extends Error {
  constructor(readonly faults: readonly Fault[]) {
    const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
    super(`The declaration has ${count}; nothing was changed.\n${faults.map((fault) => `  ${faultText(fault)}`).join("\n")}`);
    this.name = "ConfigError";
    // A user's mistake has no stack trace worth reading.
    this.stack = this.message;
  }
}
