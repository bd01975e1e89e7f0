/** Images built on this machine, found by what went into them. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { debianArchitecture } from "../support/architecture";
import { cacheFolder, codeRoot } from "../support/project";
import { basePackages, type ImageName, imageDefinition, images, isImageName, suite } from "./images";

/** Raise it when the way of building changes what comes out. */
const recipeVersion = 2;

export interface BuiltImage {
  /** The archive that `docker load` takes. */
  readonly archive: string;
  /** What dockerd will call it: the digest of its configuration. */
  readonly id: string;
  readonly tag: string;
}

function hashSources(hash: ReturnType<typeof createHash>, folder: string): void {
  for (const entry of readdirSync(folder).sort()) {
    const path = join(folder, entry);
    if (statSync(path).isDirectory()) hashSources(hash, path);
    else if (/^Makefile$|\.(go|mod|sum|c|h)$/.test(entry) && !entry.endsWith("_test.go"))
      hash.update(`${path.slice(codeRoot.length)}\0`).update(readFileSync(path));
  }
}

export function imageKey(name: ImageName): string {
  const definition = imageDefinition(name);
  const hash = createHash("sha256");
  hash.update(JSON.stringify({ recipeVersion, suite, basePackages, definition, architecture: debianArchitecture() }));
  if (definition.go !== undefined) hashSources(hash, join(codeRoot, definition.go.module));
  if (definition.bpf === true) hashSources(hash, join(codeRoot, "bpf"));
  return hash.digest("hex").slice(0, 12);
}

export function baseKey(): string {
  return createHash("sha256")
    .update(JSON.stringify({ recipeVersion, suite, basePackages, architecture: debianArchitecture() }))
    .digest("hex")
    .slice(0, 12);
}

export function imagesFolder(): string {
  return join(cacheFolder(), "images");
}

export function imageTag(name: ImageName): string {
  return `flipflap/${name}:${imageKey(name)}`;
}

export function archiveOf(name: ImageName): string {
  return join(imagesFolder(), `${name}-${imageKey(name)}.tar`);
}

/** Where an image's own program is, once it was asked for. */
export const programOf = (name: ImageName): string => archiveOf(name).replace(/tar$/, "program");

export function builtImage(name: ImageName): BuiltImage | undefined {
  const archive = archiveOf(name);
  const idFile = `${archive}.id`;
  if (!existsSync(archive) || !existsSync(idFile)) return undefined;
  return { archive, id: readFileSync(idFile, "utf8").trim(), tag: imageTag(name) };
}

/** That it is in use, for who takes old ones away. */
export function touchArchive(archive: string): void {
  const now = new Date();
  try {
    utimesSync(archive, now, now);
  } catch {
    // Another user's: it is old for who may take it away.
  }
}

const dayMilliseconds = 24 * 3600 * 1000;

/** What is in the cache of other builds than this checkout's, and was not used for a day: archives, and what belongs to each. */
export function olderArchives(): string[] {
  if (!existsSync(imagesFolder())) return [];
  const names = Object.keys(images) as ImageName[];
  const current = new Set([...names.map((name) => `${name}-${imageKey(name)}`), `base-${baseKey()}`]);
  const isIdle = (path: string): boolean => Date.now() - statSync(path).mtimeMs > dayMilliseconds;
  return readdirSync(imagesFolder()).flatMap((leaf) => {
    const [, build = "", name = ""] = /^((.+)-[0-9a-f]{12})\.(?:tar|tar\.id|full\.tar|layer\.tar|program)$/.exec(leaf) ?? [];
    const isOurs = (name === "base" || isImageName(name)) && !current.has(build);
    // What belongs to an archive is as old as this.
    const main = join(imagesFolder(), leaf.replace(/\.id$/, "").replace(/\.program$/, ".tar"));
    return isOurs && existsSync(main) && isIdle(main) ? [join(imagesFolder(), leaf)] : [];
  });
}
