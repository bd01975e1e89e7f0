/** The ILA programs in this kernel, packet by packet, and a million hostile ones: agent/ila/*_test.go. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { goCommand } from "../../setup/go";
import { asRoot, run, tryRun } from "../../support/process";
import { codeRoot } from "../../support/project";

interface GoEvent {
  readonly Action: string;
  readonly Test?: string;
  readonly Output?: string;
}

describe("bpf/ila.bpf.c", () => {
  it("translates, refuses and counts as its tests want it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flipflap-bpf-"));
    try {
      await run(["make", "-s", "-C", join(codeRoot, "bpf"), `OUT=${folder}`, `${folder}/ila.bpf.o`]);
      const test = join(folder, "ila.test");
      const options = { cwd: join(codeRoot, "agent"), env: { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false", CGO_ENABLED: "0" } };
      await run([...(await goCommand()), "test", "-c", "-o", test, "./ila"], options);
      const finished = await tryRun(asRoot(["env", `FLIPFLAP_BPF=${folder}/ila.bpf.o`, test, "-test.v=test2json"]), { cwd: folder });
      const { stdout } = await tryRun([...(await goCommand()), "tool", "test2json"], { ...options, stdin: finished.stdout });
      const events = stdout.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as GoEvent] : []));
      const ended = (action: string): string[] =>
        events.flatMap(({ Action, Test }) => (Action === action && Test !== undefined ? [Test] : []));
      const said = events.flatMap(({ Output }) => Output ?? []).join("");
      expect(ended("fail"), said).toEqual([]);
      expect(ended("skip"), said).toEqual([]);
      expect(finished.code, `${said}${finished.stderr}`).toBe(0);
      expect(ended("pass")).toEqual(expect.arrayContaining(["TestTranslation", "TestDrops", "TestQuotedPackets", "TestHostilePackets"]));
      expect(said).toMatch(/1000000 packets/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});
