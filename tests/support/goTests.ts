/** Tests of the agent's packages, run as programs of root's. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { buildGoTest, buildProgramTest } from "../../benches/support/goTest";
import { asRoot, tryRun } from "../../support/process";
import { goCommand } from "../../toolchain/go";

interface GoEvent {
  readonly Action: string;
  readonly Test?: string;
  readonly Output?: string;
}

export interface GoTests {
  /** Of agent/. */
  readonly folder: string;
  /** Of bpf/, where the tests run its programs. */
  readonly object?: string;
  /** Tests that are not there cannot fail. */
  readonly tests: readonly string[];
  readonly skips: readonly string[];
  readonly says?: RegExp;
}

export async function passGoTests({ folder: tested, object, tests, skips, says }: GoTests): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-go-"));
  try {
    const built =
      object === undefined ? { test: await buildGoTest(folder, tested), object: "" } : await buildProgramTest(folder, tested, object);
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
}
