/** What the agent of a server needs to join the swarm, with the secret that it is given; and the way out of it. */
import type { ObjectType, Owner } from "../objectType";
import { sh } from "../sh";
import { specsFolder } from "./agentFolders";
import { claimSwarm, leaveSwarm, swarmState } from "./swarm";

/** The contract with agent/swarm.go: the same names. */
export interface SwarmNodeSpec {
  /** "ADDRESS:PORT" */
  readonly manager: string;
  readonly address: string;
}

const file = (owner: Owner): string => `${specsFolder(owner)}/kinds/swarm.json`;

export const swarmNode: ObjectType<SwarmNodeSpec> = {
  type: "swarmNode",
  identity: ({ manager, address }) => [manager, address],
  ensure: (spec, owner) => sh`
    ${swarmState}
    ${claimSwarm}
    claim_swarm
    file=${file(owner)}
    mkdir -p "\${file%/*}"
    printf '%s\n' ${JSON.stringify(spec)} >"$file.new"
    mv "$file.new" "$file"
  `,
  remove: (_, owner) => sh`
    ${swarmState}
    ${leaveSwarm}
    rm -f ${file(owner)}
    rmdir ${`${specsFolder(owner)}/kinds`} 2>/dev/null || :
    leave_swarm
  `,
  check: (_, owner) => sh`cat ${file(owner)} 2>/dev/null || :`,
  wanted: ({ manager, address }) => ({ manager, address }),
  found: (output) => {
    if (output.trim() === "") return undefined;
    const { manager, address } = JSON.parse(output) as SwarmNodeSpec;
    return { manager, address };
  },
};
