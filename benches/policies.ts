/** Kinds swarm and cilium, with policies and without; how fast rules are in force, and what a change of one among many does to a flow. */
import { appendFileSync } from "node:fs";
import { findServer } from "../components/config/declaration";
import type { HostObject } from "../components/host/objectType";
import { objectScript } from "../components/host/script";
import { isContainer } from "../components/kinds/parts";
import type { Ingress, Policy } from "../components/net/policy/types.gen";
import { checkedDeclaration } from "../components/plan/check";
import { planServer } from "../components/plan/plan";
import { readLabState } from "../lab/state";
import { tryRun, sleep } from "../support/process";
import type { Project } from "./support/scratchProject";

import { median } from "../experiments/runner/statistics";
import type { Site } from "../experiments/site";
import type { BenchOptions } from "./bench";
import { measureWays, type Way, withTestbed } from "./site";

const policyFile = "policies/service1.json";
const service1 = { matchLabels: { id: "service1" } };
/** What the measuring tools listen at. */
export const tools: Ingress = { fromEndpoints: [service1], toPorts: [{ ports: [{ port: 20000, endPort: 29999, protocol: "TCP" }] }] };

export const writePolicies = (project: Project, ingress: readonly Ingress[]): void =>
  project.write(policyFile, JSON.stringify([{ endpointSelector: service1, ingress: [...ingress] }] satisfies Policy[]));

export const ways = (site: Site, kinds: readonly string[]): Way[] =>
  kinds.flatMap((kind) =>
    (["", "5201"] as const).map((policed) => ({
      name: `${kind === "ipt" ? "swarm" : kind}${policed === "" ? "" : ", with a policy"}`,
      from: site.system(`${kind}${policed}-far`),
      to: site.system(`${kind}${policed}-one`),
    })),
  );

/** Objects of a server that put policies in force, each by what enforces it. */
const enforcing = (project: Project, server: string): { name: string; object: HostObject }[] => {
  const declaration = checkedDeclaration(project.root, readLabState(project.root), true);
  const declared = findServer(declaration, server);
  if (declared === undefined) throw new Error(`no server ${server}`);
  const plan = planServer(declaration, declared);
  const parts = [...plan.networks.flatMap(({ nve }) => nve), ...plan.kinds.flatMap(({ shared }) => shared.joints)];
  const of = (type: string, what: string, has: (spec: Record<string, unknown>) => boolean) =>
    parts.flatMap((part) =>
      !isContainer(part) && part.type.type === type && has(part.spec as Record<string, unknown>) ? [{ name: what, object: part }] : [],
    );
  return [
    ...of("overlay", "swarm", ({ policy }) => policy !== undefined),
    ...of("filter", "bridge", ({ policy }) => policy !== undefined),
    ...of("ciliumPolicy", "cilium", () => true),
  ];
};

/** Runs an object's own script as `up` does, and gives the seconds that it took, the connection included. */
async function ensure(project: Project, server: string, object: HostObject): Promise<number> {
  const begin = performance.now();
  const finished = await tryRun(["ssh", "-F", `${project.root}/.flipflap/ssh/config`, server, "sh -s ensure"], {
    stdin: objectScript(object, { stack: server }),
  });
  if (finished.code !== 0) throw new Error(finished.stderr);
  return (performance.now() - begin) / 1000;
}

const manyPorts = (count: number, first = 1000): Ingress[] => [
  {
    fromEndpoints: [service1],
    toPorts: [{ ports: Array.from({ length: count }, (_, i) => ({ port: first + i, protocol: "TCP" as const })) }],
  },
];
const manyPrefixes = (count: number): Ingress[] => [
  { fromCIDR: Array.from({ length: count }, (_, i) => `10.${120 + Math.floor(i / 256)}.${i % 256}.0/24`) },
];

export async function measureRules(project: Project, options: BenchOptions): Promise<void> {
  const rows: string[] = [];
  for (const [what, ingress] of [
    ["1,000 port rules", manyPorts],
    ["1,000 prefixes", manyPrefixes],
  ] as const) {
    const times = new Map<string, number[]>();
    for (let round = 0; round < options.rounds; round++) {
      // Another last rule each time, so that there is something to do.
      writePolicies(project, [tools, ...ingress(1000 + (round % 2))]);
      for (const { name, object } of enforcing(project, "flip"))
        times.set(name, [...(times.get(name) ?? []), await ensure(project, "flip", object)]);
    }
    for (const [name, list] of times) {
      rows.push(`| ${what} | ${name} | ${median(list).toFixed(2)} | ${Math.max(...list).toFixed(2)} |`);
      appendFileSync(options.file, `${JSON.stringify({ bench: "policy rules", what, name, seconds: list })}\n`);
    }
  }
  console.log(["\n| in force after | by | median s | most |", "|---|---|---|---|", ...rows, ""].join("\n"));
}

/** Ten changes of one rule among 1,000, while answers are asked for every 2 ms. */
export async function measureChange(site: Site, project: Project, options: BenchOptions): Promise<void> {
  const rows: string[] = [];
  const icmp: Ingress = { fromEndpoints: [service1] };
  writePolicies(project, [icmp, ...manyPorts(1000)]);
  for (const { object } of enforcing(project, "flip")) await ensure(project, "flip", object);
  for (const [index, { name }] of enforcing(project, "flip").entries()) {
    const kind = name === "swarm" ? "ipt" : name;
    const [from, to] = [site.system(`${kind}5201-far`), site.system(`${kind}5201-one`)];
    const count = 7000;
    const pinging = site.ssh(
      from.server.name,
      `docker exec ${from.system?.holder ?? ""} ping -n -q -i 0.002 -c ${count} ${to.address} || :`,
      60,
    );
    await sleep(1000);
    for (let change = 0; change < 10; change++) {
      writePolicies(project, [icmp, ...manyPorts(1000, 1001 + change)]);
      const own = enforcing(project, "flip")[index];
      if (own !== undefined) await ensure(project, "flip", own.object);
      await sleep(500);
    }
    const received = Number(/(\d+) received/.exec(await pinging)?.[1]);
    rows.push(`| ${name} | ${count} | ${count - received} |`);
    appendFileSync(options.file, `${JSON.stringify({ bench: "policy change", name, asked: count, lost: count - received })}\n`);
  }
  console.log(["\n| 1 rule of 1,000 changed ten times | asked | unanswered |", "|---|---|---|", ...rows, ""].join("\n"));
}

export async function benchPolicies(options: BenchOptions): Promise<void> {
  await withTestbed(
    "filtering",
    (project) => {
      writePolicies(project, [tools]);
      // Bridges with a policy too, for the times.
      project.edit(
        "testbeds/filtering.yaml",
        /^ {2}- \{ name: bridge-(one|two|far), /gm,
        "  - { labels: { id: service1 }, name: bridge-$1, ",
      );
      project.edit("testbeds/filtering.yaml", "name: bridge-one", "name: bridge5201-one");
      project.edit("testbeds/filtering.yaml", "name: bridge-far", "name: bridge5201-far");
    },
    async (site, project) => {
      await measureWays(site, options, ways(site, ["ipt", "cilium"]));
      await measureRules(project, options);
      await measureChange(site, project, options);
    },
  );
  await withTestbed(
    "filtering",
    (project) => {
      writePolicies(project, [tools]);
      project.edit("testbeds/filtering.yaml", /kind: cilium,/g, "kind: cilium, routing: native,");
    },
    async (site) => {
      await measureWays(
        site,
        options,
        ways(site, ["cilium"]).map((way) => ({ ...way, name: `${way.name} (native)` })),
      );
    },
  );
}
