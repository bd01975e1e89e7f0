/**
 * What a new server's dockerd has on its disk: all images that are built here, loaded once and shared by hard links, since
 * dockerd changes no content of a layer's file. A server that is handed over with images keeps them.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type BuiltImage, builtImage } from "../images/cache";
import { type ImageName, images } from "../images/images";
import { run } from "../support/process";
import { cacheFolder, codeRoot } from "../support/project";
import { say, step } from "../support/progress";

const disksFolder = (): string => join(cacheFolder(), "lab-disks");

/** Of dockerd's folder: nothing that belongs to one server. */
const parts = ["image", "overlay2"];
const dayMilliseconds = 24 * 3600 * 1000;

function idsOf(disk: string): string[] {
  return readFileSync(join(disk, "ids"), "utf8").trim().split("\n");
}

/** The disks that are whole; what a killed run left is removed. */
function wholeDisks(): string[] {
  if (!existsSync(disksFolder())) return [];
  return readdirSync(disksFolder()).flatMap((name) => {
    const [key, pid] = name.split(".");
    if (pid === undefined) return [key ?? ""];
    if (pid !== "refused" && !existsSync(`/proc/${pid}`)) rmSync(join(disksFolder(), name), { recursive: true, force: true });
    return [];
  });
}

const share = (from: string, to: string): Promise<string> => run(["cp", "-al", from, to]);

async function makeDisk(disk: string, wanted: readonly BuiltImage[], older: string | undefined): Promise<void> {
  const folder = `${disk}.${process.pid}`;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, "ids"), `${wanted.map(({ id }) => id).join("\n")}\n`);
  const had = older === undefined ? [] : idsOf(older);
  if (older !== undefined) await share(join(older, "docker"), join(folder, "docker"));
  const missing = wanted.filter(({ id }) => !had.includes(id)).map(({ archive }) => archive);
  await run(
    [
      // Its dockerd ends when we do.
      ...["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
      ...["sh", join(codeRoot, "lab", "disk.sh"), folder, ...missing],
    ],
    // Of nobody else's dockerd, whatever the user's own environment and docker's contexts say.
    { env: { PATH: process.env.PATH, DOCKER_HOST: "unix:///run/docker.sock" } },
  );
  for (const name of readdirSync(join(folder, "docker")))
    if (!parts.includes(name)) rmSync(join(folder, "docker", name), { recursive: true, force: true });
  for (const name of ["dockerd.log", "etc", "work"]) rmSync(join(folder, name), { recursive: true, force: true });
  if (!parts.every((part) => existsSync(join(folder, "docker", part)))) throw new Error("this dockerd keeps its images elsewhere");
  renameSync(folder, disk);
}

const wantedImages = (): BuiltImage[] => (Object.keys(images) as ImageName[]).flatMap((name) => builtImage(name) ?? []);

async function diskKey(wanted: readonly BuiltImage[]): Promise<string> {
  const version = await run(["dockerd", "--version"]);
  return createHash("sha256")
    .update([version, ...wanted.map(({ id, tag }) => `${id} ${tag}`)].join("\n"))
    .digest("hex")
    .slice(0, 12);
}

/** The folders of disks whose images are not the ones that are built now, and that nobody used for a day; servers that began with one keep what they have. */
export async function olderDisks(): Promise<string[]> {
  // They are root's, as servers of a lab are.
  if (process.getuid?.() !== 0) return [];
  const whole = wholeDisks();
  // Where there is none, there may be no dockerd either.
  if (whole.length === 0) return [];
  const key = await diskKey(wantedImages());
  return whole.map((name) => join(disksFolder(), name)).filter((disk) => disk !== join(disksFolder(), key) && isIdle(disk));
}

const isIdle = (disk: string): boolean => Date.now() - statSync(disk).mtimeMs > dayMilliseconds;

export function removeDisk(disk: string): void {
  renameSync(disk, `${disk}.${process.pid}`);
  rmSync(`${disk}.${process.pid}`, { recursive: true, force: true });
}

/** The folder of the disk that holds all images that are built; undefined where there are none, or none can be made. */
export async function preparedDisk(): Promise<string | undefined> {
  const wanted = wantedImages();
  if (wanted.length === 0) return undefined;
  const key = await diskKey(wanted);
  const disk = join(disksFolder(), key);
  const refused = `${disk}.refused`;
  try {
    const whole = wholeDisks();
    if (whole.includes(key)) {
      utimesSync(disk, new Date(), new Date());
      return disk;
    }
    if (existsSync(refused)) throw new Error(readFileSync(refused, "utf8"));
    const older = whole.map((name) => join(disksFolder(), name)).find((other) => existsSync(join(other, "ids")));
    await step("disk with images for new servers", () => makeDisk(disk, wanted, older));
    // Another checkout's, with other images, stays while it is in use.
    for (const other of whole.map((name) => join(disksFolder(), name))) {
      if (isIdle(other)) removeDisk(other);
    }
    return disk;
  } catch (error) {
    if (existsSync(disk)) return disk; // another lab was faster
    const why = (error as Error).message;
    // Not again at each start: it takes its time.
    if (existsSync(disksFolder())) writeFileSync(refused, why);
    say(`  -- servers come without images, which are loaded as on real servers: ${why} (to try again, remove ${refused})`);
    return undefined;
  } finally {
    rmSync(`${disk}.${process.pid}`, { recursive: true, force: true });
  }
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
