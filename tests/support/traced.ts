/** What `flipflap trace` says of what is done meanwhile. */
import { spawn } from "node:child_process";
import { expect } from "vitest";
import type { Project } from "../../benches/support/scratchProject";
import type { Explanation } from "../../components/capabilities/tracer/explain";
import type { Hop } from "../../components/capabilities/tracer/hops";
import type { Journey } from "../../components/capabilities/tracer/journey";
import type { KinCounts } from "../../components/capabilities/tracer/pieces";
import { pulumiEnvironment } from "../../deploy/pulumi";
import { codeRoot } from "../../support/project";

export type Told = Journey & {
  readonly explained?: Explanation;
  readonly pieces?: KinCounts;
  readonly hops: readonly Pick<Hop, "server" | "place" | "device" | "isInferred" | "crossing">[];
};

export interface Traced {
  readonly journeys: readonly Told[];
  readonly said: string;
}

/** What the tracer says of what is done meanwhile. */
export async function tracedIn(project: Project, words: readonly string[], during: () => Promise<unknown>): Promise<Traced> {
  const child = spawn("node", [`${codeRoot}/cli/start.cjs`, "trace", "--json", ...words], {
    cwd: project.root,
    env: { ...pulumiEnvironment(project.root), CI: "true" },
  });
  let [out, said] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (out += data.toString()));
  const ready = new Promise<void>((resolve, reject) => {
    child.stderr.on("data", (data: Buffer) => {
      said += data.toString();
      if (said.includes("following")) resolve();
    });
    child.once("close", () => reject(new Error(`the tracer ended: ${said}`)));
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  await ready;
  await during();
  child.kill("SIGINT");
  await ended;
  return { said, journeys: out.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Told] : [])) };
}

/** Pings from one system to another: each is followed by the declared way, there and back, and nothing else is. */
export async function pingsByDeclaredWay(
  project: Project,
  { from, to }: { readonly from: string; readonly to: string },
  ping: (count: number) => Promise<unknown>,
  words: readonly string[] = ["--system", from, "icmp"],
): Promise<void> {
  // Neighbours are known, and what is cached of ways is.
  await ping(2);
  const { journeys, said } = await tracedIn(project, words, () => ping(3));
  expect(journeys.length, said).toBe(6);
  expect(said).toMatch(/6 journeys, 0 ambiguous/);
  for (const journey of journeys) {
    const { explained } = journey;
    expect([explained?.missing, explained?.extra, explained?.dropped], way(journey)).toEqual([[], [], undefined]);
    expect(explained?.declared?.length, way(journey)).toBeGreaterThan(2);
  }
  expect(new Set(journeys.map(({ explained }) => `${explained?.from} ${explained?.to}`))).toEqual(
    new Set([`${from} ${to}`, `${to} ${from}`]),
  );
  expect([...said.matchAll(/ (\d+) lost/g)].map(([, lost]) => lost)).toEqual(["0", "0"]);
}

export const way = ({ hops }: Told): string => hops.map(({ place, device }) => `${place}/${device}`).join(" ");
