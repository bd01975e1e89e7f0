/** What the benches of data paths share: a testbed of their own, and ways through it beside server to server. */
import { checkedDeclaration } from "../components/plan/check";
import { throughput } from "../experiments/methods/iperf";
import type { LinkOptions, Measured } from "../experiments/methods/method";
import { requestResponse } from "../experiments/methods/netperf";
import { machineConditions, serverConditions } from "../experiments/runner/conditions";
import { resultsTable, runBench, type Variant } from "../experiments/runner/runner";
import { type End, Site } from "../experiments/site";
import { readLabState } from "../lab/state";
import type { BenchOptions } from "./bench";
import { Project, succeeded } from "./support/scratchProject";

export async function conditionsOf(site: Site): Promise<Record<string, unknown>> {
  return { ...machineConditions(), servers: await serverConditions(site), placement: "throughput: free; TCP_RR: both ends on CPU 0" };
}

/** A lab of its own with the named testbed deployed; all is taken away whatever happens. */
export async function withTestbed(
  testbed: string,
  change: (project: Project) => void,
  work: (site: Site, project: Project) => Promise<void>,
): Promise<void> {
  const project = Project.make("bench");
  project.use(testbed);
  change(project);
  try {
    succeeded(await project.flipflap("up"));
    const site = new Site(project.root, checkedDeclaration(project.root, readLabState(project.root), true));
    await site.open();
    await work(site, project);
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
  const conditions = await conditionsOf(site);
  const benches = [
    ["one TCP stream", throughput, "free", "Gb/s", ({ value }: Measured) => value],
    [
      "TCP_RR on one core",
      requestResponse,
      "one",
      "transactions/s",
      ({ details }: Measured) => details.transactionsPerSecond ?? Number.NaN,
    ],
  ] as const;
  for (const [name, method, cores, unit, figure] of benches) {
    const linkOptions: LinkOptions = { streams: 1, direction: "forward", cores, seconds: options.seconds, experiment: {} };
    const variant = ({ name: title, from, to, prepare, restore }: Way): Variant => ({
      name: title,
      measure: async () => {
        await prepare?.();
        try {
          const measured = await method.measure(site, from, to, linkOptions);
          return { value: figure(measured), raw: measured.details };
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
}
