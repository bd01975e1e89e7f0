/** Who used the servers' CPUs while something was measured: looked for where it is measured, not where the verb runs. */
import { sh } from "../../components/host/sh";
import { initPid } from "../../lab/server";
import { labNames } from "../../lab/names";
import { readLabState } from "../../lab/state";
import { busyCpuShare, type CpuTimes, cpuTimes, foreignCpuShare, type ProcessTimes, timesOf } from "../runner/conditions";
import { holderContainer, type Site } from "../site";

/** By server; a lab's servers are one machine. */
export type CpuLook = ReadonlyMap<string, CpuTimes>;

/** All processes of a server in one look, without one of ours for each: their times, their namespaces, and those of PID 1 and of the tools. */
const lookScript = sh`
  echo "=== cpu"; head -n 1 /proc/stat
  echo "=== holder"; docker inspect -f '{{.State.Pid}}' ${holderContainer} 2>/dev/null || echo 0
  echo "=== namespaces"; ls -l /proc/[0-9]*/ns/net /proc/[0-9]*/ns/mnt 2>/dev/null | sed -n 's|.* /proc/\([0-9]*\)/ns/[a-z]* -> \(.*\)|\1 \2|p'
  echo "=== times"; cat /proc/[0-9]*/stat 2>/dev/null
`;

/** Pure: what the script printed. Ours is what runs in other networks than the server's own, and what runs with the tools' files. */
export function readCpuLook(printed: string): CpuTimes {
  const part = (title: string): string => printed.split(`=== ${title}\n`)[1]?.split("\n===")[0] ?? "";
  const namespaces = new Map<string, string[]>();
  for (const line of part("namespaces").split("\n")) {
    const [pid = "", namespace = ""] = line.split(" ");
    namespaces.set(pid, [...(namespaces.get(pid) ?? []), namespace]);
  }
  const of = (pid: string, sort: "net" | "mnt"): string | undefined => namespaces.get(pid)?.find((one) => one.startsWith(`${sort}:`));
  const [server, tools] = [of("1", "net"), of(part("holder").trim(), "mnt")];
  const processes = part("times")
    .split("\n")
    .filter(Boolean)
    .map((stat): ProcessTimes => {
      const pid = stat.split(" ")[0] ?? "";
      const [net, mounts] = [of(pid, "net"), of(pid, "mnt")];
      return { stat, isOwn: (net !== undefined && net !== server) || (mounts !== undefined && mounts === tools) };
    });
  return timesOf(part("cpu"), processes);
}

export async function lookAtCpus(site: Site): Promise<CpuLook> {
  const { servers } = site.declaration;
  const lab = servers.some(({ isLab }) => isLab) ? readLabState(site.root) : undefined;
  const names = lab === undefined ? undefined : labNames(lab.name);
  const inits = names === undefined ? [] : servers.flatMap(({ name, isLab }) => (isLab ? (initPid(names, name) ?? []) : []));
  const looks = servers.flatMap(async ({ name, isLab }): Promise<[string, CpuTimes]> =>
    isLab ? ["this machine", cpuTimes(inits)] : [name, readCpuLook(await site.ssh(name, lookScript.text))],
  );
  return new Map(await Promise.all(looks));
}

const most = (before: CpuLook, after: CpuLook, share: (before: CpuTimes, after: CpuTimes) => number): number =>
  Math.max(0, ...[...before].map(([server, then]) => share(then, after.get(server) ?? then)));

/** On the server where it is the most. */
export const foreignShare = (before: CpuLook, after: CpuLook): number => most(before, after, foreignCpuShare);
export const busyShare = (before: CpuLook, after: CpuLook): number => most(before, after, busyCpuShare);
