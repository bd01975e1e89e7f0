/** The end of an `up`: what each firewall's file says is in force, or the error says why not. */
import type { FirewallStatus } from "../../../host/contract/types.gen";
import { sections } from "../../../host/json";
import type { ObjectType } from "../../../host/objectType";
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
    left=${timeoutTenths}
    ${names.map((name) => {
      const status = firewallStatusFile(owner, name);
      return sh`
        hash=$(sha256sum <${kindFile(owner, `firewall-${name}.json`)}); hash=\${hash%% *}
        until grep -qs "\"siteHash\":\"$hash\"" ${status} && ! grep -q '"error"' ${status}; do
          left=$((left - 1))
          if [ "$left" -le 0 ]; then
            reason="the agent has said nothing of it: docker logs ff-agent"
            if grep -qs '"error"' ${status}; then reason=$(sed -n 's/.*"error":"\(.*\)".*/\1/p' ${status}); fi
            fail ${`the firewall of ${name} is not in force:`} "$reason"
          fi
          sleep 0.1
        done
      `;
    })}
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
