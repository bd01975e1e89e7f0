/** A tunnel as one of its gateways has it: its IPsec SAs, and the way that packets take to them. */
import { gatewayScript, readSas, reasonOf } from "../../vpn/sas";
import { sections } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface VpnTunnelSpec {
  readonly container: string;
  readonly connection: string;
  readonly child: string;
  readonly local: readonly string[];
  readonly remote: readonly string[];
  /** Both gateways are of this server, so that its `up` can wait for it; else the one that starts tries, and goes on trying. */
  readonly isAwaited: boolean;
  readonly starts: boolean;
  /** Changes with what its gateways are told. */
  readonly planHash: string;
}

const timeoutTenths = 200;

/** By kernel-libipsec a route of strongSwan's own table; by the kernel's ESP a policy. */
const hasWay = (routes: string, policies: string, remote: string): boolean => {
  const to = remote.replace(/\/(32|128)$/, "");
  return (
    routes.split("\n").some((line) => line.startsWith(`${to} `)) ||
    new RegExp(`dst ${remote.replaceAll(".", "\\.")}[^\\n]*\\n\\s+dir out`).test(policies)
  );
};

export const vpnTunnel: ObjectType<VpnTunnelSpec> = {
  type: "vpnTunnel",
  identity: ({ container, child }) => [container, child],
  waits: true,
  ensure: (spec) => sh`
    : plan ${spec.planHash}
    tell() { docker exec ${spec.container} swanctl "$@" 2>/dev/null; }
    installed() { tell --list-sas --child ${spec.child} | grep -q ${`^  ${spec.child}: .*INSTALLED`}; }
    way() { docker exec ${spec.container} sh -c ${wayScript(spec)}; }
    left=${spec.isAwaited ? timeoutTenths : 1}
    while :; do
      if installed; then
        if way; then break; fi
        # A tunnel whose way somebody took: made anew, it has one.
        tell --terminate --child ${spec.child} --force --timeout 2 >/dev/null || :
      fi
      ${spec.starts ? sh`docker exec ${spec.container} sh /etc/flipflap-vpn/again >/dev/null 2>&1 || :` : sh`:`}
      left=$((left - 1))
      if [ "$left" -le 0 ]; then
        ${spec.isAwaited ? sh`fail ${spec.child}": no tunnel after 20 s; flipflap status names the reason"` : sh`break`}
      fi
      sleep 0.1
    done
  `,
  remove: () => sh`:`,
  check: ({ container }) => gatewayScript(container),
  wanted: (spec) => ({ state: "INSTALLED", local: [...spec.local].sort(), remote: [...spec.remote].sort(), ways: [...spec.remote].sort() }),
  found: (output, spec) => {
    const parts = sections(output);
    if (!parts.has("sas")) return undefined;
    const own = readSas(parts.get("sas") ?? "").filter((sa) => sa.name === spec.child);
    // While keys are made anew there are two.
    const sa = own.find(({ state }) => state === "INSTALLED") ?? own[0];
    const ways = spec.remote.filter((remote) => hasWay(parts.get("routes") ?? "", parts.get("policies") ?? "", remote));
    if (sa === undefined) return { state: `down: ${reasonOf(parts.get("log") ?? "", spec.connection)}`, local: [], remote: [], ways: [] };
    return { state: sa.state, local: [...sa.local].sort(), remote: [...sa.remote].sort(), ways: [...ways].sort() };
  },
};

function wayScript({ remote }: VpnTunnelSpec): string {
  return remote
    .map((to) => {
      const family = to.includes(":") ? "-6" : "-4";
      const routed = `ip ${family} route show table 220 | grep -q "^${to.replace(/\/(32|128)$/, "")} "`;
      return `{ ${routed} || ip xfrm policy | grep -A1 "dst ${to} " | grep -q "dir out"; }`;
    })
    .join(" && ");
}
