/** The order of programs on a device, and their replacement under traffic, in this kernel: agent/bpf/chain_test.go. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildGoTest } from "../../benches/support/goTest";
import { asRoot, tryRun } from "../../support/process";

describe("the chain of programs on a device", () => {
  it("stands in its order by tcx and by filters, and no packet passes while one is replaced", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flipflap-chain-"));
    try {
      const test = await buildGoTest(folder, "bpf");
      // A bpffs of its own: the machine need not have one.
      const inOwn = ["unshare", "--mount", "sh", "-c", 'mount -t bpf bpf /sys/fs/bpf && exec "$0" -test.v', test];
      const finished = await tryRun(asRoot(inOwn), { cwd: folder });
      const said = `${finished.stdout}${finished.stderr}`;
      expect(finished.code, said).toBe(0);
      expect(said.match(/^ +--- PASS: .*\/filters/gm), said).toHaveLength(3);
      // Where the kernel has no tcx its tests say so.
      expect((said.match(/--- SKIP/g) ?? []).length, said).toBe(said.includes("no tcx before Linux 6.6") ? 5 : 0);
      expect(said).toMatch(/REPLACED \d+ times under 20000 packets: 20000 and 20000 seen/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});
