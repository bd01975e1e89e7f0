/** Pulumi's CLI, language host and plugins: those on PATH where they are new enough, else built from package registries. */
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { pulumiHome } from "../deploy/pulumi";
import { run, tryRun } from "../support/process";
import { say, step, StepError } from "../support/progress";
import { cacheFolder, codeRoot } from "../support/project";
import { goCommand } from "../toolchain/go";

/** The oldest CLI that the program was run with. */
const oldestCli = [3, 190, 0] as const;
export const binFolder = join(codeRoot, ".flipflap", "bin");

/** The plugins of the SDKs that package.json pins. */
const pluginVersions = Object.fromEntries(
  ["command", "random", "docker"].map((name) => [
    name,
    (JSON.parse(readFileSync(join(codeRoot, "package.json"), "utf8")) as { dependencies: Record<string, string> }).dependencies[
      `@pulumi/${name}`
    ] ?? "",
  ]),
);

export function newEnough(version: string): boolean {
  const parts = /(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
  if (parts === undefined) return false;
  for (const [i, oldest] of oldestCli.entries()) {
    const part = parts[i] ?? 0;
    if (part !== oldest) return part > oldest;
  }
  return true;
}

/** A program on PATH, other than those that we put there. */
function onPath(program: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "" && folder !== binFolder);
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}

function keyOf(files: readonly string[]): string {
  const hash = createHash("sha256").update(process.arch);
  for (const file of files) hash.update(readFileSync(join(codeRoot, file)));
  return hash.digest("hex").slice(0, 12);
}

/** One that is there stays, and another takes its place at once: an `up` beside this one may be about to start it. */
function link(target: string, name: string): void {
  mkdirSync(binFolder, { recursive: true });
  const path = join(binFolder, name);
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true && readlinkSync(path) === target) return;
  const part = `${path}.${process.pid}`;
  symlinkSync(target, part);
  renameSync(part, path);
}

interface Built {
  readonly module: "cli" | "language-host";
  readonly program: string;
  readonly source: string;
  readonly flags: string;
  readonly title: string;
}

const cli: Built = {
  module: "cli",
  program: "pulumi",
  source: "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
  flags: "-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.190.0",
  title: "Pulumi CLI, built from the Go module proxy",
};

const languageHost: Built = {
  module: "language-host",
  program: "pulumi-language-nodejs",
  source: "github.com/pulumi/pulumi/sdk/v3/nodejs/cmd/pulumi-language-nodejs",
  flags: "-s -w",
  title: "Pulumi's language host for Node.js, built from the Go module proxy",
};

/** CLI and language host share a folder: Pulumi takes a host beside itself without a warning. */
function toolchainFolder(): string {
  const key = keyOf([cli, languageHost].flatMap(({ module }) => [`toolchain/${module}/go.mod`, `toolchain/${module}/go.sum`]));
  return join(cacheFolder(), "toolchain", key);
}

