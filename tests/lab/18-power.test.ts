/** A server loses its power at any moment of an up, of an up that changes testbeds, of a down: one up or down later all is whole. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { sleep } from "../../support/process";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { pulumisOf } from "../support/pulumis";
import { seeded } from "../support/seeded";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"];
const before = new Map<string, string>();
const { onServer, withoutImages } = onLab(project);

const expectAsBefore = async (): Promise<void> => {
  for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
};
const expectWhole = async (): Promise<void> => {
  expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
};

const destroy = () => Promise.all(servers.map((stack) => project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview")));
/** All stacks go; the servers stay. */
const destroyAll = async (): Promise<void> => (await destroy()).forEach(succeeded);

/** Cuts a server's power in the middle of what `work` does, and gives it back a moment later. */
async function cutDuring(server: string, milliseconds: number, work: () => Promise<unknown>): Promise<void> {
  const working = work();
  let isOver = false;
  void working.then(() => (isOver = true));
  while (!isOver && pulumisOf(project.root).length === 0) await sleep(5);
  await sleep(milliseconds);
  succeeded(await project.flipflap("lab", "power-cut", server));
  await sleep(1000);
  succeeded(await project.flipflap("lab", "power-on", server));
  await working;
}

describe("a power cut", () => {
  const seed = Number(process.env.FLIPFLAP_SEED ?? Date.now() % 1000000) + 1;
  const next = seeded(seed);
  const kinds = ["change", "destroy", "up"] as const;
  const cuts = Array.from({ length: Number(process.env.FLIPFLAP_CUTS ?? 2) }, (_, i) => ({
    of: kinds[i % kinds.length],
    server: servers[Math.floor(next() * servers.length)] ?? "flip",
    part: next(),
  }));

  beforeAll(async () => {
    project.use("bridge");
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    for (const server of servers) {
      await withoutImages(server);
      before.set(server, await serverSnapshot(project.root, server));
    }
  });
  afterAll(() => project.flipflap("lab", "stop"));
  afterAll(() => project.use("bridge"));

  it.each(cuts.map((cut, i) => [i + 1, cut.of, cut.server, cut.part] as const))(
    `seed ${seed}, cut %i in the middle of %s, of %s: one more gets there`,
    async (_, of, server, part) => {
      if (of === "change" || of === "up") {
        if (of === "change") succeeded(await project.flipflap("up"));
        project.use("evpn");
        await cutDuring(server, part * 20_000, () => project.flipflap("up"));
        succeeded(await project.flipflap("up"));
        await expectWhole();
      } else {
        succeeded(await project.flipflap("up"));
        await cutDuring(server, part * 6000, destroy);
      }
      await destroyAll();
      project.use("bridge");
      await expectAsBefore();
    },
    400_000,
  );

  it("or an image that was pruned, is mended by the next up, and by repair", async () => {
    succeeded(await project.flipflap("up"));
    const gone =
      "docker rm -f ff-red-web >/dev/null; docker rm -f $(docker ps -a -q --filter ancestor=$(docker images -q flipflap/tools)) >/dev/null; docker image prune -a -f >/dev/null";
    for (const mend of ["up", "repair"]) {
      await onServer("flip", gone);
      expect((await project.flipflap("drift")).stdout).toMatch(/flip-image-tools \(image\): missing/);
      succeeded(await project.flipflap(mend));
      await expectWhole();
    }
    await destroyAll();
    await expectAsBefore();
  });
});
