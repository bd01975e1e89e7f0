/** The folders that a server's agent follows and writes. */
import { type ObjectType, ownerFolder, type Owner } from "../objectType";
import { sh } from "../sh";

export interface AgentFoldersSpec {
  /** Systems come and go; the folders stay as long as the agent does. */
  readonly container: string;
}

export function specsFolder(owner: Owner): string {
  return `${ownerFolder(owner)}/attach`;
}

export function statusFolder(owner: Owner): string {
  return `/run/flipflap/${owner.stack}`;
}

export const agentFolders: ObjectType<AgentFoldersSpec> = {
  type: "agentFolders",
  identity: () => [],
  ensure: (_, owner) => sh`mkdir -p ${specsFolder(owner)} ${statusFolder(owner)}`,
  remove: (_, owner) => sh`
    rm -rf ${specsFolder(owner)} ${statusFolder(owner)}
    prune
    if [ -d /run/flipflap ] && [ -z "$(ls -A /run/flipflap)" ]; then rmdir /run/flipflap; fi
  `,
  check: (_, owner) => sh`if [ -d ${specsFolder(owner)} ] && [ -d ${statusFolder(owner)} ]; then echo present; fi`,
  wanted: () => ({ present: true }),
  found: (output) => (output.trim() === "present" ? { present: true } : undefined),
};
