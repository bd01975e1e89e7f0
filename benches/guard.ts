/** What the guard costs: each kind with it, with its programs at systems' ports alone, and without, in pairs. */
import { specsFolder } from "../components/host/objects/agentFolders";
import { pinsOf } from "../components/host/objects/programs";
import { type Script, sh } from "../components/host/sh";
import { throughput } from "../experiments/methods/iperf";
import { requestResponse } from "../experiments/methods/netperf";
import { resultsTable, runBench } from "../experiments/runner/runner";
import type { End, Site } from "../experiments/site";
import type { BenchOptions } from "./bench";
import { conditionsOf, withTestbed } from "./site";

const servers = ["flip", "flap"] as const;

const testbed = `
tenants: [{ name: red }]
networks:
  - { name: bridge, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.81.1.0/24, flap: 10.81.2.0/24 } }
  - { name: evpn, tenant: red, kind: evpn, vn: 82, subnet: 10.82.0.0/24 }
  - { name: macvlan, tenant: red, kind: macvlan, parent: vxlan 83, subnet: 10.83.0.0/24 }
systems:
${["bridge", "evpn", "macvlan"].flatMap((kind) => servers.map((server) => `  - { name: ${kind}-${server}, tenant: red, server: ${server}, networks: [{ name: ${kind} }] }`)).join("\n")}
links: [{ between: [flip, flap], mtuBytes: 9000 }]
`;

const families = ["inet", "arp", "bridge"];

/** The guard's tables of a server, as they are put back. */
async function tablesOf(site: Site, server: string): Promise<string> {
  const table = `flipflap-${server}`;
  return site.exec(site.itself(server), sh`for family in ${families}; do nft list table "$family" ${table} 2>/dev/null || :; done`, 20);
}

/** As when a plan comes: the agent puts the programs where they belong. */
const attachAgain = (server: string): Script => sh`
  cd ${specsFolder({ stack: server })}
  for plan in *.json; do cp "$plan" ".$plan.new" && mv ".$plan.new" "$plan"; done
  ports=$(grep -l '"type": "guard"' *.json | wc -l)
  for _ in $(seq 100); do [ "$(ls ${pinsOf({ stack: server })}/guard | grep -c ^guard_out-)" -ge "$ports" ] && exit 0; sleep 0.1; done
  echo "the agent has not put the guard's programs at $ports ports" >&2; exit 1
`;

export async function benchGuard(options: BenchOptions): Promise<void> {
  await withTestbed(
    "guard",
    (project) => project.write("testbeds/guard.yaml", testbed),
    async (site) => {
      const tables = new Map<string, string>();
      for (const server of servers) tables.set(server, await tablesOf(site, server));
      const off = async (): Promise<void> => {
        for (const server of servers)
          await site.exec(
            site.itself(server),
            sh`for family in ${families}; do if nft list table "$family" ${`flipflap-${server}`} >/dev/null 2>&1; then nft delete table "$family" ${`flipflap-${server}`}; fi; done; rm -f ${pinsOf({ stack: server })}/guard/guard_out-*`,
            20,
          );
      };
      const programs = async (): Promise<void> => {
        await off();
        for (const server of servers) await site.exec(site.itself(server), attachAgain(server), 20);
      };
      const on = async (): Promise<void> => {
        await programs();
        for (const server of servers) await site.exec(site.itself(server), sh`printf '%s\n' ${tables.get(server) ?? ""} | nft -f -`, 20);
      };
      const conditions = await conditionsOf(site);
      for (const kind of ["bridge", "evpn", "macvlan"]) {
        const [from, to]: [End, End] = [site.system(`${kind}-flip`), site.system(`${kind}-flap`)];
        for (const [what, unit, cores] of [
          ["TCP_RR on one core", "transactions/s", "one"],
          ["one TCP stream", "Gb/s", "free"],
        ] as const) {
          const measure = (prepare: () => Promise<void>) => async () => {
            await prepare();
            const method = cores === "one" ? requestResponse : throughput;
            const measured = await method.measure(site, from, to, {
              streams: 1,
              direction: "forward",
              cores,
              seconds: options.seconds,
              experiment: {},
            });
            return {
              value: cores === "one" ? (measured.details.transactionsPerSecond ?? Number.NaN) : measured.value,
              raw: measured.details,
            };
          };
          const bench = {
            ...options,
            name: `${kind}: ${what}`,
            unit,
            baseline: { name: "guard off", measure: measure(off) },
            variants: [
              { name: "ports' programs alone", measure: measure(programs) },
              { name: "guard on", measure: measure(on) },
            ],
            warmUp: true,
            conditions,
          };
          console.log(`\n${resultsTable(bench, await runBench(bench))}\n`);
        }
      }
    },
  );
}
