/** The agent's own tests of what needs no server: its queues, answers of DHCP, listings of rules. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { buildGoTest } from "../../benches/support/goTest";
import { tryRun } from "../../support/process";
import { codeRoot } from "../../support/project";

/** The agent's own tests that need nothing of the machine, by their packages. Those that do run in tests/bpf and tests/netfilter. */
const packages = {
  ".": ["TestQueuesKeepTheOrderOfASystemAndHoldUpNoOther", "TestPartsLetGoOfWhatChangedForThemAlone"],
  "parts/dhcp": ["TestAcksThatAreNoAddress", "TestLeasesWithoutAnEnd", "TestPacketsThatLie"],
  "parts/ila": ["TestFlatPinsMoveToAFolderOfTheirOwn"],
} as const;
const elsewhere = ["bpf", "firewall", "iptables", "parts/evpn", "parts/guard", "trace"];

/** Folders of the agent with tests. */
function tested(folder = ""): string[] {
  const entries = readdirSync(join(codeRoot, "agent", folder), { withFileTypes: true });
  const here = entries.some(({ name }) => name.endsWith("_test.go")) ? [folder === "" ? "." : folder] : [];
  return [...here, ...entries.filter((entry) => entry.isDirectory()).flatMap(({ name }) => tested(join(folder, name)))];
}

describe("the agent", () => {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-agent-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it.each(Object.entries(packages))(
    "%s does as its tests want it",
    async (name, tests) => {
      const finished = await tryRun([await buildGoTest(folder, name), "-test.v"]);
      expect(finished.code, finished.stdout).toBe(0);
      const passed = [...finished.stdout.matchAll(/^--- PASS: (\w+)/gm)].map(([, test]) => test);
      // Tests that are not there cannot fail.
      expect(passed).toEqual(expect.arrayContaining([...tests]));
    },
    300_000,
  );

  it("has no tests that nobody runs", () => {
    expect(tested().sort()).toEqual([...Object.keys(packages), ...elsewhere].sort());
  });
});
