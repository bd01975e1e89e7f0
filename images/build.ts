/** Builds an image as an archive of layers that `docker load` takes; no dockerd and no registry needed. */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { debianArchitecture } from "../support/architecture";
import { asRoot, run, tryRun } from "../support/process";
import { codeRoot } from "../support/project";
import { goCommand } from "../toolchain/go";
import { archiveOf, baseKey, type BuiltImage, builtImage, imagesFolder, imageTag } from "./cache";
import { basePackages, type ImageDefinition, type ImageName, imageDefinition, suite } from "./images";
import { debianSources } from "./sources";

const tarOptions = ["--sort=name", "--mtime=@0", "--numeric-owner", "--xattrs", "--one-file-system"];
/** What apt needs while packages are installed and no image needs afterwards. */
const aptFolders = ["./var/lib/apt/lists", "./var/cache/apt", "./var/log", "./tmp", "./proc", "./sys", "./run"];

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Root's own folder for a build; taken away whatever happens. */
async function inWorkFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = (await run(asRoot(["mktemp", "-d", join(tmpdir(), "flipflap-image-XXXXXX")]))).trim();
  try {
    return await work(folder);
  } finally {
    for (const mount of ["root/proc", "root"]) await tryRun(asRoot(["umount", "-l", join(folder, mount)]));
    await run(asRoot(["rm", "-rf", "--one-file-system", folder]));
  }
}

async function packLayer(folder: string, to: string): Promise<void> {
  const excludes = aptFolders.map((path) => `--exclude=${path}/*`);
  const part = `${to}.part`;
  await run(asRoot(["tar", "-C", folder, ...tarOptions, ...excludes, "-cf", part, "."]));
  await run(asRoot(["chown", `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`, part]));
  renameSync(part, to);
}

/** The base as a tar with apt's lists in it (to install on) and as a layer without. */
async function buildBase(): Promise<{ full: string; layer: string }> {
  const full = join(imagesFolder(), `base-${baseKey()}.full.tar`);
  const layer = join(imagesFolder(), `base-${baseKey()}.layer.tar`);
  if (existsSync(full) && existsSync(layer)) return { full, layer };
  await inWorkFolder(async (work) => {
    const sources = join(work, "sources.list");
    await run(asRoot(["tee", sources]), { stdin: debianSources(["main", "non-free"]) });
    await run(
      asRoot([
        ...["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--skip=cleanup/apt"],
        ...["--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/doc/*"],
        ...["--dpkgopt=path-exclude=/usr/share/locale/*", `--include=${basePackages.join(",")}`],
        ...[suite, join(work, "base"), sources],
      ]),
    );
    await packLayer(join(work, "base"), layer);
    const part = `${full}.part`;
    await run(asRoot(["tar", "-C", join(work, "base"), "--numeric-owner", "-cf", part, "."]));
    renameSync(part, full);
  });
  return { full, layer };
}

/** Installs packages over the base and packs only what they added. */
async function buildPackages(base: string, packages: readonly string[], to: string): Promise<void> {
  await inWorkFolder(async (work) => {
    const at = (name: string): string => join(work, name);
    await run(asRoot(["mkdir", at("base"), at("upper"), at("overlay-work"), at("root")]));
    await run(asRoot(["tar", "-C", at("base"), "-xf", base]));
    const options = `lowerdir=${at("base")},upperdir=${at("upper")},workdir=${at("overlay-work")}`;
    await run(asRoot(["mount", "-t", "overlay", "-o", options, "overlay", at("root")]));
    await run(asRoot(["mount", "-t", "proc", "proc", at("root/proc")]));
    await run(asRoot(["cp", "-L", "/etc/resolv.conf", at("root/etc/resolv.conf")]));
    await run(asRoot(["tee", at("root/usr/sbin/policy-rc.d")]), { stdin: "#!/bin/sh\nexit 101\n" });
    await run(asRoot(["chmod", "755", at("root/usr/sbin/policy-rc.d")]));
    await run(
      asRoot([
        ...["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"],
        ...["chroot", at("root"), "apt-get", "install", "-qq", "-y", "--no-install-recommends", ...packages],
      ]),
    );
    await run(asRoot(["rm", "-f", at("root/usr/sbin/policy-rc.d"), at("root/etc/resolv.conf")]));
    await run(asRoot(["umount", at("root/proc")]));
    await run(asRoot(["umount", at("root")]));
    // Overlay's whiteouts are no files of the image: nothing of the base is taken away but what we put there.
    await run(asRoot(["find", at("upper"), "-type", "c", "-delete"]));
    await packLayer(at("upper"), to);
  });
}

