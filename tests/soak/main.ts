/**
 * npm run soak -- --seed N --steps N: a random walk over all that can be declared, done and broken. One that fails is shrunk to
 * the steps that it takes; a walk that was stopped goes on by --from STEP (the same seed: the steps before are taken without
 * faults and without looks). With --fault kill-flipflap, say, each step has that one in its middle.
 */
import { parseArgs } from "node:util";
import { ensureToolchain } from "../../setup/toolchain";
import { allImages, ensureImages } from "../../setup/images";
import { changed, drawSteps, faults, type Step, stepText } from "./world";
import { Walk } from "./walk";

const say = (line: string): void => console.log(`${new Date().toISOString().slice(11, 19)}  ${line}`);

/** The error with which a walk of these steps ends; undefined where it does not. */
async function faultOf(steps: readonly Step[], from = 0): Promise<string | undefined> {
  const walk = await Walk.open("soak", say);
  try {
    await walk.begin();
    for (const [i, step] of steps.entries()) {
      if (i < from) walk.world = changed(walk.world, step.change);
      else {
        say(`step ${i + 1} of ${steps.length}`);
        await walk.take(step);
      }
    }
    await walk.end();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  } finally {
    await walk.close();
  }
}

/** Leaves out half, then a quarter, and so on, as long as it still fails (ddmin). */
async function shrunk(steps: readonly Step[]): Promise<readonly Step[]> {
  let least = steps;
  for (let size = Math.ceil(least.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < least.length;) {
      const without = [...least.slice(0, at), ...least.slice(at + size)];
      say(`shrinking: ${without.length} of ${least.length} steps`);
      if (without.length > 0 && (await faultOf(without)) !== undefined) least = without;
      else at += size;
    }
  }
  return least;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      steps: { type: "string" },
      from: { type: "string" },
      fault: { type: "string" },
      shrink: { type: "boolean" },
    },
  });
  const named = faults.find((fault) => fault === values.fault);
  if (values.fault !== undefined && named === undefined) throw new Error(`--fault: one of ${faults.join(", ")}`);
  const seed = Number(values.seed ?? (Date.now() % 1_000_000) + 1);
  await Promise.all([ensureToolchain(), ensureImages(allImages)]);
  const steps = drawSteps(seed, Number(values.steps ?? 100), named);
  say(`seed ${seed}, ${steps.length} steps`);
  const fault = await faultOf(steps, Number(values.from ?? 1) - 1);
  if (fault === undefined) {
    say(`seed ${seed}: ${steps.length} steps without a fault`);
    return 0;
  }
  console.log(`\n${fault}\n`);
  const least = values.shrink === true ? await shrunk(steps) : steps;
  console.log(["The walk:", ...least.map(stepText)].join("\n  "));
  return 1;
}

void main().then((code) => (process.exitCode = code));
