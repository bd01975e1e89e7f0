/** The programs of bpf/ in this kernel, packet by packet, and a million hostile ones: agent/parts/PART/*_test.go. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { buildProgramTest } from "../../benches/support/goTest";
import { asRoot, tryRun } from "../../support/process";
import { goCommand } from "../../toolchain/go";

interface GoEvent {
  readonly Action: string;
  readonly Test?: string;
  readonly Output?: string;
}

interface Programs {
  readonly object: string;
  readonly folder: string;
  /** Tests that are not there cannot fail. */
  readonly tests: readonly string[];
  readonly skips: readonly string[];
  readonly says?: RegExp;
}

const all: readonly Programs[] = [
  {
    object: "ila",
    folder: "parts/ila",
    tests: ["TestTranslation", "TestDrops", "TestQuotedPackets", "TestHostilePackets"],
    // The price of a packet is for benches.
    skips: ["TestPrice"],
    says: /1000000 packets/,
  },
  { object: "overlay", folder: "parts/evpn", tests: ["TestShortcutOfASystem", "TestShortcutOfATunnel"], skips: [] },
  {
    object: "guard",
    folder: "parts/guard",
    tests: [
      "TestSources",
      "TestRoutersTagsAreDroppedToo",
      "TestWhatIsNotAllowedAnyMoreIsForgotten",
      "TestDropsAreCountedByReason",
      "TestHostileFrames",
    ],
    skips: [],
  },
  {
    object: "trace",
    folder: "trace",
    tests: [
      "TestFiltersJudge",
      "TestFiltersThatDoNotParse",
      "TestCompiledFiltersJudgeAlike",
      "TestADatagramIsFollowedToWhereItIsDropped",
      "TestWhatTheFilterDoesNotWantIsNotTold",
      "TestEqualDatagramsAreAsManyLegs",
      "TestAMillionPacketsAreReadAlike",
      "TestNamespacesThatStayKeepTheirSlots",
    ],
    skips: [],
    says: /1000000 packets/,
  },
];

describe.each(all)("bpf/$object.bpf.c", ({ object, folder: tested, tests, skips, says }) => {
  it("does with packets what its tests want", async () => {
    const folder = mkdtempSync(join(tmpdir(), "flipflap-bpf-"));
    try {
      const built = await buildProgramTest(folder, tested, object);
      const finished = await tryRun(asRoot(["env", `FLIPFLAP_BPF=${built.object}`, built.test, "-test.v=test2json"]), { cwd: folder });
      const { stdout } = await tryRun([...(await goCommand()), "tool", "test2json"], { stdin: finished.stdout });
      const events = stdout.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as GoEvent] : []));
      const ended = (action: string): string[] =>
        events.flatMap(({ Action, Test }) => (Action === action && Test !== undefined ? [Test] : []));
      const said = events.flatMap(({ Output }) => Output ?? []).join("");
      expect(ended("fail"), said).toEqual([]);
      expect(ended("skip"), said).toEqual(skips);
      expect(finished.code, `${said}${finished.stderr}`).toBe(0);
      expect(ended("pass")).toEqual(expect.arrayContaining([...tests]));
      if (says !== undefined) expect(said).toMatch(says);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 180_000);
});
