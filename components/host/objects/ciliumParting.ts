/** What must happen before the first of a server's systems leaves Cilium: it goes before they do, and was made after them. */
import { ownContainers } from "../../net/names";
import { type ObjectType, stackLabel } from "../objectType";
import { sh } from "../sh";

const cilium = ownContainers.cilium;

export const ciliumParting: ObjectType<Record<never, never>> = {
  type: "ciliumParting",
  identity: () => [],
  ensure: () => sh`:`,
  // Cilium (1.18.2) tells etcd who leaves, and waits for it for ever; its docker plugin, and docker with it, waits 90 s a system.
  // Where the hub's etcd is gone there is nobody to tell, and a Cilium that does not run keeps nobody waiting.
  remove: (_, { stack }) => sh`
    if [ "$(docker inspect -f '{{index .Config.Labels "${stackLabel}"}} {{.State.Running}}' ${cilium} 2>/dev/null)" = ${`${stack} true`} ]; then
      docker exec ${cilium} timeout 5 cilium-dbg kvstore get --recursive cilium/state/nodes/v1 >/dev/null 2>&1 || docker kill ${cilium} >/dev/null 2>&1 || :
    fi
  `,
  check: () => sh`:`,
  wanted: () => ({}),
  found: () => ({}),
};
