/** A Go new enough for the toolchain, the agent and GoBGP. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { debianArchitecture } from "../support/architecture";
import { run, tryRun } from "../support/process";
import { cacheFolder } from "../support/project";

/** The highest `go` line among this project's modules. */
export const wantedGo = { major: 1, minor: 24 } as const;
const toolchainVersion = "1.24.11";

export function isNewEnough(version: string): boolean {
  const match = /go(\d+)\.(\d+)/.exec(version);
  if (match === null) return false;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  return major > wantedGo.major || (major === wantedGo.major && minor >= wantedGo.minor);
}

async function versionOf(program: string): Promise<string | undefined> {
  const finished = await tryRun([program, "version"], { env: { ...process.env, GOTOOLCHAIN: "local" } }).catch(() => undefined);
  return finished?.code === 0 ? finished.stdout : undefined;
}

let found: Promise<string[]> | undefined;

/** The words to call Go with. */
export function goCommand(): Promise<string[]> {
  found ??= findGo();
  return found;
}

async function findGo(): Promise<string[]> {
  const present = await versionOf("go");
  if (present !== undefined && isNewEnough(present)) return ["go"];
  const own = join(cacheFolder(), "go", toolchainVersion, "bin", "go");
  if (!existsSync(own)) await fetchToolchain(join(cacheFolder(), "go"));
  return [own];
}

/**
 * Debian's Go (1.19) knows no toolchain switching, but it can download the toolchain module like any other.
 * The module cache strips the run bits; the copy sets them again.
 */
async function fetchToolchain(folder: string): Promise<void> {
  const wanted = `Go ${wantedGo.major}.${wantedGo.minor} or newer`;
  const debianGo = ["go", "/usr/lib/go/bin/go"];
  let program: string | undefined;
  for (const candidate of debianGo) if ((await versionOf(candidate)) !== undefined) program ??= candidate;
  if (program === undefined)
    throw new Error(
      `${wanted} is needed to build the toolchain, and no Go is installed: apt-get install golang-go, or put a newer go on PATH`,
    );
  const module = `golang.org/toolchain@v0.0.1-go${toolchainVersion}.linux-${debianArchitecture()}`;
  const listed = await tryRun([program, "mod", "download", "-json", module], {
    cwd: "/",
    env: { ...process.env, GOFLAGS: "-mod=mod", GO111MODULE: "on" },
  });
  const from = listed.code === 0 ? (JSON.parse(listed.stdout) as { Dir?: string }).Dir : undefined;
  if (from === undefined) {
    throw new Error(
      `${wanted} is needed to build the toolchain; the installed one is older and the Go module proxy did not give ${module}: ${listed.stderr.trim() || listed.stdout.trim()}. Put a newer go on PATH`,
    );
  }
  mkdirSync(folder, { recursive: true });
  const to = join(folder, toolchainVersion);
  await run(["cp", "-r", "--no-preserve=mode", from, `${to}.part`]);
  await run(["sh", "-c", 'chmod -R u+rwX "$1" && find "$1/bin" "$1/pkg/tool" -type f -exec chmod 755 {} +', "sh", `${to}.part`]);
  await run(["mv", `${to}.part`, to]);
}
