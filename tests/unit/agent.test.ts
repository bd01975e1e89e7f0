/** The agent's own tests of what needs no server: answers of DHCP, packets, listings of rules. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildGoTest } from "../../benches/support/goTest";
import { tryRun } from "../../support/process";

describe("the agent", () => {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-agent-"));
  let test = "";
  beforeAll(async () => {
    test = await buildGoTest(folder, ".");
  }, 300_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("takes nothing for granted that others say", async () => {
    const finished = await tryRun([test, "-test.v"]);
    expect(finished.code, finished.stdout).toBe(0);
    // Tests that are not there cannot fail.
    expect(finished.stdout.match(/^--- PASS/gm)?.length).toBeGreaterThanOrEqual(4);
  });
});
