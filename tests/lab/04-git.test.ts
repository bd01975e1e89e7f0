/** `git status` is clean after up, --testbed, preview and down. In a clone: the checkout under test may have edits of its own. */
import { cpSync, existsSync, lstatSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { pulumiEnvironment } from "../../deploy/pulumi";
import { run, tryRun } from "../../support/process";
import { codeRoot } from "../../support/project";

const clone = join(tmpdir(), "flipflap-test-clone");
const flipflap = (...words: string[]) =>
  tryRun([join(clone, "bin", "flipflap"), ...words], { cwd: clone, env: { ...pulumiEnvironment(clone), CI: "true" } });
const changed = async (): Promise<string> => run(["git", "status", "--porcelain"], { cwd: clone });

describe("a clone", () => {
  beforeAll(async () => {
    if (existsSync(clone)) await flipflap("down");
    rmSync(clone, { recursive: true, force: true });
    await run(["git", "clone", "--quiet", codeRoot, clone]);
    // What is not committed yet is tested too, as the clone's own commit.
    const files = (await run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], { cwd: codeRoot })).trim().split("\n");
    for (const file of files)
      if (existsSync(join(codeRoot, file)) && lstatSync(join(codeRoot, file)).isFile()) cpSync(join(codeRoot, file), join(clone, file));
    await run(["git", "add", "-A"], { cwd: clone });
    await run(["git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--allow-empty", "-m", "Try"], {
      cwd: clone,
    });
    symlinkSync(join(codeRoot, "node_modules"), join(clone, "node_modules"));
  });
  afterAll(async () => {
    await flipflap("down");
    rmSync(clone, { recursive: true, force: true });
  });

  it("stays clean through up, another testbed, a preview, a setting of Pulumi's and down", async () => {
    await run(["sh", "-c", "echo node_modules >>.git/info/exclude"], { cwd: clone });
    expect(await changed()).toBe("");
    const up = await flipflap("up", "--testbed", "bridge-modes");
    expect(up.stderr).toContain("pulumi up -s flip");
    expect(up.code).toBe(0);
    expect(await changed()).toBe("");
    const set = await tryRun(["pulumi", "config", "set", "--secret", "other:note", "hidden", "-s", "flip"], {
      cwd: clone,
      env: pulumiEnvironment(clone),
    });
    expect(set.code).toBe(0);
    expect((await tryRun(["pulumi", "preview", "-s", "flip"], { cwd: clone, env: pulumiEnvironment(clone) })).code).toBe(0);
    expect(await changed()).toBe("");
    expect((await flipflap("down")).code).toBe(0);
    expect(await changed()).toBe("");
    const mode = lstatSync(join(clone, ".flipflap", "passphrase")).mode & 0o777;
    expect(mode).toBe(0o600);
  });
});
