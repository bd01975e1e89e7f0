/** Sends images to servers over SSH. As a program, from a project's folder: sendImage.ts IMAGE SERVER. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { archiveWithout } from "../../images/archive";
import { findImage, type ImageSource } from "../../images/find";
import { projectRoot } from "../../support/project";
import { sshConfigPath } from "./sshConfig";
import { sh } from "./sh";

const probeBytes = 4 << 20;
/** A link of 100 Mbit/s is slower: gzip at its fastest level, on one core, sends an archive sooner over it than it goes as it is. */
const slowBytesPerSecond = 15e6;

export interface Sent {
  readonly bytes: number;
  /** Fewer where they went compressed. */
  readonly overLink: number;
}

const firstLayers = sh`docker images -q | xargs -r docker image inspect -f '{{index .RootFS.Layers 0}}' | sort -u`;

/** The first layer of each image there, and how fast the link takes what nothing can compress. */
async function askServer(root: string, server: string): Promise<{ layers: ReadonlySet<string>; bytesPerSecond: number }> {
  const script = sh`${firstLayers}; echo ready; head -c ${probeBytes} >/dev/null; echo done`.text;
  const child = spawn("ssh", ["-F", sshConfigPath, server, script], { cwd: root, stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.on("error", () => undefined);
  let said = "";
  let begin = 0;
  child.stdout.on("data", (data: Buffer) => {
    said += data.toString();
    if (begin > 0 || !said.includes("ready\n")) return;
    begin = performance.now();
    child.stdin.end(randomBytes(probeBytes));
  });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0 || !said.endsWith("done\n")) throw new Error(`${server}: ssh ended with ${code}`);
  const layers = said.split("\n").flatMap((line) => (line.startsWith("sha256:") ? line.slice("sha256:".length) : []));
  return { layers: new Set(layers), bytesPerSecond: (probeBytes / (performance.now() - begin)) * 1000 };
}

/** Gives how many bytes went over the link; throws with what dockerd said. */
async function load(root: string, server: string, content: Readable, isCompressed: boolean): Promise<number> {
  const child = spawn("ssh", ["-F", sshConfigPath, server, "docker load -q"], { cwd: root, stdio: ["pipe", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (data: Buffer) => (said += data.toString()));
  const ended = once(child, "close") as Promise<[number | null]>;
  let overLink = 0;
  async function* counted(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const part of source) {
      overLink += part.length;
      yield part;
    }
  }
  const sending = isCompressed
    ? pipeline(content, createGzip({ level: 1 }), counted, child.stdin)
    : pipeline(content, counted, child.stdin);
  // Where dockerd refuses in the middle, what it said is the reason.
  const broken = await sending.then(
    () => undefined,
    (error: Error) => error,
  );
  const [code] = await ended;
  if (code !== 0 || broken !== undefined) throw new Error(said.trim() || broken?.message || `docker load ended with ${code}`);
  return overLink;
}

/** Without a first layer that the server has, and compressed where its link is slow. */
export async function sendImage(root: string, image: ImageSource, server: string): Promise<Sent> {
  const { layers, bytesPerSecond } = await askServer(root, server);
  const isCompressed = bytesPerSecond < slowBytesPerSecond;
  const send = async (without: ReadonlySet<string>): Promise<Sent> => {
    const { bytes, content } = archiveWithout(image.archive, without);
    return { bytes, overLink: await load(root, server, content, isCompressed) };
  };
  // Whole where a layer that is left out is missed after all: another docker may keep its layers otherwise.
  return layers.size === 0 ? send(layers) : send(layers).catch(() => send(new Set()));
}

if (require.main === module) {
  const [name = "", server = ""] = process.argv.slice(2);
  const root = projectRoot();
  void (async () => sendImage(root, findImage(root, name), server))().catch((error: Error) => {
    console.error(error.message);
    process.exit(1);
  });
}
