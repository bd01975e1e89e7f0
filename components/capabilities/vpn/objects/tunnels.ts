/** The tunnels of a gateway: their IPsec SAs, and the ways that packets take to them. */
import { sections } from "../../../host/json";
import type { ObjectType, PropertyValue } from "../../../host/objectType";
import { sh } from "../../../host/sh";
import { enterGateway, gatewayScript, readSas, reasonOf, tunnelPolicies, tunnelRoutes } from "./sas";

export interface VpnTunnelsSpec {
  readonly container: string;
  readonly tunnels: readonly {
    readonly name: string;
    readonly connection: string;
    readonly local: readonly string[];
    readonly remote: readonly string[];
    /** The other gateway is of this server too, so that its `up` can wait for it; else the one that starts it tries, and goes on trying. */
    readonly isAwaited: boolean;
  }[];
  /** Changes with what its gateway is told. */
  readonly planHash: string;
}

const timeoutSeconds = 30;

/** As a route's destination is printed. */
const destination = (prefix: string): string => prefix.replace(/\/(32|128)$/, "");

/**
 * What must be there for packets to take a tunnel: by kernel-libipsec a route, by the kernel's ESP a policy for each
 * direction (strongSwan adds a route there too, which does nothing alone).
 */
function waysTo(plane: string, local: readonly string[], remote: string): string[] {
  if (plane !== "kernel") return [`${destination(remote)} `];
  return local.flatMap((own) => [
    `src ${own} dst ${remote} dir out`,
    `src ${remote} dst ${own} dir in`,
    `src ${remote} dst ${own} dir fwd`,
  ]);
}

export const vpnTunnels: ObjectType<VpnTunnelsSpec> = {
  type: "vpnTunnels",
  identity: ({ container }) => [container],
  waits: true,
  ensure: (spec) => sh`
    : plan ${spec.planHash}
    ${enterGateway(spec.container)}
    # All tunnels in one look: "NAME up", "NAME down", or "NAME wayless".
    look() {
      sas=$(inside swanctl --list-sas 2>/dev/null || :)
      plane=$(inside cat /run/flipflap-plane 2>/dev/null || :)
      ways=$({ ${tunnelRoutes}; ${tunnelPolicies}; } | sed 's/^/@/')
      ${spec.tunnels.map(
        ({ name, local, remote }) =>
          sh`state ${name} ${["user", "kernel"].flatMap((plane) => remote.flatMap((to) => waysTo(plane, local, to).map((way) => `${plane} ${way}`)))}`,
      )}
    }
    state() {
      _name=$1
      shift
      if ! printf '%s\n' "$sas" | grep -q "^  $_name: .*INSTALLED"; then echo "$_name down"; return; fi
      for _way in "$@"; do
        case $_way in "$plane "*) ;; *) continue ;; esac
        _way=\${_way#* }
        case $ways in *"@$_way"*) ;; *) echo "$_name wayless"; return ;; esac
      done
      echo "$_name up"
    }
    end=$(($(date +%s) + ${timeoutSeconds}))
    while :; do
      found=$(look)
      # A tunnel whose way somebody took: made anew, it has one.
      for name in $(printf '%s\n' "$found" | sed -n 's/ wayless$//p'); do
        inside swanctl --terminate --child "$name" --force --timeout 2 >/dev/null 2>&1 || :
      done
      case $found in *" down"* | *" wayless"*) ;; *) break ;; esac
      inside sh /etc/flipflap-vpn/again >/dev/null 2>&1 || :
      missing=
      for name in ${spec.tunnels.flatMap(({ name, isAwaited }) => (isAwaited ? [name] : []))}; do
        if printf '%s\n' "$found" | grep -q "^$name [dw]"; then missing="$missing $name"; fi
      done
      [ -n "$missing" ] || break
      [ "$(date +%s)" -lt "$end" ] || fail "no tunnel after ${timeoutSeconds} s:$missing; flipflap status names the reason"
      sleep 0.3
    done
  `,
  remove: () => sh`:`,
  check: ({ container }) => gatewayScript(container),
  wanted: ({ tunnels }) => {
    const properties: Record<string, PropertyValue> = {};
    for (const { name, local, remote } of tunnels) {
      properties[`${name}.state`] = "INSTALLED";
      properties[`${name}.local`] = [...local].sort();
      properties[`${name}.remote`] = [...remote].sort();
      properties[`${name}.ways`] = [...remote].sort();
    }
    return properties;
  },
  found: (output, { tunnels }) => {
    const parts = sections(output);
    if (!parts.has("sas")) return undefined;
    const sas = readSas(parts.get("sas") ?? "");
    const plane = (parts.get("plane") ?? "").trim();
    const lines = (parts.get("ways") ?? "").split("\n");
    const isThere = (way: string): boolean => lines.some((line) => line.startsWith(way));
    const properties: Record<string, PropertyValue> = {};
    for (const { name, connection, local, remote } of tunnels) {
      const own = sas.filter((sa) => sa.name === name);
      // While keys are made anew there are two.
      const sa = own.find(({ state }) => state === "INSTALLED") ?? own[0];
      properties[`${name}.state`] = sa === undefined ? `down: ${reasonOf(parts.get("log") ?? "", connection)}` : sa.state;
      // A tunnel that is down is one thing, not four.
      properties[`${name}.local`] = [...(sa?.local ?? local)].sort();
      properties[`${name}.remote`] = [...(sa?.remote ?? remote)].sort();
      const ways = remote.filter((to) => sa === undefined || waysTo(plane, local, to).every(isThere));
      properties[`${name}.ways`] = [...ways].sort();
    }
    return properties;
  },
};
