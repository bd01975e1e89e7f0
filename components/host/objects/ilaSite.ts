/** What a server's agent needs to take part in ILA: the file that tells it all. */
import type { IlaSite } from "../contract/types.gen";
import { jsonInOrder } from "../json";
import type { ObjectType, Properties } from "../objectType";
import { sh } from "../sh";
import { dropKindFile, kindFile, putKindFile } from "./kindFile";
import { pinsOf } from "./programs";
import { routeProtocol } from "./route";

const leaf = "ila.json";
/** The agent's filters where the kernel has no tcx (agent/bpf/clsact.go): by their priority. */
const filterPriorities = [49210, 49220, 49230, 49240, 49250];

const propertiesOf = (spec: IlaSite): Properties =>
  Object.fromEntries(Object.entries(spec).map(([key, value]) => [key, jsonInOrder(value)]));

export const ilaSite: ObjectType<IlaSite> = {
  type: "ilaSite",
  identity: () => [],
  ensure: (spec, owner) => sh`
    # Kernels before 6.6 have no tcx: the programs hang on a qdisc of the uplink then.
    case $(uname -r) in
      [0-5].* | 6.[0-5].*)
        if ! tc qdisc show dev ${spec.uplink} | grep -q clsact; then tc qdisc add dev ${spec.uplink} clsact; save ila.clsact ${spec.uplink}; fi
        ;;
    esac
    ${putKindFile(owner, leaf, JSON.stringify(spec, null, 1))}
  `,
  remove: ({ uplink, server, servers, networks }, owner) => sh`
    ${dropKindFile(owner, leaf)}
    # What the agent put there: a route for each system, by the kernel's ILA too, and report S0's addresses.
    for prefix in ${[...networks.map(({ sir }) => sir), ...servers.filter((one) => one.name === server).map(({ locator }) => locator)]}; do
      for to in $(ip -6 route show root "$prefix" proto ${routeProtocol} type unicast 2>/dev/null | awk '$1 !~ /\// { print $1 }'); do
        ip -6 route del "$to" proto ${routeProtocol}
      done
    done
    ${servers
      .filter((one) => one.name === server)
      .flatMap(({ locator }) => [
        sh`if has_link ${uplink}; then ip -6 addr flush dev ${uplink} to ${locator} deprecated; fi`,
        ...(networks.some((network) => network.backend === "kernel" && network.csum === "neutral")
          ? [sh`ip ila del loc_match ${locator.replace(/::\/64$/, "")} 2>/dev/null || :`]
          : []),
      ])}
    if [ -d ${pinsOf(owner)}/ila ]; then rm -rf ${pinsOf(owner)}/ila; fi
    for hook in ingress egress; do
      for pref in ${filterPriorities}; do
        if has_link ${uplink} && tc filter show dev ${uplink} $hook pref $pref 2>/dev/null | grep -q flipflap-; then tc filter del dev ${uplink} $hook pref $pref; fi
      done
    done
    drop_clsact() { if has_link "$1"; then tc qdisc del dev "$1" clsact; fi; }
    restore ila.clsact drop_clsact
    prune
  `,
  check: (_, owner) => sh`cat ${kindFile(owner, leaf)} 2>/dev/null || :`,
  wanted: (spec) => propertiesOf(spec),
  found: (output) => (output.trim() === "" ? undefined : propertiesOf(JSON.parse(output) as IlaSite)),
};
