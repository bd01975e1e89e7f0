/** What `flipflap status` tells of the swarm. */
import type { SwarmNetwork } from "../../config/types.gen";
import { sh } from "../../host/sh";
import type { KindContext } from "../contexts";
import type { Observation } from "../observation";

export function observations({ server, networks }: KindContext<SwarmNetwork>): Observation[] {
  if (networks.length === 0) return [];
  return [
    {
      title: "swarm",
      script: sh`docker info -f '{{.Swarm.LocalNodeState}} {{.Swarm.NodeAddr}} {{.Swarm.ControlAvailable}} {{.Swarm.Nodes}}'`,
      read: (output) => {
        const [state = "no answer", address = "", manages, nodes = ""] = output.trim().split(" ");
        return {
          columns: ["SWARM", "STATE", "ROLE", "NODES KNOWN"],
          rows: [[address, state, manages === "true" ? "manager" : "worker", manages === "true" ? nodes : ""]],
          problems: state === "active" ? [] : [`${server.name} is not in the swarm: ${state}`],
        };
      },
    },
  ];
}
