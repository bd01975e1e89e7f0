/** Kind evpn: what each part of the data path costs, how fast a system is known elsewhere, and what many routes cost. */
import { spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { ribCommand } from "../components/kinds/evpn/routeServer";
import { readRoutes } from "../components/kinds/evpn/routes";
import { median } from "../experiments/runner/statistics";
import type { Site } from "../experiments/site";
import { sleep, waitUntil } from "../support/process";
import type { BenchOptions } from "./bench";
import { measureWays, type Way, withTestbed } from "./site";

const servers = ["flip", "flap"] as const;
const network = { name: "red-l2", tunnel: "vx-red-l2", vn: 136 };

async function onBoth(site: Site, command: string): Promise<void> {
  await Promise.all(servers.map((server) => site.ssh(server, command)));
}

/** Blue's network goes by the bridge; what else differs is set and taken back by hand. */
function ways(site: Site): Way[] {
  const red = { from: site.system("red-web"), to: site.system("red-client") };
  const blue = { from: site.system("blue-web"), to: site.system("blue-client") };
  const toggle = (on: string, off: string) => ({ prepare: () => onBoth(site, on), restore: () => onBoth(site, off) });
  const gro = (device: string) => toggle(`ethtool -K ${device} gro on`, `ethtool -K ${device} gro off`);
  const keys = ["iptables", "ip6tables", "arptables"].map((table) => `net.bridge.bridge-nf-call-${table}`);
  const netfilter = (value: 0 | 1): string => `sysctl -qw ${keys.map((key) => `${key}=${value}`).join(" ")}`;
  return [
    { name: "evpn, as shipped", ...red },
    { name: "with GRO on the tunnel", ...red, ...gro(network.tunnel) },
    { name: "without the short cut", ...blue },
    { name: "without both (report S0's path)", ...blue, ...gro("vx-blue-l2") },
    {
      name: "without both, bridge netfilter on (the kernel's default)",
      ...blue,
      ...toggle(`ethtool -K vx-blue-l2 gro on; ${netfilter(1)}`, `ethtool -K vx-blue-l2 gro off; ${netfilter(0)}`),
    },
  ];
}

interface FdbEvent {
  readonly atMs: number;
  readonly gone: boolean;
}

/** `bridge -t monitor fdb` on a server, two lines an event; the servers of a lab have one clock. */
function follow(site: Site, server: string, mac: string): { events: FdbEvent[]; stop: () => void } {
  const events: FdbEvent[] = [];
  const child = spawn("ssh", ["-F", `${site.root}/.flipflap/ssh/config`, server, "TZ=UTC exec stdbuf -oL bridge -t monitor fdb"]);
  let rest = "";
  let atMs = Number.NaN;
  child.stdout.on("data", (data: Buffer) => {
    const lines = (rest + data.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      const [, second, microseconds] = /^Timestamp: (.*) (\d+) usec$/.exec(line) ?? [];
      if (second !== undefined) atMs = Date.parse(`${second} UTC`) + Number(microseconds) / 1000;
      else if (line.includes(mac) && line.includes(` dev ${network.tunnel} `) && line.includes("master"))
        events.push({ atMs, gone: line.startsWith("Deleted") });
    }
  });
  return { events, stop: () => child.kill() };
}

const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(values.length * share) - 1)] ?? Number.NaN;

async function measureLatency(site: Site, options: BenchOptions, starts: number): Promise<void> {
  const { server, system } = site.system("red-web");
  const container = system?.holder ?? "";
  const mac = (await site.ssh(server.name, `docker exec ${container} cat /sys/class/net/eth0/address`)).trim();
  const { events, stop } = follow(site, "flap", mac);
  const times: { started: number; finished: number }[] = [];
  await sleep(1000);
  for (let i = 0; i < starts; i++) {
    await site.ssh(server.name, `docker kill ${container} >/dev/null`);
    await sleep(700);
    await site.ssh(server.name, `docker start ${container} >/dev/null`);
    await sleep(700);
    const [finished, started] = (await site.ssh(server.name, `docker inspect -f '{{.State.FinishedAt}} {{.State.StartedAt}}' ${container}`))
      .trim()
      .split(" ");
    times.push({ started: Date.parse(started ?? ""), finished: Date.parse(finished ?? "") });
    if (i % 10 === 9) options.say(`advertisement: ${i + 1} of ${starts} starts`);
  }
  stop();
  /** The first event of its sort before the next change: a late one is counted as it came, and one that never came is said. */
  const after = (from: number, until: number, gone: boolean): number | undefined => {
    const found = events.find((e) => e.gone === gone && e.atMs >= from - 1 && e.atMs < until);
    return found === undefined ? undefined : found.atMs - from;
  };
  const known = times.map(({ started }, i) => after(started, times[i + 1]?.finished ?? Number.POSITIVE_INFINITY, false));
  const forgotten = times.map(({ finished, started }) => after(finished, started, true));
  appendFileSync(options.file, `${JSON.stringify({ bench: "evpn advertisement", known, forgotten, unit: "ms" })}\n`);
  const row = (name: string, all: readonly (number | undefined)[]): string => {
    const list = all.filter((one) => one !== undefined);
    const [p90, p99, most] = [percentile(list, 0.9), percentile(list, 0.99), Math.max(...list)].map((one) => one.toFixed(0));
    return `| ${name} | ${median(list).toFixed(0)} | ${p90} | ${p99} | ${most} | ${all.length - list.length} |`;
  };
  console.log(
    [
      `\n| ${starts} times | median ms | P90 | P99 | most | never |`,
      "|---|---|---|---|---|---|",
      row("container's start to the other server's FDB", known),
      row("docker kill to its leaving the other server's FDB", forgotten),
      "",
    ].join("\n"),
  );
}

