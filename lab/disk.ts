/**
 * What a new server's dockerd has on its disk: all images that are built here, loaded once and shared by hard links, since
 * dockerd writes to no file of a layer. A server that is handed over with images keeps them.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BuiltImage, builtImage } from "../images/cache";
import { type ImageName, images } from "../images/images";
import { run, tryRun } from "../support/process";
import { cacheFolder, codeRoot } from "../support/project";
import { say, step } from "../support/progress";

const disksFolder = (): string => join(cacheFolder(), "lab-disks");

/** Of dockerd's folder: nothing that belongs to one server. */
const parts = ["image", "overlay2"];

function idsOf(disk: string): string[] {
  return readFileSync(join(disk, "ids"), "utf8").trim().split("\n");
}

/** The disks that are whole; what a killed run left is removed. */
function wholeDisks(): string[] {
  if (!existsSync(disksFolder())) return [];
  return readdirSync(disksFolder()).flatMap((name) => {
    const [key, pid] = name.split(".");
    if (pid === undefined) return [key ?? ""];
    if (!existsSync(`/proc/${pid}`)) rmSync(join(disksFolder(), name), { recursive: true, force: true });
    return [];
  });
}

/** Hard links where the file system is the same. */
async function share(from: string, to: string): Promise<void> {
  if ((await tryRun(["cp", "-al", from, to])).code === 0) return;
  rmSync(to, { recursive: true, force: true });
  await run(["cp", "-a", "--reflink=auto", from, to]);
}

async function makeDisk(disk: string, wanted: readonly BuiltImage[], older: string | undefined): Promise<void> {
  const folder = `${disk}.${process.pid}`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, "ids"), `${wanted.map(({ id }) => id).join("\n")}\n`);
  const had = older === undefined ? [] : idsOf(older);
  if (older !== undefined) await share(join(older, "docker"), join(folder, "docker"));
  const missing = wanted.filter(({ id }) => !had.includes(id)).map(({ archive }) => archive);
  await run([
    ...["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
    ...["sh", join(codeRoot, "lab", "disk.sh"), folder, ...missing],
  ]);
  for (const name of readdirSync(join(folder, "docker")))
    if (!parts.includes(name)) rmSync(join(folder, "docker", name), { recursive: true, force: true });
  rmSync(join(folder, "dockerd.log"));
  if (!parts.every((part) => existsSync(join(folder, "docker", part)))) throw new Error("this dockerd keeps its images elsewhere");
  renameSync(folder, disk);
}

/** The folder of the disk that holds all images that are built; undefined where there are none, or none can be made. */
export async function preparedDisk(): Promise<string | undefined> {
  const wanted = (Object.keys(images) as ImageName[]).flatMap((name) => builtImage(name) ?? []);
  if (wanted.length === 0) return undefined;
  const version = await run(["dockerd", "--version"]);
  const key = createHash("sha256")
    .update([version, ...wanted.map(({ id, tag }) => `${id} ${tag}`)].join("\n"))
    .digest("hex")
    .slice(0, 12);
  const disk = join(disksFolder(), key);
  const whole = wholeDisks();
  if (whole.includes(key)) return disk;
  const older = whole.map((name) => join(disksFolder(), name)).find((other) => existsSync(join(other, "ids")));
  try {
    await step("disk with images for new servers", () => makeDisk(disk, wanted, older));
  } catch (error) {
    if (!existsSync(disk)) {
      say(`  -- servers come without images, which are loaded as on real servers: ${(error as Error).message}`);
      return undefined;
    }
    // Another lab was faster.
  } finally {
    rmSync(`${disk}.${process.pid}`, { recursive: true, force: true });
  }
  for (const other of whole) rmSync(join(disksFolder(), other), { recursive: true, force: true });
  return disk;
}

/** Gives a new server its disk. */
export async function layDisk(disk: string, folder: string): Promise<void> {
  const [docker, half] = [join(folder, "docker"), join(folder, "docker.half")];
  if (existsSync(docker)) return;
  rmSync(half, { recursive: true, force: true });
  try {
    await share(join(disk, "docker"), half);
    renameSync(half, docker);
  } catch (error) {
    rmSync(half, { recursive: true, force: true });
    say(`  -- a server comes without images: ${(error as Error).message}`);
  }
}
