/** The ILA programs in this kernel, packet by packet, and a million hostile ones: agent/parts/ila/*_test.go. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildIlaTest } from "../../benches/support/goTest";
import { asRoot, tryRun } from "../../support/process";
import { goCommand } from "../../toolchain/go";

interface GoEvent {
  readonly Action: string;
  readonly Test?: string;
  readonly Output?: string;
}

describe("bpf/ila.bpf.c", () => {
  it("translates, refuses and counts as its tests want it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flipflap-bpf-"));
    try {
      const { test, object } = await buildIlaTest(folder);
      const finished = await tryRun(asRoot(["env", `FLIPFLAP_BPF=${object}`, test, "-test.v=test2json"]), { cwd: folder });
      const { stdout } = await tryRun([...(await goCommand()), "tool", "test2json"], { stdin: finished.stdout });
      const events = stdout.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as GoEvent] : []));
      const ended = (action: string): string[] =>
        events.flatMap(({ Action, Test }) => (Action === action && Test !== undefined ? [Test] : []));
      const said = events.flatMap(({ Output }) => Output ?? []).join("");
      expect(ended("fail"), said).toEqual([]);
      // The price of a packet is for benches.
      expect(ended("skip"), said).toEqual(["TestPrice"]);
      expect(finished.code, `${said}${finished.stderr}`).toBe(0);
      expect(ended("pass")).toEqual(expect.arrayContaining(["TestTranslation", "TestDrops", "TestQuotedPackets", "TestHostilePackets"]));
      expect(said).toMatch(/1000000 packets/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});
