/** The beginning of one random walk (npm run soak -- --seed 1165): what is declared, done and broken in it ends as declared. */
import { afterAll, beforeAll, describe, it } from "vitest";
import { drawSteps, stepText } from "../soak/world";
import { Walk } from "../soak/walk";

const steps = drawSteps(1165, 8);

describe("a walk", () => {
  let walk: Walk;
  beforeAll(async () => {
    walk = await Walk.open("walk", () => undefined);
    await walk.begin();
  });
  afterAll(() => walk.close());

  it.each(steps.map((step, i) => [i + 1, stepText(step), step] as const))("step %i: %s", async (_, __, step) => walk.take(step));

  it("gives the servers back as they were", () => walk.end());
});
