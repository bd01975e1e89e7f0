/** Another kernel than this machine's: Debian's cloud kernel in QEMU, by software emulation. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach } from "vitest";
import { imagesFolder } from "../../images/cache";
import { debianSources } from "../../images/sources";
import { asRoot, run, tryRun } from "../../support/process";
import { codeRoot } from "../../support/project";

const script = (name: string): string => join(codeRoot, "tests/guest", name);

/** Why there can be no guest here; undefined where there can. */
export function guestImpossible(): string | undefined {
  if (process.arch !== "x64") return `this machine is ${process.arch}, and the guest is built for amd64`;
  const folders = (process.env.PATH ?? "").split(":");
  return folders.some((folder) => existsSync(join(folder, "qemu-system-x86_64")))
    ? undefined
    : "qemu-system-x86_64 is not installed (package qemu-system-x86)";
}

/** Every test of a file is skipped, with the reason, where there can be no guest. */
export function needsGuest(): void {
  beforeEach(({ skip }) => {
    const why = guestImpossible();
    if (why !== undefined) skip(why);
  });
}

/** Built once for a text of build.sh. */
async function guest(): Promise<string> {
  const key = createHash("sha256")
    .update(readFileSync(script("build.sh")))
    .digest("hex")
    .slice(0, 12);
  const folder = join(imagesFolder(), `guest-${key}`);
  if (existsSync(join(folder, "release"))) return folder;
  const part = `${folder}.${process.pid}`;
  mkdirSync(part, { recursive: true });
  const sources = join(part, "sources.list");
  writeFileSync(sources, debianSources(["main"]));
  await run(asRoot(["sh", script("build.sh"), part, sources]));
  rmSync(folder, { recursive: true, force: true });
  renameSync(part, folder);
  return folder;
}

/** Runs a folder's `run` in the guest. */
export async function runInGuest(job: string, seconds: number): Promise<{ code: number; stdout: string; stderr: string }> {
  return tryRun(["sh", script("run.sh"), await guest(), job, String(seconds)]);
}
