/** Archives of images, as docker save makes them. */
import { closeSync, createReadStream, fstatSync, openSync, readSync } from "node:fs";
import { Readable } from "node:stream";

const blockBytes = 512;

interface TarEntry {
  readonly name: string;
  /** Of its header. */
  readonly offset: number;
  readonly size: number;
  /** Of what follows it. */
  readonly end: number;
}

/** The entries of a tar (POSIX ustar), without reading their contents. */
function* tarEntries(fd: number): Generator<TarEntry> {
  const header = Buffer.alloc(blockBytes);
  for (let offset = 0; readSync(fd, header, 0, blockBytes, offset) === blockBytes;) {
    const field = (from: number, to: number): string => header.toString("utf8", from, to).replace(/\0.*$/s, "");
    const name = field(0, 100).replace(/^\.\//, "");
    const size = Number.parseInt(field(124, 136), 8) || 0;
    const end = offset + blockBytes + Math.ceil(size / blockBytes) * blockBytes;
    // Two empty blocks are the end.
    if (header[0] === 0) return;
    yield { name, offset, size, end };
    offset = end;
  }
}

function withTar<T>(path: string, read: (fd: number) => T): T {
  const fd = openSync(path, "r");
  try {
    return read(fd);
  } finally {
    closeSync(fd);
  }
}

/** The content of a small file in a tar. */
export function readFromTar(path: string, wanted: string): string | undefined {
  return withTar(path, (fd) => {
    for (const { name, offset, size } of tarEntries(fd)) {
      if (name !== wanted) continue;
      const content = Buffer.alloc(size);
      readSync(fd, content, 0, size, offset + blockBytes);
      return content.toString("utf8");
    }
    return undefined;
  });
}

/** The parts of an archive without layers that the server has: docker looks for a layer in the archive only where it has none. */
function partsWithout(path: string, layers: ReadonlySet<string>): { start: number; end: number }[] {
  return withTar(path, (fd) => {
    const left = [...tarEntries(fd)].filter(({ name }) => layers.has(name.replace(/\.tar$/, "")));
    const starts = [0, ...left.map(({ end }) => end)];
    const ends = [...left.map(({ offset }) => offset), fstatSync(fd).size];
    return starts.map((start, i) => ({ start, end: (ends[i] ?? 0) - 1 })).filter(({ start, end }) => end >= start);
  });
}

/** What dockerd will call the image of a `docker save` archive. */
export function archiveIdentity(path: string): { id: string; tag: string } {
  const manifest = readFromTar(path, "manifest.json");
  const first = manifest === undefined ? undefined : (JSON.parse(manifest) as { Config: string; RepoTags?: string[] | null }[])[0];
  const digest = /([0-9a-f]{64})/.exec(first?.Config ?? "")?.[1];
  if (first === undefined || digest === undefined) throw new Error(`${path}: is no archive of docker save (no manifest.json in it)`);
  return { id: `sha256:${digest}`, tag: first.RepoTags?.[0] ?? "" };
}

/** An archive without layers. */
export function archiveWithout(path: string, layers: ReadonlySet<string>): { readonly bytes: number; readonly content: Readable } {
  const parts = partsWithout(path, layers);
  async function* read(): AsyncGenerator<Buffer> {
    for (const { start, end } of parts) yield* createReadStream(path, { start, end }) as AsyncIterable<Buffer>;
  }
  return { bytes: parts.reduce((sum, { start, end }) => sum + end - start + 1, 0), content: Readable.from(read()) };
}
