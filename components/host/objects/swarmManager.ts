/** A Docker Swarm with this server as its manager; the word by which others join is a file in the stack's folder. */
import { type ObjectType, ownerFolder } from "../objectType";
import { sh } from "../sh";
import { claimSwarm, leaveSwarm, swarmState } from "./swarm";

export interface SwarmManagerSpec {
  readonly address: string;
  /** UDP port of the overlays' VXLAN. */
  readonly dataPort: number;
}

export const swarmPort = 2377;
/** Below the stack's folder. */
export const joinFile = "swarm/join";

/** Of networks that the swarm makes for itself: one, in a range that nobody else is likely to use (RFC 6598). */
const ownPool = "100.127.255.0/24";

export const swarmManager: ObjectType<SwarmManagerSpec> = {
  type: "swarmManager",
  identity: ({ address, dataPort }) => [address, String(dataPort)],
  ensure: ({ address, dataPort }) => sh`
    ${swarmState}
    ${claimSwarm}
    claim_swarm
    parts="--advertise-addr "${address}" --listen-addr "${`${address}:${swarmPort}`}" --data-path-addr "${address}" --data-path-port "${dataPort}
    is_settled() { case $(docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}') in "active true" | inactive*) ;; *) return 1 ;; esac; }
    left=100
    while ! is_settled && [ "$left" -gt 0 ]; do
      left=$((left - 1))
      sleep 0.1
    done
    # After a power cut dockerd was up before the address that it listens at, and does not try again: from what it has on disk,
    # with the same nodes, networks and words.
    if ! is_settled; then docker swarm init --force-new-cluster $parts >/dev/null; fi
    if [ "$(swarm_state)" = inactive ]; then
      docker swarm init $parts --default-addr-pool ${ownPool} --default-addr-pool-mask-length 24 >/dev/null
    fi
    umask 077
    mkdir -p "$folder/swarm"
    docker swarm join-token -q worker >"$folder/${joinFile}"
  `,
  remove: () => sh`
    ${swarmState}
    ${leaveSwarm}
    rm -rf "$folder/swarm"
    # Two that leave in the same second leave one another's farewell unheard, and dockerd (20.10) then keeps its gossip's port
    # until it is started anew. So the others first, if they go at all.
    left=60
    while [ "$left" -gt 0 ] && docker node ls --format '{{.Status}} {{.Self}}' 2>/dev/null | grep -q '^Ready false'; do
      left=$((left - 1))
      sleep 0.1
    done
    leave_swarm
  `,
  check: (_, owner) => sh`
    docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}} {{.Swarm.NodeAddr}}'
    if [ -s ${`${ownerFolder(owner)}/${joinFile}`} ]; then echo token; fi
  `,
  wanted: ({ address }) => ({ state: "active", manages: true, address, token: true }),
  found: (output) => {
    const [state = "", manages, address = ""] = output.split("\n")[0]?.split(" ") ?? [];
    if (state === "inactive") return undefined;
    return { state, manages: manages === "true", address, token: /^token$/m.test(output) };
  },
};
