/** What a server must have, and what it is for. */
import { type Script, sh } from "../host/sh";

export interface Requirement {
  readonly tool?: string;
  /** Of the kernel's configuration: CONFIG_VXLAN. */
  readonly kernelOption?: string;
  /** Calls `lacks NAME WHY` for what is missing or in the way; `$folder` is the stack's. Changes nothing. */
  readonly probe?: Script;
  readonly why: string;
}

const unlessOursRuns = (container: string, probe: Script): Script => sh`
  if [ "$(docker inspect -f '{{.State.Running}}' ${container} 2>/dev/null)" != true ]; then
    ${probe}
  fi
`;

/** Nobody listens on the port, unless this container of ours runs. */
export const freeTcpPort = (port: number, ours: string, why: string): Requirement => ({
  probe: unlessOursRuns(
    ours,
    sh`
      taken=$(ss -H -l -t -n -p ${`sport = :${port}`} | awk '{print $4, $6}' | head -n 3)
      [ -z "$taken" ] || lacks ${`TCP port ${port}`} "somebody listens on it ($taken); "${why}" needs it"
    `,
  ),
  why,
});

/** No routes of these protocols (a pattern of `ip route`'s words) are there, unless this container of ours runs. */
export const noRoutesOf = (protocols: string, ours: string, why: string): Requirement => ({
  probe: unlessOursRuns(
    ours,
    sh`
      foreign=$({ ip -4 route show table all; ip -6 route show table all; } | grep -E ${` proto (${protocols})( |$)`} | head -n 3 || :)
      [ -z "$foreign" ] || lacks "routes" "this server has routes of a routing daemon of its own ($foreign), which would be deleted; "${why}
    `,
  ),
  why,
});

/** What is filtered in tables that iptables does not know of: an accept there does not undo a drop in iptables' FORWARD. */
export const filtersBesideIptables: Script = sh`
  if command -v iptables >/dev/null && iptables -w -S FORWARD 2>/dev/null | grep -qx -e '-P FORWARD DROP'; then
    lacks "filter" "this server's iptables drops in FORWARD (docker does so); what kind netns, nft or iptables-legacy let pass is dropped there: use kind bridge with filter: iptables"
  fi
`;
