/** Images built on this machine, found by what went into them. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { cacheFolder, codeRoot } from "../support/project";
import { basePackages, type ImageName, imageDefinition, suite } from "./images";

/** Raise it when the way of building changes what comes out. */
const recipeVersion = 2;

export interface BuiltImage {
  /** The archive that `docker load` takes. */
  readonly archive: string;
  /** What dockerd will call it: the digest of its configuration. */
  readonly id: string;
  readonly tag: string;
}

/** Debian's word for this machine's architecture (dpkg --print-architecture), without starting a program. */
export function debianArchitecture(): string {
  const byNode: Record<string, string> = { x64: "amd64", arm64: "arm64", arm: "armhf", ppc64: "ppc64el", s390x: "s390x" };
  return byNode[arch()] ?? arch();
}

function hashSources(hash: ReturnType<typeof createHash>, folder: string): void {
  for (const entry of readdirSync(folder).sort()) {
    const path = join(folder, entry);
    if (statSync(path).isDirectory()) hashSources(hash, path);
    else if (/\.(go|mod|sum)$/.test(entry) && !entry.endsWith("_test.go"))
      hash.update(`${path.slice(codeRoot.length)}\0`).update(readFileSync(path));
  }
}

export function imageKey(name: ImageName): string {
  const definition = imageDefinition(name);
  const hash = createHash("sha256");
  hash.update(JSON.stringify({ recipeVersion, suite, basePackages, definition, architecture: debianArchitecture() }));
  if (definition.go !== undefined) hashSources(hash, join(codeRoot, definition.go.module));
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

export function builtImage(name: ImageName): BuiltImage | undefined {
  const archive = archiveOf(name);
  const idFile = `${archive}.id`;
  if (!existsSync(archive) || !existsSync(idFile)) return undefined;
  return { archive, id: readFileSync(idFile, "utf8").trim(), tag: imageTag(name) };
}
