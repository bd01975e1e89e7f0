/** An attachable overlay network of the swarm, made on its manager. */
import { type ObjectType, stackLabel } from "../objectType";
import { sh } from "../sh";

export interface SwarmNetworkSpec {
  readonly dockerNetwork: string;
  readonly subnet: string;
  /** What the swarm takes its own addresses from. */
  readonly ownRange: string;
  readonly mtuBytes: number;
}

/** docker takes VXLAN's bytes off what it is told. */
const vxlanBytes = 50;
const mtuOption = "com.docker.network.driver.mtu";

export const swarmNetwork: ObjectType<SwarmNetworkSpec> = {
  type: "swarmNetwork",
  identity: (spec) => [spec.dockerNetwork, spec.subnet, String(spec.mtuBytes)],
  ensure: ({ dockerNetwork, subnet, ownRange, mtuBytes }, { stack }) => sh`
    network=${dockerNetwork}
    if docker network inspect "$network" >/dev/null 2>&1; then
      case $(docker network inspect -f '{{.Driver}} {{index .Labels "${stackLabel}"}}' "$network") in
        ${`overlay ${stack}`}) ;;
        *) fail "$network: docker has a network of this name that is not ours; remove it, or rename what is declared" ;;
      esac
    else
      # Internal: its systems have no second way out by a bridge of the server's.
      docker network create --driver overlay --attachable --internal --subnet ${subnet} --ip-range ${ownRange} \
        --opt ${`${mtuOption}=${mtuBytes + vxlanBytes}`} --label ${`${stackLabel}=${stack}`} "$network" >/dev/null
    fi
  `,
  remove: ({ dockerNetwork }, { stack }) => sh`
    network=${dockerNetwork}
    # Other servers' systems leave it at the same time; what is left goes with the swarm.
    left=60
    while [ "$(docker network inspect -f '{{index .Labels "${stackLabel}"}}' "$network" 2>/dev/null)" = ${stack} ]; do
      docker network rm "$network" >/dev/null 2>&1 && break
      left=$((left - 1))
      [ "$left" -gt 0 ] || break
      sleep 0.1
    done
  `,
  check: ({ dockerNetwork }) => sh`
    docker network inspect -f '{{(index .IPAM.Config 0).Subnet}} {{index .Options "${mtuOption}"}} {{.Attachable}} {{.Internal}}' ${dockerNetwork} 2>/dev/null || :
  `,
  wanted: ({ subnet, mtuBytes }) => ({ subnet, mtuBytes, attachable: true, internal: true }),
  found: (output) => {
    const [subnet, mtu, attachable, internal] = output.trim().split(" ");
    if (subnet === undefined || subnet === "") return undefined;
    return { subnet, mtuBytes: Number(mtu) - vxlanBytes, attachable: attachable === "true", internal: internal === "true" };
  },
};
