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
    until [ "$(docker info -f '{{.Swarm.LocalNodeState}}')" = active ] && docker network inspect docker_gwbridge >/dev/null 2>&1; do
      left=$((left - 1))
      if [ "$left" -le 0 ] && [ "$(docker info -f '{{.Swarm.LocalNodeState}}')" = active ]; then
        fail "in the swarm, but dockerd's part in its overlays did not start (its log says why; where it holds port 7946 of a swarm that it has left: restart dockerd)"
      fi
      [ "$left" -gt 0 ] || fail "not in the swarm: $(cat ${statusFolder(owner)}/swarm 2>/dev/null || echo 'the agent has said nothing of it: docker logs ff-agent')"
      sleep 0.1
    done
  `,
  remove: () => sh`:`,
  check: () => sh`
    docker info -f '{{.Swarm.LocalNodeState}}'
    if docker network inspect docker_gwbridge >/dev/null 2>&1; then echo overlays; fi
  `,
  wanted: () => ({ state: "active", overlays: true }),
  found: (output) => {
    const [state = "", overlays = ""] = output.split("\n");
    return { state, overlays: overlays === "overlays" };
  },
};
