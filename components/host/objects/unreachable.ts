/** A prefix that leads nowhere but by longer routes: packets to what is not in it get an error, and are not sent around. */
import { jsonList } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { routeProtocol } from "./route";

export interface UnreachableSpec {
  /** IPv6. */
  readonly to: string;
}

const words = ({ to }: UnreachableSpec): string[] => ["unreachable", to, "proto", String(routeProtocol)];

export const unreachable: ObjectType<UnreachableSpec> = {
  type: "unreachable",
  identity: (spec) => [spec.to],
  ensure: (spec) => sh`
    foreign=$(ip -6 route show exact ${spec.to} | sed ${`/ proto ${routeProtocol} /d`})
    [ -z "$foreign" ] || fail ${spec.to}": this server already has a route of somebody else: $foreign; choose another prefix"
    ip -6 route replace ${words(spec)}
  `,
  remove: (spec) => sh`
    if [ -n "$(ip -6 route show exact ${spec.to} type unreachable proto ${routeProtocol})" ]; then ip -6 route del ${words(spec)}; fi
  `,
  check: (spec) => sh`ip -j -6 route show exact ${spec.to} type unreachable proto ${routeProtocol}`,
  wanted: () => ({ present: true }),
  found: (output) => (jsonList(output).length > 0 ? { present: true } : undefined),
};
