/** What the objects of a Docker Swarm have in common. */
import { type Script, sh } from "../sh";

/** Kept while the server's part in the swarm is ours. */
export const swarmMark = "swarm";

export const swarmState: Script = sh`swarm_state() { docker info -f '{{.Swarm.LocalNodeState}}'; }`;

/** Before a server goes into a swarm of ours: a swarm brings a bridge and a folder of docker's along, which nothing takes away. */
export const claimSwarm: Script = sh`
  claim_swarm() {
    if [ ! -e "$folder/saved/${swarmMark}" ]; then
      [ "$(swarm_state)" = inactive ] || fail "this server is in a swarm that is not ours; leave it (docker swarm leave), or take kind swarm elsewhere"
      docker network inspect docker_gwbridge >/dev/null 2>&1 || save swarm.bridge made
      [ -e /var/lib/docker ] || save swarm.folder made
      save ${swarmMark} ours
    fi
  }
`;

/** Whether or not its manager still answers. */
export const leaveSwarm: Script = sh`
  leave_swarm() {
    if [ -e "$folder/saved/${swarmMark}" ]; then
      if [ "$(swarm_state)" != inactive ]; then docker swarm leave --force >/dev/null; fi
      drop_bridge() { if docker network inspect docker_gwbridge >/dev/null 2>&1; then docker network rm docker_gwbridge >/dev/null; fi; }
      restore swarm.bridge drop_bridge
      # dockerd (20.10) writes its swarm's networks there even where its data are elsewhere.
      drop_folder() {
        _root=$(docker info -f '{{.DockerRootDir}}')
        case $_root in /var/lib/docker | /var/lib/docker/*) ;; /*) rm -rf /var/lib/docker/network; rmdir --ignore-fail-on-non-empty /var/lib/docker ;; *) fail "dockerd does not say where its data are; start it, and run this again" ;; esac
      }
      restore swarm.folder drop_folder
      forget ${swarmMark}
    fi
    prune
  }
`;

/** What the agent runs in an overlay's network namespace before a system is let in; below the folder of kinds. */
export const guardLeaf = (dockerNetwork: string): string => `${dockerNetwork}.sh`;

/** The namespace of an overlay on this server; nothing where it has none now: overlay_namespace NETWORK */
export const overlayNamespace: Script = sh`
  overlay_namespace() {
    id=$(docker network inspect -f '{{.ID}}' "$1" 2>/dev/null) || return 0
    path=/run/docker/netns/1-$(printf '%.10s' "$id")
    if [ -n "$id" ] && nsenter --net="$path" true 2>/dev/null; then echo "$path"; fi
  }
`;
