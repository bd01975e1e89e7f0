/** What `flipflap trace` says of what is done meanwhile. */
import { spawn } from "node:child_process";
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

export const way = ({ hops }: Told): string => hops.map(({ place, device }) => `${place}/${device}`).join(" ");
