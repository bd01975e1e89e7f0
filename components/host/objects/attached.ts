/** The end of an `up`: every system of the server is attached as its plan says, or the error names those that are not. */
import type { AttachStatus } from "../contract/types.gen";
import { jsonList, sections } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { specsFolder, statusFolder } from "./agentFolders";
import { awaitStatus } from "./awaitStatus";

export interface AttachedSpec {
  readonly systems: readonly string[];
  /** Changes with any plan, so that this runs again. */
  readonly plansHash: string;
}

const timeoutTenths = 150;

export const attached: ObjectType<AttachedSpec> = {
  type: "attached",
  identity: () => [],
  waits: true,
  ensure: (spec, owner) => sh`
    : plans ${spec.plansHash}
    ${awaitStatus(timeoutTenths)}
    for system in ${[...spec.systems]}; do
      told ${specsFolder(owner)}/$system.json ${statusFolder(owner)}/$system.json specHash "$system: not attached"
    done
  `,
  remove: () => sh`:`,
  check: (spec, owner) => sh`
    for system in ${[...spec.systems]}; do
      echo "=== $system"; if { read -r status <${statusFolder(owner)}/$system.json; } 2>/dev/null; then printf '%s\n' "$status"; fi
    done
  `,
  wanted: (spec) => Object.fromEntries(spec.systems.map((system) => [system, "attached"])),
  found: (output) =>
    Object.fromEntries(
      [...sections(output)].map(([system, text]) => {
        const status = jsonList<AttachStatus>(text === "" ? "" : `[${text}]`)[0];
        return [system, status === undefined ? "not attached" : (status.error ?? status.waiting ?? "attached")];
      }),
    ),
};
