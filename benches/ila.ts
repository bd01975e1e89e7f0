/** Kind ila: what translation costs, how fast a system is known and moved, and what many mappings cost. */
import { spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Site } from "../experiments/site";
import { asRoot, sleep, tryRun, waitUntil } from "../support/process";
import type { BenchOptions } from "./bench";
import { measureWays, type Way, withTestbed } from "./site";
import { buildProgramTest } from "./support/goTest";
import { type Project, succeeded } from "./support/scratchProject";

const servers = ["flip", "flap"] as const;

async function onBoth(site: Site, command: string): Promise<void> {
  await Promise.all(servers.map((server) => site.ssh(server, command)));
}

/** Segments of up to this many bytes between the stacks (BIG TCP), on uplinks and at both ends of systems' interfaces. */
const bigTcp = (bytes: number): string => `
  for device in up0 $(ls /sys/class/net | grep '^ffv-'); do ip link set dev $device gso_max_size ${bytes} gro_max_size ${bytes}; done
  for pid in $(docker ps -q --filter label=flipflap.system | xargs docker inspect -f '{{.State.Pid}}'); do
    nsenter -t $pid -n ip link set dev eth0 gso_max_size ${bytes} gro_max_size ${bytes}
  done`;

function ways(site: Site): Way[] {
  const pair = (tenant: string) => ({ from: site.system(`${tenant}-web`), to: site.system(`${tenant}-client`) });
  return [
    { name: "the same way without ILA", ...pair("plain") },
    { name: "ila, csum neutral", ...pair("red") },
    { name: "ila, csum adjust-transport", ...pair("blue") },
    {
      name: "ila, csum neutral, BIG TCP",
      ...pair("red"),
      prepare: () => onBoth(site, bigTcp(196608)),
      restore: () => onBoth(site, bigTcp(65536)),
    },
  ];
}

const askAgent = (server: string, words: string): string =>
  `nsenter -t $(docker inspect -f '{{.State.Pid}}' ff-agent) -m -p /agent ${words} -stack ${server}`;

const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.ceil(values.length * share) - 1)] ?? Number.NaN;

const row = (name: string, list: readonly number[]): string =>
  `| ${[name, ...[percentile(list, 0.5), percentile(list, 0.99), Math.max(...list)].map((value) => value.toFixed(1))].join(" | ")} |`;

/** From the moment that a system is registered as one of flip to its entry in the maps of the others. */
async function measureRegistration(site: Site, options: BenchOptions, count: number): Promise<void> {
  const seconds = Math.ceil((count * 100) / 1000) + 8;
  const numbers = (text: string): number[] =>
    text
      .trim()
      .split("\n")
      .map((line) => Number(BigInt(line) / 1000n) / 1000);
  const others = servers.filter((server) => server !== "flip");
  const watching = others.map((server) => site.ssh(server, askAgent(server, `load -network red-id -watch ${seconds}`)));
  await sleep(2000);
  const begun = numbers(await site.ssh("flip", askAgent("flip", `load -network red-id -register ${count}`)));
  const seen = (await Promise.all(watching)).map(numbers);
  const delays = seen.map((times) => begun.map((from, i) => (times[i] ?? Number.NaN) - from));
  appendFileSync(options.file, `${JSON.stringify({ bench: "ila registration", unit: "ms", others, delays })}\n`);
  const all = begun.map((_, i) => Math.max(...delays.map((of) => of[i] ?? Number.NaN)));
  console.log(
    [`\n| ${count} registrations | median ms | P99 | most |`, "|---|---|---|---|", `${row("to every other server's map", all)}\n`].join(
      "\n",
    ),
  );
}

