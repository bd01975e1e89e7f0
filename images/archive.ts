/** Archives of images. As a program: prints the archive of the image that is named. */
import { closeSync, createReadStream, existsSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../support/project";
import { builtImage } from "./cache";
import { isImageName } from "./images";

const blockBytes = 512;

/** The content of a small file in a tar (POSIX ustar), without reading the rest. */
export function readFromTar(path: string, wanted: string): string | undefined {
  const fd = openSync(path, "r");
  try {
    const header = Buffer.alloc(blockBytes);
    for (let offset = 0; readSync(fd, header, 0, blockBytes, offset) === blockBytes;) {
      const field = (from: number, to: number): string => header.toString("utf8", from, to).replace(/\0.*$/s, "");
      const size = Number.parseInt(field(124, 136), 8) || 0;
      if (field(0, 100).replace(/^\.\//, "") === wanted) {
        const content = Buffer.alloc(size);
        readSync(fd, content, 0, size, offset + blockBytes);
        return content.toString("utf8");
      }
      offset += blockBytes + Math.ceil(size / blockBytes) * blockBytes;
    }
    return undefined;
  } finally {
    closeSync(fd);
  }
}

/** What dockerd will call the image of a `docker save` archive. */
export function archiveIdentity(path: string): { id: string; tag: string } {
  const manifest = readFromTar(path, "manifest.json");
  const first = manifest === undefined ? undefined : (JSON.parse(manifest) as { Config: string; RepoTags?: string[] | null }[])[0];
  const digest = /([0-9a-f]{64})/.exec(first?.Config ?? "")?.[1];
  if (first === undefined || digest === undefined) throw new Error(`${path}: is no archive of docker save (no manifest.json in it)`);
  return { id: `sha256:${digest}`, tag: first.RepoTags?.[0] ?? "" };
}

if (require.main === module) {
  const name = process.argv[2] ?? "";
  const archive = isImageName(name) ? builtImage(name)?.archive : join(projectRoot(), name);
  if (archive === undefined || !existsSync(archive)) {
    console.error(`${name}: the image is not built; run npm run setup`);
    process.exit(1);
  }
  createReadStream(archive).pipe(process.stdout);
}
