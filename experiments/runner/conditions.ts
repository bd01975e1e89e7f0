/** Under which conditions something was measured. */
import { linkDevice } from "../../components/config/declaration";
import { sections } from "../../components/host/json";
import { sh } from "../../components/host/sh";
import type { Site } from "../site";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { cpus, release } from "node:os";

/** In ticks of the clock, since boot. */
export interface CpuTimes {
  readonly total: number;
  readonly idle: number;
  /** Soft interrupts: packets on their way; nobody's process, and what is measured. */
  readonly softInterrupts: number;
  /** Of this process and of those in other network namespaces: measuring, and what is measured. */
  readonly own: number;
}

/** User and system time of a process and of its children that have ended (proc(5), fields 14 to 17). */
function ticksOf(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0);
}

/** A process's line of /proc/PID/stat, and whether it is ours. */
export interface ProcessTimes {
  readonly stat: string;
  readonly isOwn: boolean;
}

/** From the first line of /proc/stat and all processes. */
export function timesOf(cpuLine: string, processes: readonly ProcessTimes[]): CpuTimes {
  const fields = cpuLine.trim().split(/\s+/).slice(1, 9).map(Number);
  return {
    total: fields.reduce((sum, ticks) => sum + ticks, 0),
    idle: (fields[3] ?? 0) + (fields[4] ?? 0),
    softInterrupts: fields[6] ?? 0,
    own: processes.reduce((sum, { stat, isOwn }) => (isOwn ? sum + ticksOf(stat) : sum), 0),
  };
}

const parentOf = (stat: string): number => Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);

/**
 * Of this machine. Ours are this process and the descendants of the lab's servers; without servers named, what runs in another
 * network namespace than this process.
 */
export function cpuTimes(inits?: readonly number[]): CpuTimes {
  const machine = readlinkSync("/proc/self/ns/net");
  const found = new Map<number, { stat: string; parent: number; isElsewhere: boolean }>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      found.set(Number(entry), { stat, parent: parentOf(stat), isElsewhere: readlinkSync(`/proc/${entry}/ns/net`) !== machine });
    } catch {
      // it ended meanwhile; its time is its parent's now
    }
  }
  const isOfLab = (pid: number): boolean => {
    for (let up: number | undefined = pid; up !== undefined && up > 1; up = found.get(up)?.parent)
      if (inits?.includes(up) === true) return true;
    return false;
  };
  const processes = [...found].map(([pid, { stat, isElsewhere }]): ProcessTimes => ({
    stat,
    isOwn: pid === process.pid || (inits === undefined ? isElsewhere : isOfLab(pid)),
  }));
  return timesOf(readFileSync("/proc/stat", "utf8").split("\n")[0] ?? "", processes);
}

/** The share of the machine that others used between two looks. */
export function foreignCpuShare(before: CpuTimes, after: CpuTimes): number {
  const since = (key: keyof CpuTimes): number => Math.max(0, after[key] - before[key]);
  const foreign = since("total") - since("idle") - since("softInterrupts") - since("own");
  return since("total") === 0 ? 0 : Math.max(0, foreign / since("total"));
}

/** The share of the machine that was used at all. */
export function busyCpuShare(before: CpuTimes, after: CpuTimes): number {
  const total = after.total - before.total;
  return total <= 0 ? 0 : 1 - (after.idle - before.idle) / total;
}

export function machineConditions(): Record<string, unknown> {
  const read = (path: string): string => {
    try {
      return readFileSync(path, "utf8").trim();
    } catch {
      return "unknown";
    }
  };
  return {
    kernel: release(),
    cpus: cpus().length,
    cpuModel: cpus()[0]?.model ?? "unknown",
    bpfJit: read("/proc/sys/net/core/bpf_jit_enable"),
    load: read("/proc/loadavg"),
  };
}

/** Of each server: kernel, congestion control, its links' MTU and offloads, versions of the tools. */
export async function serverConditions(site: Site): Promise<Record<string, Record<string, string>>> {
  const { servers, testbed } = site.declaration;
  const all = servers.map(async (server): Promise<[string, Record<string, string>]> => {
    const devices = testbed.links.filter((link) => link.between.includes(server.name)).map((link) => linkDevice(link, server));
    const script = sh`
      echo "=== kernel"; uname -r
      echo "=== cpus"; nproc
      echo "=== cpuModel"; sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1
      echo "=== load"; cat /proc/loadavg
      echo "=== docker"; docker version -f '{{.Server.Version}}'
      echo "=== congestionControl"; cat /proc/sys/net/ipv4/tcp_congestion_control
      echo "=== bpfJit"; cat /proc/sys/net/core/bpf_jit_enable 2>/dev/null || echo unknown
      echo "=== bridgeNetfilter"; cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null || echo none
      echo "=== guard"; if nft list table inet ${`flipflap-${server.name}`} >/dev/null 2>&1; then echo on; else echo off; fi
      for device in ${devices}; do
        echo "=== $device"; cat "/sys/class/net/$device/mtu"
        ethtool -k "$device" | grep -E '^(tcp-segmentation|generic-segmentation|generic-receive|tx-checksumming|rx-checksumming)'
      done
    `;
    const printed = await site.ssh(server.name, script.text);
    const own = [...sections(printed)].map(([key, text]): [string, string] => [key, text.replaceAll("\n", ", ")]);
    return [server.name, Object.fromEntries(own)];
  });
  return Object.fromEntries(await Promise.all(all));
}
