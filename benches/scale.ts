/** Many systems on one server: up, drift and destroy beside bare docker, and what each system takes of the memory. */
import { readFileSync, writeFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { checkedDeclaration } from "../components/plan/check";
import { operate } from "../deploy/pulumi";
import { machineConditions } from "../experiments/runner/conditions";
import { resultsTable, runBench, type Variant } from "../experiments/runner/runner";
import { median } from "../experiments/runner/statistics";
import { Site } from "../experiments/site";
import { findImage } from "../images/find";
import { readLabState } from "../lab/state";
import { codeRoot } from "../support/project";
import type { BenchOptions } from "./bench";
import { curve, type Series } from "./curve";
import { Project, succeeded } from "./support/scratchProject";

const server = "flip";
/** `docker run` at once; the fastest of these is the baseline. */
const parallelisms = [2, 4, 8];

/** Of each count the systems of one server; the first of the other. */
const testbed = (systems: number, others = 0): string => `tenants: [{ name: red }]
networks:
  - { name: net, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.40.0.0/22, flap: 10.44.0.0/22 } }
systems:
${declared(server, systems)}
${declared("flap", others)}
links: [{ between: [flip, flap] }]
`;

const declared = (on: string, count: number): string =>
  Array.from({ length: count }, (_, i) => `  - { name: ${on}-${i + 1}, tenant: red, server: ${on}, networks: [{ name: net }] }`).join("\n");

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return (performance.now() - begin) / 1000;
}

/** What the server's processes and the kernel hold, without what could be given up at once. */
async function usedMiB(site: Site): Promise<number> {
  const text = await site.ssh(server, "cat /proc/meminfo");
  const of = (key: string): number => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(text)?.[1]);
  return (of("MemTotal") - of("MemAvailable")) / 1024;
}

const bare = {
  run: (image: string, count: number, parallelism: number): string =>
    `seq ${count} | xargs -P ${parallelism} -I{} docker run -d --name bare-{} --network none --restart always ${image} >/dev/null`,
  remove: (count: number, parallelism: number): string => `seq ${count} | xargs -P ${parallelism} -I{} docker rm -f bare-{} >/dev/null`,
};

async function bestParallelism(site: Site, image: string): Promise<number> {
  const tried: [parallelism: number, seconds: number][] = [];
  for (const parallelism of parallelisms) {
    tried.push([parallelism, await seconds(() => site.ssh(server, bare.run(image, 20, parallelism)))]);
    await site.ssh(server, bare.remove(20, parallelism));
  }
  return tried.sort(([, a], [, b]) => a - b)[0]?.[0] ?? 4;
}

/** Drift of some 300 objects on two servers, and the return of one of them after a power cut. */
async function measureLiving(project: Project, options: BenchOptions): Promise<void> {
  project.write("testbeds/scale.yaml", testbed(66, 66));
  succeeded(await project.flipflap("up"));
  const drift = async (): Promise<string> => (await project.flipflap("drift")).stdout;
  await drift();
  const times: number[] = [];
  let said = "";
  for (let i = 0; i < options.rounds; i++) times.push(await seconds(async () => void (said = await drift())));
  console.log(`\ndrift: ${said.trim()}: ${times.map((time) => time.toFixed(2)).join(", ")} s`);
  succeeded(await project.flipflap("lab", "power-cut", "flap"));
  succeeded(await project.flipflap("lab", "power-on", "flap"));
  let mended = "";
  const repair = await seconds(async () => void (mended = (await project.flipflap("repair")).stdout));
  console.log(`repair after a power cut of flap: ${mended.trim()}: ${repair.toFixed(1)} s\n`);
}

/** containerlab's linux nodes with a link each, as measured on this kind of machine; and what flipflap took while its state was written at every step. */
const compared: readonly Series[] = [
  { name: "flipflap up, before", colour: "#d55e00", dash: "2 3", points: points([10, 8.5], [30, 17], [100, 56.6], [300, 291]) },
  { name: "containerlab deploy", colour: "#666666", dash: "7 3", points: points([100, 47]) },
  { name: "containerlab destroy", colour: "#999999", dash: "7 3", points: points([100, 20]) },
];

function points(...pairs: readonly (readonly [systems: number, seconds: number])[]): Series["points"] {
  return pairs.map(([systems, seconds]) => ({ systems, seconds }));
}

