/** The end of an `up`: what each firewall's file says is in force, or the error says why not. */
import type { FirewallStatus } from "../../../host/contract/types.gen";
import { sections } from "../../../host/json";
import type { ObjectType } from "../../../host/objectType";
import { awaitStatus } from "../../../host/objects/awaitStatus";
import { kindFile } from "../../../host/objects/kindFile";
import { sh } from "../../../host/sh";
import { firewallStatusFile } from "./firewall";

export interface InForceSpec {
  readonly names: readonly string[];
  /** Changes with any of them, so that this runs again. */
  readonly hash: string;
}

const timeoutTenths = 300;

export const firewallsInForce: ObjectType<InForceSpec> = {
  type: "firewallsInForce",
  identity: () => [],
  waits: true,
  ensure: ({ names, hash }, owner) => sh`
    : firewalls ${hash}
    ${awaitStatus(timeoutTenths)}
    ${names.map(
      (name) =>
        sh`told ${kindFile(owner, `firewall-${name}.json`)} ${firewallStatusFile(owner, name)} siteHash ${`the firewall of ${name} is not in force`}`,
    )}
  `,
  remove: () => sh`:`,
  check: ({ names }, owner) => sh`
    ${names.map((name) => sh`echo ${`=== ${name}`}; cat ${firewallStatusFile(owner, name)} 2>/dev/null || :`)}
  `,
  wanted: ({ names }) => Object.fromEntries(names.map((name) => [name, "in force"])),
  found: (output) =>
    Object.fromEntries(
      [...sections(output)].map(([name, text]) => [
        name,
        text === "" ? "not in force" : ((JSON.parse(text) as FirewallStatus).error ?? "in force"),
      ]),
    ),
};
