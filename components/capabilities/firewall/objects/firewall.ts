/** A tenant's firewall on a server: two files that the agent follows, the rules and whom they are for. */
import type { FirewallSite, FirewallStatus } from "../../../host/contract/types.gen";
import { jsonInOrder, sections } from "../../../host/json";
import type { ObjectType, Owner } from "../../../host/objectType";
import { statusFolder } from "../../../host/objects/agentFolders";
import { dropKindFile, kindFile, putKindFile } from "../../../host/objects/kindFile";
import { type Packed, unpack } from "../../../host/packed";
import { sh } from "../../../host/sh";

export interface FirewallSpec {
  readonly site: FirewallSite;
  readonly rules: Packed;
}

const leaf = (name: string): string => `firewall-${name}.json`;
const siteText = ({ site }: FirewallSpec): string => jsonInOrder(site, 1);

export const firewallStatusFile = (owner: Owner, name: string): string => `${statusFolder(owner)}/firewall/${name}.json`;

export const firewallSite: ObjectType<FirewallSpec> = {
  type: "firewall",
  identity: ({ site }) => [site.name],
  ensure: (spec, owner) => {
    const { site, rules } = spec;
    const base = kindFile(owner, `firewall-${site.name}`);
    return sh`
      rules=${`${base}.${site.rules}.rules`}
      mkdir -p "\${rules%/*}"
      { ${unpack(rules)}; } >"$rules.new"
      mv "$rules.new" "$rules"
      ${putKindFile(owner, leaf(site.name), siteText(spec))}
      for file in ${base}.*.rules; do [ "$file" = "$rules" ] || rm -f "$file"; done
    `;
  },
  remove: ({ site }, owner) => sh`
    rm -f ${kindFile(owner, `firewall-${site.name}`)}.*.rules
    ${dropKindFile(owner, leaf(site.name))}
  `,
  check: ({ site }, owner) => {
    const base = kindFile(owner, `firewall-${site.name}`);
    return sh`
      if [ -e ${`${base}.json`} ]; then
        echo "=== site"; cat ${`${base}.json`}
        echo "=== rules"; sha256sum ${base}.*.rules 2>/dev/null | cut -d' ' -f1
        echo "=== force"; cat ${firewallStatusFile(owner, site.name)} 2>/dev/null || :
      fi
    `;
  },
  wanted: (spec) => ({ site: siteText(spec), rules: spec.site.rules, force: "in force" }),
  found: (output, { site }) => {
    const parts = sections(output);
    const told = parts.get("site");
    if (told === undefined) return undefined;
    const said = parts.get("force") ?? "";
    const status = said === "" ? undefined : (JSON.parse(said) as FirewallStatus);
    const force =
      status === undefined
        ? "the agent has said nothing of it"
        : (status.error ?? (status.rules === site.rules ? "in force" : "other rules"));
    return { site: told, rules: parts.get("rules") ?? "", force };
  },
};