/** From the bench's own lines: the median of each figure at each number of systems. */
export function curveOf(lines: readonly string[]): string {
  const measured = new Map<string, Map<number, number[]>>();
  for (const line of lines) {
    const { bench, variant, raw } = JSON.parse(line) as { bench: string; variant?: string; raw?: Record<string, number[]> };
    const systems = Number(/^(\d+) systems/.exec(bench)?.[1]);
    for (const key of ["up", "destroy"]) {
      const seconds = raw?.[`${variant}: ${key}`]?.at(-1);
      if (Number.isNaN(systems) || seconds === undefined) continue;
      const name = `${variant?.startsWith("docker") === true ? "docker" : variant} ${key}`;
      const own = measured.get(name) ?? new Map<number, number[]>();
      measured.set(name, own.set(systems, [...(own.get(systems) ?? []), seconds]));
    }
  }
  const series = (name: string, from: string, colour: string, dash?: string): Series => ({
    name,
    colour,
    ...(dash !== undefined && { dash }),
    points: points(...[...(measured.get(from) ?? [])].map(([systems, all]) => [systems, median(all)] as const)),
  });
  const own = [
    series("flipflap up", "pulumi up up", "#d55e00"),
    series("docker run", "docker up", "#0072b2"),
    series("flipflap, removal", "pulumi up destroy", "#e69f00"),
    series("docker rm -f", "docker destroy", "#56b4e9"),
  ];
  return curve(
    "Systems on one server, two cores",
    [...own, ...compared].filter((one) => one.points.length > 0),
  );
}

const backlog = "/proc/sys/net/core/netdev_max_backlog";

/** What `up` warns of: this machine's own loopback would lose packets to a thousand ports. Gives back what was there. */
function makeRoom(packets: number): string {
  const before = readFileSync(backlog, "utf8");
  if (Number(before) < packets) writeFileSync(backlog, String(packets));
  return before;
}

export async function benchScale(options: BenchOptions): Promise<void> {
  const kept = makeRoom(20 * Math.max(...options.counts));
  try {
    await measureScale(options);
  } finally {
    writeFileSync(backlog, kept);
  }
}

async function measureScale(options: BenchOptions): Promise<void> {
  const project = Project.make("bench");
  const use = (count: number, others = 0): void => project.write("testbeds/scale.yaml", testbed(count, others));
  project.use("scale");
  use(1);
  try {
    // What every testbed has, images included, is there before anything is timed.
    succeeded(await project.flipflap("up"));
    const site = new Site(project.root, checkedDeclaration(project.root, readLabState(project.root), true));
    const { id } = findImage(project.root, "tools");
    const parallelism = await bestParallelism(site, id);
    // As flipflap's verbs call it.
    const up = async (...stacks: string[]): Promise<void> => {
      const ended = await Promise.all(stacks.map((stack) => operate(project.root, "up", stack, () => undefined)));
      for (const { code, output } of ended) if (code !== 0) throw new Error(output.slice(-2000));
    };
    for (const count of options.counts) {
      const figures = new Map<string, number[]>();
      const note = (name: string, value: number): void => void figures.set(name, [...(figures.get(name) ?? []), value]);
      const figure = (name: string): number => figures.get(name)?.at(-1) ?? Number.NaN;
      const timed = (name: string, others: Readonly<Record<string, () => Promise<void>>>): Variant => ({
        name,
        measure: async () => {
          for (const [key, work] of Object.entries(others)) note(`${name}: ${key}`, await seconds(work));
          return { value: figure(`${name}: up`), raw: Object.fromEntries(figures) };
        },
      });
      const bench = {
        ...options,
        name: `${count} systems on one server, up`,
        unit: "s",
        rounds: count > 100 ? 1 : Math.min(options.rounds, 3),
        baseline: timed(`docker run, ${parallelism} at once`, {
          up: async () => {
            const before = await usedMiB(site);
            await site.ssh(server, bare.run(id, count, parallelism));
            note("docker MiB", ((await usedMiB(site)) - before) / count);
          },
          destroy: async () => void (await site.ssh(server, bare.remove(count, parallelism))),
        }),
        variants: [
          timed("pulumi up", {
            up: async () => {
              const before = await usedMiB(site);
              use(count + 1);
              await up(server);
              note("flipflap MiB", ((await usedMiB(site)) - before) / count);
            },
            "up again": () => up(server),
            drift: async () => void succeeded(await project.flipflap("drift")),
            destroy: async () => {
              use(1);
              await up(server);
            },
          }),
          timed("pulumi up of two servers, half of them each", {
            up: async () => {
              use(count / 2 + 1, count / 2);
              await up(server, "flap");
            },
            destroy: async () => {
              use(1);
              await up(server, "flap");
            },
          }),
        ],
        warmUp: false,
        conditions: machineConditions(),
        foreignLimit: 1,
      };
      console.log(`\n${resultsTable(bench, await runBench(bench))}`);
      for (const [name, values] of figures) console.log(`  ${name}: ${values.map((value) => value.toFixed(2)).join(", ")}`);
    }
    const picture = options.file.replace(/jsonl$/, "svg");
    writeFileSync(picture, curveOf(readFileSync(options.file, "utf8").split("\n").filter(Boolean)));
    console.log(`\nthe curve: ${picture.slice(codeRoot.length + 1)}`);
    await measureLiving(project, options);
  } finally {
    await project.flipflap("down");
    project.remove();
  }
}
