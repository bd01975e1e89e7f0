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
    is_settled() { case $(docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}') in "active true" | inactive*) ;; *) return 1 ;; esac; }
    left=300
    while ! is_settled; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || fail "the swarm does not come up: $(docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.Error}}'); restart dockerd, or give it up by docker swarm leave --force and bring all servers up anew"
      sleep 0.1
    done
    if [ "$(swarm_state)" = inactive ]; then
      # At any address: after a power cut dockerd is up before the uplink has its own, and does not try a second time.
      docker swarm init --advertise-addr ${address} --listen-addr ${`0.0.0.0:${swarmPort}`} --data-path-addr ${address} \
        --data-path-port ${dataPort} --default-addr-pool ${ownPool} --default-addr-pool-mask-length 24 >/dev/null
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
