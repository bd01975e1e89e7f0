/** The server takes part in the swarm: what its overlays wait for. The agent joins it. */
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { statusFolder } from "./agentFolders";

const timeoutTenths = 300;

export const swarmJoined: ObjectType<Record<never, never>> = {
  type: "swarmJoined",
  identity: () => [],
  waits: true,
  ensure: (_, owner) => sh`
    left=${timeoutTenths}
    until [ "$(docker info -f '{{.Swarm.LocalNodeState}}')" = active ]; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || fail "not in the swarm: $(cat ${statusFolder(owner)}/swarm 2>/dev/null || echo 'the agent has said nothing of it: docker logs ff-agent')"
      sleep 0.1
    done
  `,
  remove: () => sh`:`,
  check: () => sh`docker info -f '{{.Swarm.LocalNodeState}}'`,
  wanted: () => ({ state: "active" }),
  found: (output) => ({ state: output.trim() }),
};