async function buildGo({ module, program, source, flags, title }: Built): Promise<string> {
  const folder = toolchainFolder();
  const path = join(folder, program);
  if (!existsSync(path)) {
    await step(title, async () => {
      const go = await goCommand();
      mkdirSync(folder, { recursive: true });
      const part = `${path}.${process.pid}`;
      const finished = await tryRun([...go, "build", "-trimpath", "-ldflags", flags, "-o", part, source], {
        cwd: join(codeRoot, "toolchain", module),
        env: { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false", CGO_ENABLED: "0" },
      });
      if (finished.code !== 0) {
        throw new StepError(
          title,
          finished.stderr.trim().split("\n").slice(-3).join(" "),
          "Mend access to the Go module proxy (go env GOPROXY), or put a pulumi on PATH, then run this again.",
        );
      }
      renameSync(part, path);
    });
  }
  return path;
}

/** The language host of the CLI's version is on no registry; an older one's helper script is in the same module, without the run bit. */
async function useOwnToolchain(): Promise<void> {
  link(await buildGo(cli), cli.program);
  link(await buildGo(languageHost), languageHost.program);
  const name = "pulumi-resource-pulumi-nodejs";
  const helper = join(toolchainFolder(), name);
  if (!existsSync(helper)) {
    const go = await goCommand();
    const sdk = [...go, "mod", "download", "-json", "github.com/pulumi/pulumi/sdk/v3"];
    const { Dir: folder } = JSON.parse(await run(sdk, { cwd: join(codeRoot, "toolchain", "language-host") })) as { Dir: string };
    copyFileSync(join(folder, "nodejs", "dist", name), helper);
    chmodSync(helper, 0o755);
  }
  link(helper, name);
}

/** Where the vendor's installer is; a test puts a stand-in on loopback there. */
function vendorInstaller(): string {
  return process.env.FLIPFLAP_VENDOR_INSTALLER || "https://get.pulumi.com";
}

/** Asked for by FLIPFLAP_TOOLCHAIN=vendor. True where it gave a CLI; any failure is one line, and we go on without. */
export async function useVendorToolchain(folder: string): Promise<boolean> {
  const url = vendorInstaller();
  try {
    if (!existsSync(join(folder, "bin", "pulumi"))) {
      const answer = await fetch(url, { signal: AbortSignal.timeout(30_000) });
      if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
      const finished = await tryRun(["sh", "-s", "--", "--install-root", folder, "--no-edit-path"], {
        stdin: await answer.text(),
        timeoutSeconds: 600,
      });
      if (finished.code !== 0)
        throw new Error(`the installer ended with ${finished.code}: ${finished.stderr.trim().split("\n").at(-1) ?? ""}`);
    }
    const version = await run([join(folder, "bin", "pulumi"), "version"], { timeoutSeconds: 60 });
    if (!newEnough(version)) throw new Error(`it gave version ${version.trim()}, and ${oldestCli.join(".")} is needed`);
    return true;
  } catch (error) {
    const cause = (error as { cause?: Error }).cause?.message;
    say(
      `  -- the vendor's installer did not work (${(error as Error).message.split("\n")[0]}${cause === undefined ? "" : `: ${cause}`}); building the toolchain from package registries instead`,
    );
    return false;
  }
}

async function ensureCli(): Promise<void> {
  const present = onPath("pulumi");
  const version = present === undefined ? undefined : await tryRun([present, "version"]).catch(() => undefined);
  if (present !== undefined && version?.code === 0 && newEnough(version.stdout) && onPath("pulumi-language-nodejs") !== undefined) {
    for (const name of [cli.program, languageHost.program]) rmSync(join(binFolder, name), { force: true });
    return;
  }
  if (process.env.FLIPFLAP_TOOLCHAIN === "vendor") {
    const folder = join(cacheFolder(), "toolchain", "vendor");
    if (await useVendorToolchain(folder)) {
      for (const name of [cli.program, languageHost.program, "pulumi-resource-pulumi-nodejs"]) link(join(folder, "bin", name), name);
      return;
    }
  }
  await useOwnToolchain();
}

/** The offline plugins. What is there stays as it is: an `up` beside this one may be about to start it. */
function ensurePlugins(): void {
  const start = join(codeRoot, "toolchain", "plugins", "start.cjs");
  for (const [name, version] of Object.entries(pluginVersions)) {
    // Installed as Pulumi itself installs plugins: found without a look at PATH, and without a warning.
    const folder = join(pulumiHome, "plugins", `resource-${name}-v${version}`);
    if (onPath(`pulumi-resource-${name}`) !== undefined) {
      rmSync(folder, { recursive: true, force: true });
      continue;
    }
    const program = join(folder, `pulumi-resource-${name}`);
    const text = `#!/bin/sh\nexec node "${start}" ${name} "$@"\n`;
    if (existsSync(program) && readFileSync(program, "utf8") === text) continue;
    mkdirSync(folder, { recursive: true });
    const part = `${program}.${process.pid}`;
    writeFileSync(part, text, { mode: 0o755 });
    renameSync(part, program);
  }
}

export async function ensureToolchain(): Promise<void> {
  ensurePlugins();
  const bundle = join(codeRoot, "support", "start", "bundle.cjs");
  const bundled = ["plugins", "program"].map((name) =>
    run([process.execPath, "-e", "require(process.argv[1]).bundled(process.argv[2])", bundle, name]),
  );
  await Promise.all([ensureCli(), ...bundled]);
}
