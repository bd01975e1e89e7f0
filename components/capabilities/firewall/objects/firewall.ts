/** A tenant's firewall on a server: two files that the agent follows, the rules and whom they are for. */
import type { FirewallSite, FirewallStatus } from "../../../host/contract/types.gen";
import { jsonInOrder, sections } from "../../../host/json";
import type { ObjectType, Owner } from "../../../host/objectType";
import { statusFolder } from "../../../host/objects/agentFolders";
import { dropKindFile, kindFile, putKindFile } from "../../../host/objects/kindFile";
import { sh } from "../../../host/sh";

const leaf = (name: string): string => `firewall-${name}.json`;
const siteText = (site: FirewallSite): string => jsonInOrder(site, 1);

export const rulesLeaf = (name: string, hash: string): string => `firewall-${name}.${hash}.rules`;
/** Rules of an experiment, in the place of those that are declared. */
export const insteadLeaf = (name: string): string => `firewall-${name}.experiment`;
/** Below the agent's status. */
export const statusLeaf = (name: string): string => `firewall/${name}.json`;

/** Where its rules are sent: the agent finds them beside. */
export const rulesFile = (owner: Owner, { name, rules }: FirewallSite): string => kindFile(owner, rulesLeaf(name, rules));

export const firewallStatusFile = (owner: Owner, name: string): string => `${statusFolder(owner)}/${statusLeaf(name)}`;

export const firewallSite: ObjectType<FirewallSite> = {
  type: "firewall",
  identity: ({ name }) => [name],
  ensure: (site, owner) => putKindFile(owner, leaf(site.name), siteText(site)),
  remove: ({ name }, owner) => dropKindFile(owner, leaf(name)),
  check: ({ name }, owner) => sh`
    if [ -e ${kindFile(owner, leaf(name))} ]; then
      echo "=== site"; cat ${kindFile(owner, leaf(name))}
      echo "=== force"; cat ${firewallStatusFile(owner, name)} 2>/dev/null || :
    fi
  `,
  wanted: (site) => ({ site: siteText(site), force: "in force" }),
  found: (output, { rules }) => {
    const parts = sections(output);
    const told = parts.get("site");
    if (told === undefined) return undefined;
    const said = parts.get("force") ?? "";
    const status = said === "" ? undefined : (JSON.parse(said) as FirewallStatus);
    if (status === undefined) return { site: told, force: "the agent has said nothing of it" };
    return { site: told, force: status.error ?? (status.rules === rules ? "in force" : "other rules") };
  },
};
