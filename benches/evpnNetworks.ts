/** Kind evpn: many networks of many tenants, from a bare lab until every server knows the systems of the others. */
import { appendFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { checkedDeclaration } from "../components/plan/check";
import { Site } from "../experiments/site";
import { readLabState } from "../lab/state";
import { waitUntil } from "../support/process";
import type { BenchOptions } from "./bench";
import { Project, succeeded } from "./support/scratchProject";

const servers = ["flip", "flap"] as const;
const counts = { tenants: 10, networks: 50, systemsOfANetwork: 4 } as const;

function testbed(): string {
  const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
  const networks = numbers(counts.networks).map(
    (n) => `  - { name: net-${n}, tenant: t-${n % counts.tenants}, kind: evpn, vn: ${100 + n}, subnet: 10.60.${n}.0/24 }`,
  );
  const systems = numbers(counts.networks).flatMap((n) =>
    numbers(counts.systemsOfANetwork).map((s) => {
      const at = `{ name: net-${n}, address: 10.60.${n}.${11 + s} }`;
      return `  - { name: s-${n}-${s}, tenant: t-${n % counts.tenants}, server: ${servers[s % 2]}, networks: [${at}] }`;
    }),
  );
  return `tenants: [${numbers(counts.tenants)
    .map((t) => `{ name: t-${t} }`)
    .join(", ")}]
networks:
${networks.join("\n")}
systems:
${systems.join("\n")}
links: [{ between: [flip, flap], mtuBytes: 9000 }]
`;
}

/** What of the other server's systems a server's tunnels lead to. */
async function known(site: Site, server: string): Promise<number> {
  const macs = `awk '/ dst / && $1 != "00:00:00:00:00:00" { print $1 }'`;
  return Number((await site.ssh(server, `bridge fdb show | ${macs} | sort -u | wc -l`)).trim());
}

export async function benchEvpnNetworks(options: BenchOptions): Promise<void> {
  const project = Project.make("bench");
  project.use("many");
  project.write("testbeds/many.yaml", testbed());
  const remote = (counts.networks * counts.systemsOfANetwork) / 2;
  try {
    succeeded(await project.flipflap("lab", "start"));
    const begin = performance.now();
    const passed = (): number => (performance.now() - begin) / 1000;
    succeeded(await project.flipflap("up"));
    const upSeconds = passed();
    const site = new Site(project.root, checkedDeclaration(project.root, readLabState(project.root), true));
    await waitUntil(`${remote} systems of the other server known`, 120, async () =>
      (await Promise.all(servers.map((server) => known(site, server)))).every((count) => count >= remote),
    );
    const seconds = passed();
    succeeded(await project.flipflap("check"));
    appendFileSync(options.file, `${JSON.stringify({ bench: "evpn networks", ...counts, upSeconds, seconds })}\n`);
    console.log(`\n${counts.networks} networks of ${counts.tenants} tenants, ${remote * 2} systems over two servers:`);
    console.log(`up ${upSeconds.toFixed(1)} s, every system known to both servers after ${seconds.toFixed(1)} s`);
  } finally {
    const begin = performance.now();
    await project.flipflap("down");
    console.log(`down: ${((performance.now() - begin) / 1000).toFixed(1)} s\n`);
    project.remove();
  }
}
