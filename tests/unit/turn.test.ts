/** One verb at a time works on a project. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hold, holdScript, letGo } from "../../deploy/hold";
import { takeTurn } from "../../deploy/turn";
import { codeRoot } from "../../support/project";

describe("verbs that change servers", () => {
  it("take turns in a project, and the one that waits is told for whom; killed, a verb's turn is over", async () => {
    const root = mkdtempSync(join(tmpdir(), "flipflap-turn-"));
    const script = `require(${JSON.stringify(join(codeRoot, "deploy/turn.ts"))}).takeTurn(${JSON.stringify(root)}, "up").then(() => { console.log("holds"); setInterval(() => {}, 1000); })`;
    const holder = spawn(process.execPath, ["--import", "tsx", "-e", script], { cwd: codeRoot, stdio: ["ignore", "pipe", "inherit"] });
    await once(holder.stdout, "data");
    await expect(takeTurn(root, "down")).rejects.toThrow(new RegExp(`flipflap up \\(PID ${holder.pid}, since \\S+Z\\) works on it`));
    const other = mkdtempSync(join(tmpdir(), "flipflap-turn-"));
    await takeTurn(other, "up");
    holder.kill("SIGKILL");
    await once(holder, "exit");
    await takeTurn(root, "down");
    await expect(takeTurn(root, "up")).rejects.toThrow(`flipflap down (PID ${process.pid},`);
    symlinkSync(root, `${root}-link`);
    await expect(takeTurn(`${root}-link`, "up")).rejects.toThrow("flipflap down");
    rmSync(`${root}-link`);
    await letGo();
    for (const folder of [root, other]) {
      // What was held has left nothing behind.
      expect(readdirSync(join(folder, ".flipflap"))).toEqual([]);
      rmSync(folder, { recursive: true });
    }
  });

  it("let go after a silence, though their input stays open", async () => {
    const root = mkdtempSync(join(tmpdir(), "flipflap-turn-"));
    const file = join(root, "held");
    const silent = spawn("sh", ["-s"], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = once(silent, "close");
    silent.stdin.write(`${holdScript(file, "one that hangs", 1).text}\n`);
    await once(silent.stdout, "data");
    await ended;
    expect(await hold(["sh", "-s"], `${holdScript(file, "the next").text}\n`)).toBeUndefined();
    await letGo();
    // A shell that is not there is said, and ends nothing.
    expect(await hold(["/nowhere/sh"], "")).toMatchObject({ holder: undefined, stderr: expect.stringContaining("ENOENT") as string });
    rmSync(root, { recursive: true });
  });

  it("do not show what another's words would do to a terminal", async () => {
    const root = mkdtempSync(join(tmpdir(), "flipflap-turn-"));
    const refusing = ["sh", "-c", "printf 'evil\\033[2J words'; exit 75"];
    expect((await hold(refusing, ""))?.holder).toBe("evil [2J words");
    rmSync(root, { recursive: true });
  });
});