async function buildGo(go: NonNullable<ImageDefinition["go"]>, to: string): Promise<void> {
  const command = await goCommand();
  const environment = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=readonly -buildvcs=false" };
  const options = { cwd: join(codeRoot, go.module), env: environment };
  const variables = Object.entries(go.variables ?? {}).map(([name, value]) => ` -X '${name}=${value}'`);
  await inWorkFolder(async (work) => {
    const tree = join(imagesFolder(), `go-${process.pid}`);
    try {
      for (const [path, source] of Object.entries(go.binaries)) {
        const out = join(tree, path);
        mkdirSync(dirname(out), { recursive: true });
        await run([...command, "build", "-trimpath", "-ldflags", `-s -w${variables.join("")}`, "-o", out, source], options);
      }
      for (const [folder, { module, folder: from, paths }] of Object.entries(go.sources ?? {})) {
        const at = (await run([...command, "list", "-m", "-f", "{{.Dir}}", module], options)).trim();
        const to = join(tree, folder);
        mkdirSync(to, { recursive: true });
        // The cache of modules is read-only, and its copies must not be.
        await run(["sh", "-c", `cd "$0" && cp -r --no-preserve=mode ${paths.join(" ")} "$1"`, join(at, from), to]);
      }
      await run(asRoot(["cp", "-r", "--no-preserve=ownership", tree, join(work, "tree")]));
      await packLayer(join(work, "tree"), to);
    } finally {
      rmSync(tree, { recursive: true, force: true });
    }
  });
}

async function buildBpf(to: string): Promise<void> {
  await inWorkFolder(async (work) => {
    const out = join(imagesFolder(), `bpf-${process.pid}`);
    try {
      await run(["make", "-C", join(codeRoot, "bpf"), `OUT=${out}`]);
      await run(asRoot(["mkdir", "-p", join(work, "tree")]));
      await run(asRoot(["cp", "-r", "--no-preserve=ownership", out, join(work, "tree", "bpf")]));
      await packLayer(join(work, "tree"), to);
    } finally {
      rmSync(out, { recursive: true, force: true });
    }
  });
}

/** The archive's form is docker's image specification v1.2: manifest, configuration, layers. */
async function packImage(name: ImageName, layers: readonly string[]): Promise<BuiltImage> {
  const definition = imageDefinition(name);
  const digests = await Promise.all(layers.map(sha256));
  const configuration = JSON.stringify({
    architecture: debianArchitecture(),
    os: "linux",
    created: "1970-01-01T00:00:00Z",
    config: {
      Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      Cmd: definition.command,
      Labels: { "flipflap.image": name },
    },
    rootfs: { type: "layers", diff_ids: digests.map((digest) => `sha256:${digest}`) },
    history: layers.map(() => ({ created: "1970-01-01T00:00:00Z", created_by: "flipflap images" })),
  });
  const id = createHash("sha256").update(configuration).digest("hex");
  const archive = archiveOf(name);
  const folder = `${archive}.parts`;
  mkdirSync(folder, { recursive: true });
  try {
    writeFileSync(join(folder, `${id}.json`), configuration);
    const manifest = [{ Config: `${id}.json`, RepoTags: [imageTag(name)], Layers: digests.map((d) => `${d}.tar`) }];
    writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
    for (const [i, layer] of layers.entries()) await run(["ln", "-f", layer, join(folder, `${digests[i]}.tar`)]);
    await run(["tar", "-C", folder, "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf", `${archive}.part`, "."]);
    renameSync(`${archive}.part`, archive);
    writeFileSync(`${archive}.id`, `sha256:${id}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return { archive, id: `sha256:${id}`, tag: imageTag(name) };
}

export async function buildImage(name: ImageName): Promise<BuiltImage> {
  const ready = builtImage(name);
  if (ready !== undefined) return ready;
  mkdirSync(imagesFolder(), { recursive: true });
  const definition = imageDefinition(name);
  const layers: string[] = [];
  const own: string[] = [];
  if (definition.scratch !== true) {
    const base = await buildBase();
    layers.push(base.layer);
    if (definition.packages !== undefined) {
      own.push(join(imagesFolder(), `${name}-packages-${process.pid}.layer.tar`));
      await buildPackages(base.full, definition.packages, own.at(-1) as string);
    }
  }
  if (definition.go !== undefined) {
    own.push(join(imagesFolder(), `${name}-go-${process.pid}.layer.tar`));
    await buildGo(definition.go, own.at(-1) as string);
  }
  if (definition.bpf === true) {
    own.push(join(imagesFolder(), `${name}-bpf-${process.pid}.layer.tar`));
    await buildBpf(own.at(-1) as string);
  }
  const image = await packImage(name, [...layers, ...own]);
  for (const layer of own) rmSync(layer);
  return image;
}
