import { rmSync, statSync } from "node:fs";
import { basename } from "node:path";
import type { ServerDeclaration } from "../../components/config/declaration";
import { keepScript, listScript, pruneScript } from "../../components/host/preloaded";
import { type Sent, sendImage } from "../../components/host/sendImage";
import { writeSshConfig } from "../../components/host/sshConfig";
import { checkedDeclaration } from "../../components/plan/check";
import { planServer } from "../../components/plan/plan";
import { type Context } from "../../deploy/context";
import { runScript, scriptOn } from "../../deploy/ssh";
import { settle } from "../../deploy/strays";
import { leaseServers } from "../../deploy/turn";
import { builtImage, imageKey, olderArchives } from "../../images/cache";
import { findImage } from "../../images/find";
import { imageDefinition, isImageName } from "../../images/images";
import { olderDisks, removeDisk } from "../../lab/disk";
import { readLabState } from "../../lab/state";
import { allImages, ensureImages, imagesOf } from "../../setup/images";
import { run } from "../../support/process";
import { say, step } from "../../support/progress";
import { projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { table } from "../table";
import { askedTestbed, jsonOption, testbedOption, type Verb } from "../verb";

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

/** By ID, how an image came to a server: "there", "preloaded". */
type There = ReadonlyMap<string, string>;

async function imagesThere(context: Context, server: ServerDeclaration): Promise<There | undefined> {
  if (server.address === "") return undefined;
  const finished = await runScript(context, server, `${listScript.text}\n`, 20);
  if (finished.code !== 0) return undefined;
  const lines = finished.stdout.split("\n").filter((line) => line !== "");
  return new Map(lines.map((line) => [line.split(" ")[0] ?? "", line.split(" ")[1] ?? ""]));
}

/** What a folder and files take on the disk; what disks share is counted once. */
async function bytesOf(paths: readonly string[]): Promise<number> {
  if (paths.length === 0) return 0;
  const said = await run(["du", "-s", "-c", "-B1", ...paths]);
  return Number(said.trim().split("\n").at(-1)?.split("\t")[0]);
}

async function list(context: Context, servers: readonly ServerDeclaration[], isJson: boolean): Promise<number> {
  const used = [...new Set(context.declaration.servers.flatMap((server) => planServer(context.declaration, server).images))];
  const there = new Map(await Promise.all(servers.map(async (server) => [server.name, await imagesThere(context, server)] as const)));
  const on = (id: string | undefined, server: ServerDeclaration): string =>
    id === undefined ? "" : there.get(server.name) === undefined ? "no answer" : (there.get(server.name)?.get(id) ?? "");
  const rowOf = (name: string, build: string, source: { archive: string; id: string } | undefined, purpose: string) => {
    const file = source === undefined ? undefined : statSync(source.archive);
    return {
      name,
      build,
      bytes: file?.size ?? 0,
      isUsed: used.includes(name),
      servers: Object.fromEntries(servers.map((server) => [server.name, on(source?.id, server)])),
      purpose,
    };
  };
  const images = [
    ...allImages.map((name) => rowOf(name, imageKey(name), builtImage(name), imageDefinition(name).purpose)),
    // An image that somebody saved is named by its file.
    ...used.filter((name) => !isImageName(name)).map((name) => rowOf(name, "", findImage(context.root, name), "of the testbed")),
  ];
  const [archives, disks] = [olderArchives(), await olderDisks()];
  const older = { archives: archives.length, disks: disks.length, bytes: await bytesOf([...archives, ...disks]) };
  if (isJson) {
    console.log(JSON.stringify({ images, older }, null, 2));
    return 0;
  }
  const names = servers.map(({ name }) => name);
  const rows = images.map((one) => [
    one.name,
    one.bytes === 0 ? "not built" : one.build,
    one.bytes === 0 ? "" : mebibytes(one.bytes),
    one.isUsed ? "yes" : "",
    ...names.map((name) => one.servers[name] ?? ""),
    one.purpose,
  ]);
  const heads = names.map((name) => name.toUpperCase());
  console.log(table(["IMAGE", "BUILD", "SIZE", "USED", ...heads, "PURPOSE"], rows));
  if (archives.length + disks.length > 0) {
    const what = `${archives.length} files of images and ${disks.length} disks for new servers`;
    console.log(`\nOf other builds, not used for a day: ${what}, ${mebibytes(older.bytes)}; flipflap images prune takes them away`);
  }
  return 0;
}

const thereText: Readonly<Record<string, string>> = {
  kept: "was there, and stays until it is pruned",
  theirs: "was there before flipflap, and stays",
};

const sentText = ({ bytes, overLink }: Sent): string =>
  overLink === bytes ? mebibytes(bytes) : `${mebibytes(bytes)}, as ${mebibytes(overLink)} compressed`;

/** Servers side by side, each one's images one after the other. */
async function preload(context: Context, servers: readonly ServerDeclaration[]): Promise<number> {
  const { root, declaration } = context;
  await ensureImages(imagesOf(declaration));
  await leaseServers(context, servers);
  const load = async (server: ServerDeclaration): Promise<void> => {
    for (const name of planServer(declaration, server).images) {
      const image = findImage(root, name);
      await step(
        `${server.name}: image ${name}`,
        async () => {
          const what = (await scriptOn(context, server, keepScript(image).text)).trim();
          return what === "send" ? sentText(await sendImage(root, image, server.name)) : (thereText[what] ?? what);
        },
        (text) => text,
      );
    }
  };
  // All to their end: no server is given free while another image comes.
  for (const one of await Promise.allSettled(servers.map(load))) if (one.status === "rejected") throw one.reason;
  return 0;
}

const lineText: Readonly<Record<string, string>> = {
  gone: "taken away",
  used: "stays, a container uses it",
  failed: "stays, dockerd does not let it go (docker image rm says why)",
  left: "stays, a stack loaded it, and takes it away with what it made",
};

async function pruneServers(context: Context, servers: readonly ServerDeclaration[]): Promise<number> {
  await leaseServers(context, servers);
  for (const server of servers) {
    // What a killed preload sends is loaded to its end.
    const lines = (await settle(context, server, pruneScript.text)).split("\n").filter((line) => line !== "");
    for (const line of lines) {
      const [what = "", tag = ""] = line.split(" ");
      say(`  ok ${server.name}: ${tag}: ${lineText[what] ?? what}`);
    }
    if (lines.length === 0) say(`  ok ${server.name}: nothing was preloaded`);
  }
  return 0;
}

async function pruneHere(): Promise<number> {
  const [archives, disks] = [olderArchives(), await olderDisks()];
  const bytes = await bytesOf([...archives, ...disks]);
  for (const archive of archives) rmSync(archive);
  for (const disk of disks) removeDisk(disk);
  const what =
    archives.length + disks.length === 0
      ? "nothing: of other builds all was used within a day, or there is none"
      : `${[...archives, ...disks].map((path) => basename(path)).join(" ")}`;
  console.log(`taken away: ${what}${bytes === 0 ? "" : ` (${mebibytes(bytes)})`}`);
  return 0;
}

export const images: Verb = {
  name: "images",
  words: "[list | preload | prune]",
  summary: "what images are built and where they are; send them to servers ahead of an up; take old ones away",
  details: `
  flipflap images                            what is built here, what the testbed uses, and which servers have it
  flipflap images preload --testbed evpn     send a testbed's images to all servers, over a slow link compressed
  flipflap images prune --server flip        take away from a server what was preloaded and nothing uses
  flipflap images prune                      take away from this machine what other builds left in the cache and
                                             nobody used for a day; as root also disks for a lab's servers

An up sends what is missing by itself, and down takes that away. What is preloaded stays until it is pruned.
New servers of a lab have all images that are built.`,
  options: {
    ...jsonOption,
    ...testbedOption,
    server: { type: "string", value: "NAME", help: "one server alone" },
  },
  takesTurn: (words) => words[0] === "preload" || words[0] === "prune",
  run: async ({ words, flags }) => {
    const [what = "list", ...more] = words;
    if (more.length > 0 || !["list", "preload", "prune"].includes(what)) throw new UsageError("say list, preload or prune");
    if (what === "prune" && flags.server === undefined) return pruneHere();
    const root = projectRoot();
    // A lab that is off is no fault of a list.
    const declaration = checkedDeclaration(root, readLabState(root), what !== "list", askedTestbed(flags));
    writeSshConfig(root, declaration);
    const context = { root, declaration };
    const servers = context.declaration.servers.filter(({ name }) => flags.server === undefined || name === flags.server);
    if (servers.length === 0)
      throw new UsageError(
        `there is no server "${String(flags.server)}"; there are ${context.declaration.servers.map(({ name }) => name).join(", ")}`,
      );
    if (what === "list") return list(context, servers, flags.json === true);
    return what === "preload" ? preload(context, servers) : pruneServers(context, servers);
  },
};
