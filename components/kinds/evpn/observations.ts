/** What `flipflap status` tells of EVPN: each server's sessions, with the reason where one is down, and what the route servers hold. */
import type { EvpnNetwork } from "../../config/types.gen";
import { sections } from "../../host/json";
import type { Owner } from "../../host/objectType";
import { statusFolder } from "../../host/objects/agentFolders";
import type { BgpSummary } from "../../host/objects/bgpSessions";
import { askSpeaker, speakerSections } from "../../host/objects/speakerFile";
import { sh } from "../../host/sh";
import { ownContainers } from "../../net/names";
import type { KindContext } from "../contexts";
import type { Observation, ObservedTable } from "../observation";
import { gobgpWords, ribCommand } from "./routeServer";
import { readRoutes, routesByVn } from "./routes";
import { routeServers, vtepOf } from "./speaker";

/**
 * Segments whose signature is wrong are dropped by the kernel of the route server's server: FRR sees silence there and
 * calls it Active. So the hub counts them while it looks; the counters alone would tell of mistakes long mended.
 */
const counterNames = ["TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure"] as const;

const counters = sh`awk '$1 == "TcpExt:" { if (n++ == 0) split($0, name); else for (i = 2; i <= NF; i++) if (name[i] ~ /^TCPMD5/) printf "%s=%s ", name[i], $i }' /proc/net/netstat`;

const watchedSeconds = 4;

function sessions({ declaration }: KindContext<EvpnNetwork>, owner: Owner): Observation {
  const peers = routeServers(declaration);
  const routerIds = declaration.servers.map(vtepOf);
  return {
    title: "BGP",
    script: sh`
      ${askSpeaker({ summary: speakerSections.sessions })}
      echo
      echo "=== shortcut"; cat ${statusFolder(owner)}/shortcut 2>/dev/null || :
      for peer in ${peers}; do
        echo "=== ping $peer"
        if ping -n -q -c 1 -W 1 "$peer" >/dev/null 2>&1; then echo answers; fi
      done
      if docker inspect ${ownContainers.routeServer} >/dev/null 2>&1; then
        neighbours=$(docker exec ${ownContainers.routeServer} ${[...gobgpWords]} neighbor 2>/dev/null || :)
        echo "=== before"; ${counters}
        echo
        for id in ${routerIds}; do
          if ! printf '%s\n' "$neighbours" | grep -q "^$id .*Establ"; then sleep ${watchedSeconds}; break; fi
        done
        echo "=== after"; ${counters}
        echo
      fi
    `,
    read: (output) => readSessions(output, peers),
  };
}

function counted(text: string | undefined): Map<string, number> {
  return new Map([...(text ?? "").matchAll(/(\w+)=(\d+)/g)].map(([, name, value]) => [name ?? "", Number(value)]));
}

/** Exported for its tests. */
export function readSessions(output: string, peers: readonly string[]): ObservedTable {
  const parts = sections(output);
  const summary = parts.get("summary") ?? "";
  const shown = summary === "" ? undefined : (JSON.parse(summary) as BgpSummary);
  const rows: string[][] = [];
  const problems: string[] = [];
  for (const peer of peers) {
    const session = shown?.peers?.[peer];
    const isUp = session?.state === "Established";
    const state = session?.state ?? "no speaker";
    rows.push([
      peer,
      state,
      isUp ? `${Math.floor((session.peerUptimeMsec ?? 0) / 1000)} s` : "",
      String(session?.pfxRcd ?? ""),
      String(session?.pfxSnt ?? ""),
      parts.get("shortcut") ?? "",
    ]);
    if (isUp) continue;
    if (shown === undefined) problems.push("the BGP speaker does not answer: docker logs ff-speaker");
    else if (parts.get(`ping ${peer}`) !== "answers") problems.push(`route server ${peer} is down (${state}): its address does not answer`);
    else problems.push(`route server ${peer} is down (${state}): its address answers; see what its hub says`);
  }
  const [before, after] = [counted(parts.get("before")), counted(parts.get("after"))];
  const rose = counterNames.filter((name) => (after.get(name) ?? 0) > (before.get(name) ?? 0));
  const why = {
    TCPMD5Failure: "signed with another password than the route server's",
    TCPMD5NotFound: "not signed at all, and the route server wants a password",
    TCPMD5Unexpected: "signed, and the route server has no password",
  } as const;
  for (const name of rose) {
    const count = (after.get(name) ?? 0) - (before.get(name) ?? 0);
    problems.push(
      `${count} TCP segments in ${watchedSeconds} s were ${why[name]} (${name} of the kernel): give the server that is down the same password; pulumi up does`,
    );
  }
  return { columns: ["ROUTE SERVER", "SESSION", "SINCE", "RECEIVED", "SENT", "SHORT CUT"], rows, problems };
}

function routeTable({ declaration }: KindContext<EvpnNetwork>): Observation {
  return {
    title: "ROUTES",
    script: sh`${ribCommand} 2>/dev/null || :`,
    read: (output) => ({
      columns: ["VN", "NETWORK", "MAC+IP (2)", "MULTICAST (3)", "PREFIX (5)", "SERVERS"],
      rows: routesByVn(declaration, readRoutes(output)).map(({ vn, network, macIp, multicast, prefixes, servers }) => [
        String(vn),
        network,
        String(macIp),
        String(multicast),
        String(prefixes),
        servers.join(" "),
      ]),
      problems: [],
    }),
  };
}

export function observations(context: KindContext<EvpnNetwork>, owner: Owner): Observation[] {
  return [...(context.networks.length > 0 ? [sessions(context, owner)] : []), ...(context.server.hub ? [routeTable(context)] : [])];
}
