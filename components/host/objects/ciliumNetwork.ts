/** A network of docker's by Cilium's plugin on a server. */
import { ownContainers } from "../../net/names";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { pluginSockets } from "./ciliumSite";
import { hasNetwork, ownLabel, ownsNetwork } from "./ownNetwork";

export interface CiliumNetworkSpec {
  readonly dockerNetwork: string;
  readonly subnet: string;
  /** Docker wants one, and nobody has it: systems route by Cilium's own device. */
  readonly nobody: string;
}

const timeoutTenths = 600;

export const ciliumNetwork: ObjectType<CiliumNetworkSpec> = {
  type: "ciliumNetwork",
  identity: ({ dockerNetwork, subnet }) => [dockerNetwork, subnet],
  waits: true,
  ensure: ({ dockerNetwork, subnet, nobody }, owner) => sh`
    network=${dockerNetwork}
    ${hasNetwork(owner)}
    if has_network "$network" cilium; then exit 0; fi
    left=${timeoutTenths}
    until [ -S ${pluginSockets}/cilium.sock ] && docker exec ${ownContainers.cilium} cilium-dbg status --brief >/dev/null 2>&1; do
      left=$((left - 1))
      [ "$left" -gt 0 ] || fail "Cilium is not ready: docker logs ${ownContainers.cilium}; docker logs ${ownContainers.ciliumPlugin}"
      sleep 0.1
    done
    docker network create --driver cilium --subnet ${subnet} --gateway ${nobody} --label ${ownLabel(owner)} "$network" >/dev/null
  `,
  remove: ({ dockerNetwork }, owner) => sh`
    network=${dockerNetwork}
    ${ownsNetwork(owner)}
    if owns_network "$network"; then
      # A container that was left in it could not stay.
      for id in $(docker network inspect -f '{{range $id, $_ := .Containers}}{{$id}} {{end}}' "$network"); do
        docker network disconnect -f "$network" "$id" >/dev/null 2>&1 || :
      done
      docker network rm "$network" >/dev/null
    fi
  `,
  check: ({ dockerNetwork }) =>
    sh`docker network inspect -f '{{.Driver}} {{(index .IPAM.Config 0).Subnet}}' ${dockerNetwork} 2>/dev/null || :`,
  wanted: ({ subnet }) => ({ driver: "cilium", subnet }),
  found: (output) => {
    const [driver, subnet] = output.trim().split(" ");
    return driver === undefined || driver === "" || subnet === undefined ? undefined : { driver, subnet };
  },
};