async function measureLoad(site: Site, options: BenchOptions, count: number): Promise<void> {
  const vtep = site.itself("flip").address;
  const base = `--vni ${network.vn} --next-hop ${vtep} --rd ${vtep}:${network.vn} --rt 65000:${network.vn} --count ${count}`;
  const inject = (more = ""): Promise<string> =>
    site.ssh("flip", `docker exec ff-route-server evpn-inject --target unix:///run/gobgp.sock ${base} ${more}`);
  const entries = async (): Promise<number> =>
    Number((await site.ssh("flap", `bridge fdb show brport ${network.tunnel} | grep -c '^02:ee:.* master' || true`)).trim());
  const memoryMiB = async (): Promise<Record<string, number>> => {
    const script =
      "for p in gobgpd bgpd zebra; do for pid in $(pgrep -x $p); do echo $p $(awk '/VmRSS/ {print $2}' /proc/$pid/status); done; done";
    const lines = await Promise.all(servers.map((server) => site.ssh(server, script)));
    return Object.fromEntries(
      lines.flatMap((text, i) =>
        text
          .trim()
          .split("\n")
          .map((line) => [`${servers[i]} ${line.split(" ")[0]}`, Math.round(Number(line.split(" ")[1]) / 1024)]),
      ),
    );
  };
  const before = await memoryMiB();
  const begin = Date.now();
  await inject();
  const injectedSeconds = (Date.now() - begin) / 1000;
  await waitUntil(`${count} entries in the kernel of flap`, 120, async () => (await entries()) >= count);
  const seconds = (Date.now() - begin) / 1000;
  const after = await memoryMiB();
  const inRib = readRoutes(await site.ssh("flip", ribCommand.text)).filter((route) => route.mac?.startsWith("02:ee:") === true).length;
  const arrived = await entries();
  const withdraw = Date.now();
  await inject("--withdraw");
  await waitUntil("no entry in the kernel of flap", 120, async () => (await entries()) === 0);
  const withdrawSeconds = (Date.now() - withdraw) / 1000;
  appendFileSync(
    options.file,
    `${JSON.stringify({ bench: "evpn load", count, injectedSeconds, seconds, inRib, arrived, before, after, withdrawSeconds })}\n`,
  );
  const memory = Object.keys(after).map((key) => `${key} ${before[key]} -> ${after[key]} MiB`);
  console.log(
    [
      `\n${count} type-2 routes: ${inRib} in the route server, ${arrived} in the other server's kernel, ${count - arrived} lost`,
      `injected in ${injectedSeconds.toFixed(1)} s, all in the kernel after ${seconds.toFixed(1)} s: ${(count / seconds).toFixed(0)} routes/s`,
      `withdrawn everywhere after ${withdrawSeconds.toFixed(1)} s: ${(count / withdrawSeconds).toFixed(0)} routes/s`,
      `memory: ${memory.join(", ")}\n`,
    ].join("\n"),
  );
}

export async function benchEvpn(options: BenchOptions): Promise<void> {
  await withTestbed(
    "evpn",
    (project) => project.edit("testbeds/evpn.yaml", "vn: 16000148,", "vn: 16000148, shortcut: false,"),
    async (site) => {
      await measureWays(site, options, ways(site));
      await measureLatency(site, options, 20 * options.rounds);
      await measureLoad(site, options, 20_000);
    },
  );
}
