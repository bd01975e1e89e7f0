/** An attachable overlay network of the swarm, made on its manager. */
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { hasNetwork, ownLabel, ownsNetwork } from "./ownNetwork";

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
  ensure: ({ dockerNetwork, subnet, ownRange, mtuBytes }, owner) => sh`
    network=${dockerNetwork}
    ${hasNetwork(owner)}
    # Internal: its systems have no second way out by a bridge of the server's.
    has_network "$network" overlay ||
      docker network create --driver overlay --attachable --internal --subnet ${subnet} --ip-range ${ownRange} \
        --opt ${`${mtuOption}=${mtuBytes + vxlanBytes}`} --label ${ownLabel(owner)} "$network" >/dev/null
  `,
  remove: ({ dockerNetwork }, owner) => sh`
    network=${dockerNetwork}
    ${ownsNetwork(owner)}
    # Other servers' systems leave it at the same time; what is left goes with the swarm.
    left=60
    while owns_network "$network"; do
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
