/** The folders that a server's agent follows and writes. */
import { type ObjectType, ownerFolder, type Owner } from "../objectType";
import { type Script, sh } from "../sh";

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

/** Whether a container has these very folders; one that does not run has none that are wrong: sees_them CONTAINER SPECS STATUS */
const seesThem: Script = sh`
  sees_them() {
    _pid=$(docker inspect -f '{{.State.Pid}}' "$1" 2>/dev/null) || _pid=0
    [ "$_pid" = 0 ] || { [ "/proc/$_pid/root/specs" -ef "$2" ] && [ "/proc/$_pid/root/status" -ef "$3" ]; }
  }
`;

export const agentFolders: ObjectType<AgentFoldersSpec> = {
  type: "agentFolders",
  identity: () => [],
  ensure: ({ container }, owner) => sh`
    ${seesThem}
    mkdir -p ${specsFolder(owner)} ${statusFolder(owner)}
    # A container that runs holds the folders that were there at its start, under whatever name.
    if ! sees_them ${container} ${specsFolder(owner)} ${statusFolder(owner)}; then docker restart -t 1 ${container} >/dev/null; fi
  `,
  remove: (_, owner) => sh`
    rm -rf ${specsFolder(owner)} ${statusFolder(owner)}
    prune
    if [ -d /run/flipflap ] && [ -z "$(ls -A /run/flipflap)" ]; then rmdir /run/flipflap; fi
  `,
  check: ({ container }, owner) => sh`
    ${seesThem}
    if [ -d ${specsFolder(owner)} ] && [ -d ${statusFolder(owner)} ] && sees_them ${container} ${specsFolder(owner)} ${statusFolder(owner)}; then echo present; fi
  `,
  wanted: () => ({ present: true }),
  found: (output) => (output.trim() === "present" ? { present: true } : undefined),
};
