import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { type Fault, faultText } from "../../components/config/faults";
import { loadDeclaration } from "../../components/config/load";
import { ruleFaults } from "../../components/plan/check";
import { warningsOf } from "../../components/plan/warnings";
import { projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { askedTestbed, jsonOption, testbedOption, type Verb } from "../verb";

/** A file on this machine, else a testbed's name. */
function target(words: readonly string[], named: string | undefined): string | undefined {
  if (words.length > 1 || (words.length === 1 && named !== undefined)) throw new UsageError("name one testbed");
  const [file] = words;
  if (file === undefined) return named;
  const path = resolve(file);
  // A name without an ending is one of testbeds/.
  return /\.ya?ml$/.test(file) || existsSync(path) ? path : file;
}

export const validate: Verb = {
  name: "validate",
  words: "[FILE]",
  summary: "check a testbed file against the schema and every rule; for editors and CI",
  details: `
Reads the project's stack files for the servers and their addresses. Needs no running lab, no server and no state, and
changes nothing.

  flipflap validate                         the testbed that the stack files name
  flipflap validate testbeds/evpn.yaml      a file
  flipflap validate --testbed evpn --json   one of testbeds/, for machines

Exit code 0: nothing to say but warnings; 1: it has faults, each with where, what and how to fix it.`,
  options: { ...jsonOption, ...testbedOption },
  run: ({ words, flags }) => {
    const asked = target(words, askedTestbed(flags));
    const { declaration, faults: form } = loadDeclaration(projectRoot(), undefined, false, asked);
    const faults: Fault[] = declaration === undefined ? form : [...form, ...ruleFaults(declaration)];
    const warnings = declaration === undefined || faults.length > 0 ? [] : warningsOf(declaration);
    if (flags.json === true) console.log(JSON.stringify({ faults, warnings }, null, 2));
    else {
      for (const fault of faults) console.log(faultText(fault));
      for (const { path, what, fix } of warnings) console.log(`warning: ${path}: ${what}; ${fix}`);
      const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
      console.log(`${declaration?.name ?? asked ?? "testbed"}: ${faults.length === 0 ? "no faults" : count}`);
    }
    return Promise.resolve(faults.length > 0 ? 1 : 0);
  },
};
