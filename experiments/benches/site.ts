/** Where benches measure: the servers of a scratch project's testbed and its systems; and the two methods that all data paths share. */
import type { Declaration, ServerDeclaration } from "../../components/config/declaration";
import { checkedDeclaration } from "../../components/testbed/check";
import { isBare, planServer } from "../../components/testbed/plan";
import { findImage } from "../../images/find";
import { readLabState } from "../../lab/state";
import { run } from "../../support/process";
import { Project, succeeded } from "../../support/scratchProject";
import { machineConditions } from "../runner/conditions";
import { resultsTable, runBench, type Variant } from "../runner/runner";
import type { BenchOptions } from "./main";

/** The holder of the tools on a server itself. */
const onServerContainer = "ff-bench";

export interface End {
  readonly server: ServerDeclaration;
  readonly container: string;
  readonly address: string;
}

export class Site {
  constructor(
    readonly project: Project,
    readonly declaration: Declaration,
  ) {}

  server(name: string): ServerDeclaration {
    const found = this.declaration.servers.find((server) => server.name === name);
    if (found === undefined) throw new Error(`no server ${name}`);
    return found;
  }

  ssh(server: string, command: string): Promise<string> {
    return run(["ssh", "-F", `${this.project.root}/.flipflap/ssh/config`, server, command]);
  }

  system(name: string): End {
    for (const server of this.declaration.servers) {
      const plan = planServer(this.declaration, server).systems.find((s) => s.system.name === name);
      const address = plan?.interfaces[0]?.addresses[0]?.split("/")[0];
      if (plan !== undefined && !isBare(plan) && address !== undefined) return { server, container: plan.container, address };
    }
    throw new Error(`no system ${name}`);
  }

  itself(name: string): End {
    const server = this.server(name);
    return { server, container: onServerContainer, address: server.underlay.ipv4.split("/")[0] ?? "" };
  }
}

let port = 20000;

export async function throughput(site: Site, from: End, to: End, seconds: number): Promise<{ value: number; raw: unknown }> {
  port++;
  await site.ssh(to.server.name, `docker exec -d ${to.container} iperf3 -s -1 -p ${port}; sleep 0.3`);
  const printed = await site.ssh(
    from.server.name,
    `docker exec ${from.container} iperf3 -J -c ${to.address} -p ${port} -t ${seconds} -O 1`,
  );
  const raw = JSON.parse(printed) as {
    end: { sum_received: { bits_per_second: number }; cpu_utilization_percent: unknown; sender_tcp_congestion: string };
  };
  return {
    value: raw.end.sum_received.bits_per_second / 1e9,
    raw: { received: raw.end.sum_received, cpu: raw.end.cpu_utilization_percent, congestionControl: raw.end.sender_tcp_congestion },
  };
}

/** Report S1's sizes: request 100 bytes, response 200. */
export async function requestResponse(site: Site, from: End, to: End, seconds: number): Promise<{ value: number; raw: unknown }> {
  port++;
  await site.ssh(to.server.name, `docker exec -d ${to.container} timeout ${seconds + 20} netserver -D -4 -p ${port}; sleep 0.3`);
  const selectors = "TRANSACTION_RATE,MEAN_LATENCY,P50_LATENCY,P90_LATENCY,P99_LATENCY";
  const printed = await site.ssh(
    from.server.name,
    `docker exec ${from.container} netperf -P 0 -H ${to.address} -4 -p ${port} -t TCP_RR -l ${seconds} -T 0,0 -- -r 100,200 -k ${selectors}`,
  );
  const raw = Object.fromEntries([...printed.matchAll(/^(\w+)=([\d.]+)$/gm)].map((match) => [match[1] ?? "", Number(match[2])]));
  if (raw.TRANSACTION_RATE === undefined) throw new Error(`netperf said: ${printed}`);
  return { value: raw.TRANSACTION_RATE, raw };
}

export async function conditionsOf(site: Site): Promise<Record<string, unknown>> {
  const [flip] = await Promise.all([
    site.ssh(
      "flip",
      "cat /proc/sys/net/ipv4/tcp_congestion_control; ethtool -k up0 | grep -E '^(tcp-seg|generic|tx-check|rx-check)'; cat /sys/class/net/up0/mtu",
    ),
  ]);
  return { ...machineConditions(), uplink: flip.trim().split("\n"), placement: "throughput: free; TCP_RR: both ends on CPU 0" };
}

/** A lab of its own with the named testbed deployed; all is taken away whatever happens. */
export async function withTestbed(testbed: string, change: (project: Project) => void, work: (site: Site) => Promise<void>): Promise<void> {
  const project = Project.make("bench");
  for (const stack of ["flip", "flap"]) project.edit(`Pulumi.${stack}.yaml`, "flipflap:testbed: bridge", `flipflap:testbed: ${testbed}`);
  change(project);
  try {
    succeeded(await project.flipflap("up"));
    await work(new Site(project, checkedDeclaration(project.root, readLabState(project.root), true)));
  } finally {
    await project.flipflap("down");
    project.remove();
  }
}

/** Between two ends; `prepare` sets up what this way differs by, and `restore` takes it back. */
export interface Way {
  readonly name: string;
  readonly from: End;
  readonly to: End;
  readonly prepare?: () => Promise<void>;
  readonly restore?: () => Promise<void>;
}

/** One stream and TCP_RR of each way, beside server to server. */
export async function measureWays(site: Site, options: BenchOptions, ways: readonly Way[]): Promise<void> {
  const { id } = findImage(site.project.root, "tools");
  const servers = ["flip", "flap"];
  for (const server of servers) await site.ssh(server, `docker run -d --rm --name ${onServerContainer} --network host ${id} >/dev/null`);
  const conditions = await conditionsOf(site);
  const methods = [
    ["one TCP stream", "Gb/s", throughput],
    ["TCP_RR on one core", "transactions/s", requestResponse],
  ] as const;
  for (const [name, unit, method] of methods) {
    const variant = ({ name: title, from, to, prepare, restore }: Way): Variant => ({
      name: title,
      measure: async () => {
        await prepare?.();
        try {
          return await method(site, from, to, options.seconds);
        } finally {
          await restore?.();
        }
      },
    });
    const bench = {
      ...options,
      name,
      unit,
      baseline: variant({ name: "server to server", from: site.itself("flip"), to: site.itself("flap") }),
      variants: ways.map(variant),
      warmUp: true,
      conditions,
    };
    console.log(`\n${resultsTable(bench, await runBench(bench))}\n`);
  }
  for (const server of servers) await site.ssh(server, `docker rm -f ${onServerContainer} >/dev/null`);
}
