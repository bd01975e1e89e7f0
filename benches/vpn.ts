/** Kind macvlan beside server to server, and gateways: from nothing until every tunnel carries packets, and what each takes. */
import { appendFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { isHealthy, type Status } from "../cli/verbs/status";
import { bootTunnels } from "../experiments/methods/bootTunnels";
import { throughput } from "../experiments/methods/iperf";
import { requestResponse } from "../experiments/methods/netperf";
import type { End, Site } from "../experiments/site";
import type { BenchOptions } from "./bench";
import { measureWays, withTestbed } from "./site";
import { type Project, succeeded } from "./support/scratchProject";

/** A cloud, and sites around it, with a tunnel each; all on one server. */
function star(sites: number): string {
  const numbers = Array.from({ length: sites }, (_, i) => i + 1);
  return `tenants: [{ name: lab }]
networks:
  - { name: wan, tenant: lab, kind: macvlan, parent: local, subnet: 10.48.0.0/16 }
  - { name: cloud, tenant: lab, kind: macvlan, parent: local, subnet: 10.49.0.0/24, gateway: gw-cloud }
  - { name: aside, tenant: lab, kind: macvlan, parent: local, subnet: 10.50.0.0/24 }
${numbers.map((n) => `  - { name: in-${n}, tenant: lab, kind: macvlan, parent: local, subnet: 10.49.${n}.0/24 }`).join("\n")}
systems:
  - { name: served, tenant: lab, server: flip, networks: [{ name: cloud }] }
  - { name: idle, tenant: lab, server: flap, networks: [{ name: aside }] }
  - { name: gw-cloud, tenant: lab, server: flip, router: true, networks: [{ name: wan }, { name: cloud }] }
${numbers.map((n) => `  - { name: gw-${n}, tenant: lab, server: flip, router: true, networks: [{ name: wan }, { name: in-${n} }] }`).join("\n")}
sites:
  - { name: cloud, gateway: gw-cloud, inside: cloud }
${numbers.map((n) => `  - { name: site-${n}, gateway: gw-${n}, inside: in-${n} }`).join("\n")}
tunnels:
${numbers.map((n) => `  - { name: t-${n}, between: [site-${n}, cloud] }`).join("\n")}
links: [{ between: [flip, flap] }]
`;
}

async function timedUp(project: Project): Promise<number> {
  const begin = performance.now();
  const status = JSON.parse(succeeded(await project.flipflap("up", "--json"))) as Status;
  if (!isHealthy(status)) throw new Error("not every tunnel carries packets");
  return (performance.now() - begin) / 1000;
}

async function destroyed(project: Project): Promise<void> {
  for (const server of ["flap", "flip"]) succeeded(await project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
}

/** From destroyed stacks on a lab that runs, with the look at the end that finds every tunnel carrying packets. */
async function measureUp(project: Project, options: BenchOptions, name: string, rounds: number): Promise<void> {
  const seconds: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    await destroyed(project);
    seconds.push(await timedUp(project));
    options.say(`${name}: ${seconds.at(-1)?.toFixed(1)} s`);
  }
  appendFileSync(options.file, `${JSON.stringify({ bench: `vpn up, ${name}`, unit: "s", seconds })}\n`);
  console.log(`\n${name}, flipflap up until every tunnel carries packets: ${seconds.map((s) => s.toFixed(1)).join(", ")} s\n`);
}

async function measureBoot(site: Site, options: BenchOptions, counts: readonly number[]): Promise<void> {
  const lines = [];
  for (const sites of counts) {
    const { value, details } = await bootTunnels.measure(site, {
      network: "wan",
      placement: "same-server",
      streams: 1,
      direction: "forward",
      cores: "free",
      sites,
    });
    appendFileSync(options.file, `${JSON.stringify({ bench: "vpn boot", sites, seconds: value, details })}\n`);
    options.say(`${sites} sites: ${value.toFixed(1)} s`);
    lines.push(
      `| ${[details.gateways, value.toFixed(1), details.secondsPerGateway?.toFixed(2), details.memoryMiB?.toFixed(0), details.memoryMiBPerGateway?.toFixed(1)].join(" | ")} |`,
    );
  }
  console.log(
    ["\n| gateways | all tunnels carry after s | s a gateway | memory MiB | MiB a gateway |", "|---|---|---|---|---|", ...lines, ""].join(
      "\n",
    ),
  );
}

/** One stream and round trips by a tunnel of each mode. */
async function measureTunnels(site: Site, options: BenchOptions): Promise<void> {
  const pairs: [string, End, End][] = [
    ["site to site, IPv4", site.system("a1"), site.system("s1")],
    ["host to host", site.system("gw-a"), site.system("gw-s")],
  ];
  for (const [name, from, to] of pairs) {
    const link = { streams: 1, direction: "forward", seconds: options.seconds, experiment: {} } as const;
    const stream = await throughput.measure(site, from, to, { ...link, cores: "free" });
    const round = await requestResponse.measure(site, from, to, { ...link, cores: "one" });
    appendFileSync(options.file, `${JSON.stringify({ bench: `vpn ${name}`, stream: stream.value, rr: round.details })}\n`);
    console.log(`${name}: ${(stream.value * 1000).toFixed(0)} Mb/s, ${round.details.transactionsPerSecond?.toFixed(0)} transactions/s`);
  }
}

export async function benchMacvlan(options: BenchOptions): Promise<void> {
  await withTestbed(
    "macvlan",
    () => undefined,
    (site) => measureWays(site, options, [{ name: "macvlan on the uplinks", from: site.system("web"), to: site.system("db") }]),
  );
}

export async function benchVpn(options: BenchOptions): Promise<void> {
  await withTestbed(
    "vpn",
    () => undefined,
    async (site, project) => {
      await measureTunnels(site, options);
      await site.close();
      await measureUp(project, options, "three gateways on two servers", 3);
    },
  );
}

export async function benchVpnStar(options: BenchOptions): Promise<void> {
  await withTestbed(
    "star",
    (project) => project.write("testbeds/star.yaml", star(49)),
    async (site, project) => {
      await measureBoot(site, options, [1, 4, 9, 24, 49]);
      await site.close();
      await measureUp(project, options, "50 gateways on one server", 1);
    },
  );
}
