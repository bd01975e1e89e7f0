/** A static route of ours, known by its protocol number. */
import { jsonList } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

/**
 * rtnetlink(7): numbers above RTPROT_STATIC are free for use. The agent's routes carry the same. Not 186 to 198: FRR takes
 * routes with those for its own of an earlier life, does not import them, and deletes them at its start (8.4).
 */
export const routeProtocol = 240;

export interface RouteSpec {
  readonly to: string;
  readonly via: string;
  readonly device: string;
}

interface IpRoute {
  readonly gateway?: string;
  readonly via?: { readonly host?: string };
  readonly dev?: string;
  readonly protocol?: string;
}

const family = (to: string): string => (to.includes(":") ? "-6" : "-4");
/** An IPv4 route may lead over an IPv6 next hop. */
const next = (spec: RouteSpec): string[] =>
  !spec.to.includes(":") && spec.via.includes(":") ? ["via", "inet6", spec.via] : ["via", spec.via];

export const route: ObjectType<RouteSpec> = {
  type: "route",
  identity: (spec) => [spec.to],
  ensure: (spec) => sh`
    to=${spec.to}
    set -- ${next(spec)} dev ${spec.device}
    foreign=$(ip ${family(spec.to)} route show exact "$to" | sed ${`/ proto ${routeProtocol} /d`})
    metric=
    if [ -e "$folder/saved/cilium" ]; then
      # Of a Cilium of ours, which goes once the systems are elsewhere. Until then it puts its own route (1.18.2, IPv4) in the place of any
      # other to the prefix, whenever it looks; one with another metric it leaves, and that is there when Cilium's goes.
      foreign=$(printf '%s' "$foreign" | sed '/ dev cilium_host /d; / via .* proto kernel/d')
      case $to in *:*) ;; *) metric="metric ${routeProtocol}" ;; esac
    fi
    [ -z "$foreign" ] || fail "$to: this server already has a route of somebody else: $foreign; choose another subnet"
    ip ${family(spec.to)} route replace "$to" "$@" proto ${routeProtocol} $metric
    if [ -z "$metric" ]; then ip ${family(spec.to)} route del "$to" proto ${routeProtocol} metric ${routeProtocol} 2>/dev/null || :; fi
  `,
  remove: (spec) => sh`
    while [ -n "$(ip ${family(spec.to)} route show exact ${spec.to} proto ${routeProtocol})" ]; do ip ${family(spec.to)} route del ${spec.to} proto ${routeProtocol}; done
  `,
  check: (spec) => sh`ip -j ${family(spec.to)} route show exact ${spec.to} proto ${routeProtocol}`,
  wanted: (spec) => ({ via: spec.via, device: spec.device }),
  found: (output) => {
    const found = jsonList<IpRoute>(output)[0];
    return found && { via: found.gateway ?? found.via?.host ?? "", device: found.dev ?? "" };
  },
};
