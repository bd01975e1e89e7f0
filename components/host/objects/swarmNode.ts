/** What the agent of a server needs to join the swarm, with the secret that it is given; and the way out of it. */
import type { SwarmSite } from "../contract/types.gen";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { dropKindFile, kindFile, putKindFile } from "./kindFile";
import { claimSwarm, leaveSwarm, swarmState } from "./swarm";

const leaf = "swarm.json";

export const swarmNode: ObjectType<SwarmSite> = {
  type: "swarmNode",
  identity: ({ manager, address }) => [manager, address],
  ensure: (spec, owner) => sh`
    ${swarmState}
    ${claimSwarm}
    claim_swarm
    ${putKindFile(owner, leaf, JSON.stringify(spec))}
  `,
  remove: (_, owner) => sh`
    ${swarmState}
    ${leaveSwarm}
    ${dropKindFile(owner, leaf)}
    leave_swarm
  `,
  check: (_, owner) => sh`cat ${kindFile(owner, leaf)} 2>/dev/null || :`,
  wanted: ({ manager, address }) => ({ manager, address }),
  found: (output) => {
    if (output.trim() === "") return undefined;
    const { manager, address } = JSON.parse(output) as SwarmSite;
    return { manager, address };
  },
};
