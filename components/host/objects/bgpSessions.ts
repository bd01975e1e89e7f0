/** The sessions of a server's BGP speaker. An `up` ends when one of them stands: the routes of others come by it. */
import { ownContainers } from "../../net/names";
import { sections } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";
import { speakerCheck, speakerSections, tellSpeaker } from "./speakerFile";

export interface BgpSessionsSpec {
  /** The route servers' addresses. */
  readonly peers: readonly string[];
}

export interface BgpSummary {
  readonly peers?: Readonly<
    Record<string, { readonly state: string; readonly pfxRcd?: number; readonly pfxSnt?: number; readonly peerUptimeMsec?: number }>
  >;
}

const timeoutSeconds = 60;
/** Sessions stand after one second to three; where nothing has come by then, nothing will. */
const restartSeconds = 6;

export const bgpSessions: ObjectType<BgpSessionsSpec> = {
  type: "bgpSessions",
  identity: () => [],
  waits: true,
  ensure: (spec) => sh`
    ${tellSpeaker}
    begin=$(seconds_up) is_new=
    until tell -c ${speakerSections.sessions} 2>/dev/null | grep -q '"state":"Established"'; do
      waited=$(($(seconds_up) - begin))
      [ "$waited" -lt ${timeoutSeconds} ] || fail "no BGP session with a route server ("${spec.peers.join(", ")}") after "${timeoutSeconds}" s; flipflap status names the reason"
      # Once more from its own files: what was told to it by hand goes.
      if [ "$waited" -ge ${restartSeconds} ] && [ -z "$is_new" ]; then docker restart -t 1 ${ownContainers.speaker} >/dev/null 2>&1 || :; is_new=yes; fi
      sleep 0.1
    done
  `,
  remove: () => sh`:`,
  check: () => speakerCheck,
  wanted: (spec) => Object.fromEntries(spec.peers.map((peer) => [peer, "Established"])),
  found: (output, spec) => {
    const shown = sections(output).get("sessions");
    if (shown === undefined || shown === "") return undefined;
    const { peers } = JSON.parse(shown) as BgpSummary;
    return Object.fromEntries(spec.peers.map((peer) => [peer, peers?.[peer]?.state ?? "not known"]));
  },
};