/** A server whose agent starts with nothing, in a registry that is full. */
async function measureFill(site: Site, options: BenchOptions, count: number): Promise<void> {
  const known = async (server: string): Promise<number> =>
    (JSON.parse(await site.ssh(server, askAgent(server, "ila"))) as { mappings: number }).mappings;
  const load = spawn("ssh", [
    "-F",
    `${site.root}/.flipflap/ssh/config`,
    "flip",
    `exec ${askAgent("flip", `load -network red-id -fill ${count}`)}`,
  ]);
  const begin = Date.now();
  try {
    await waitUntil("etcd to be filled", 120, () => known("flap").then((n) => n >= count));
    const together = (Date.now() - begin) / 1000;
    await site.ssh("flap", "docker stop -t 1 ff-agent >/dev/null; rm -rf /sys/fs/bpf/flipflap-flap; docker start ff-agent >/dev/null");
    const started = Date.now();
    await waitUntil("the fresh server to know all", 60, () =>
      known("flap").then(
        (n) => n >= count,
        () => false,
      ),
    );
    const seconds = (Date.now() - started) / 1000;
    appendFileSync(options.file, `${JSON.stringify({ bench: "ila fill", count, together, seconds })}\n`);
    console.log(
      `\n${count} mappings: registered and in both maps after ${together.toFixed(1)} s; in the map of a fresh server after ${seconds.toFixed(1)} s\n`,
    );
  } finally {
    load.stdin.end();
    await new Promise((resolve) => load.on("close", resolve));
  }
}

/** How long nothing comes back of a flow of datagrams (echo, every 2 ms) to a system that moves. */
async function measureMoves(site: Site, project: Project, options: BenchOptions, count: number): Promise<void> {
  const gaps: number[] = [];
  const intervalMs = 2;
  for (let i = 0; i < count; i++) {
    const to = i % 2 === 0 ? "flap" : "flip";
    const { address } = site.system("red-web");
    const words = ["exec", "red-near", "--", "ping", "-n", "-q", "-i", String(intervalMs / 1000), "-w", "22", address];
    const flow = project.flipflap(...words);
    await sleep(1000);
    succeeded(await project.flipflap("move", "red-web", "--to", to));
    const { stdout } = await flow;
    const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? [];
    gaps.push((Number(sent) - Number(received)) * intervalMs);
    options.say(`move ${i + 1} of ${count}: ${gaps.at(-1)} ms`);
  }
  appendFileSync(options.file, `${JSON.stringify({ bench: "ila move", unit: "ms", gaps })}\n`);
  console.log([`\n| ${count} moves | median ms | P99 | most |`, "|---|---|---|---|", `${row("without an answer", gaps)}\n`].join("\n"));
}

/** What a packet costs in the programs, by the kernel's own count. */
async function measurePrice(options: BenchOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-price-"));
  try {
    const { test, object } = await buildProgramTest(folder, "parts/ila", "ila");
    const { stdout } = await tryRun(asRoot(["env", `FLIPFLAP_BPF=${object}`, "FLIPFLAP_PRICE=1", test, "-test.run", "Price"]));
    const prices = stdout.split("\n").flatMap((line) => (line.startsWith("PRICE ") ? [JSON.parse(line.slice(6)) as Price] : []));
    appendFileSync(options.file, `${JSON.stringify({ bench: "ila price", unit: "ns", prices })}\n`);
    const lines = prices.map(({ mappings, keys, outNs, inNs }) => `| ${mappings} | ${keys} | ${outNs.toFixed(0)} | ${inNs.toFixed(0)} |`);
    console.log(["\n| mappings | keys | sent ns | arriving ns |", "|---|---|---|---|", ...lines, ""].join("\n"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Price {
  readonly mappings: number;
  readonly keys: string;
  readonly outNs: number;
  readonly inNs: number;
}

export async function benchIla(options: BenchOptions): Promise<void> {
  await measurePrice(options);
  await withTestbed(
    "ila",
    (project) => {
      project.edit(
        "testbeds/ila.yaml",
        "networks:\n",
        'networks:\n  - { name: plain-id, tenant: red, kind: ila, vn: 9, sir: "face:b00c:0:9::/64", translate: false }\n',
      );
      const system = (name: string, server: string): string =>
        `  - { name: ${name}, tenant: red, server: ${server}, networks: [{ name: plain-id }] }\n`;
      project.edit("testbeds/ila.yaml", "systems:\n", `systems:\n${system("plain-web", "flip")}${system("plain-client", "flap")}`);
    },
    (site) => measureWays(site, options, ways(site)),
  );
}

export async function benchIlaRegistry(options: BenchOptions): Promise<void> {
  await withTestbed(
    "ila",
    () => undefined,
    async (site, project) => {
      await measureRegistration(site, options, 40 * options.rounds);
      await measureFill(site, options, 100_000);
      await measureMoves(site, project, options, 2 * options.rounds);
    },
  );
}
