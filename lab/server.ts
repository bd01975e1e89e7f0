/** One server of the lab: a network namespace with its own sshd and dockerd. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { macFor } from "../components/net/names";
import { CommandError, run, tryRun, waitUntil } from "../support/process";
import type { labNames } from "./names";

export interface LabServer {
  readonly name: string;
  readonly index: number;
  readonly management: { readonly machine: string; readonly server: string };
}

export type Names = ReturnType<typeof labNames>;

export function serverFolder(names: Names, server: string): string {
  return join(names.folder, server);
}

/** Whether a process is the first of its PID namespace, by its /proc/PID/status: subshells have its arguments, and after 32,768 processes lower numbers. */
export const isPidOne = (status: string): boolean => /^NSpid:.*\s1$/m.test(status);

/** The processes of a server that hold its namespaces: unshare and PID 1. Found by their arguments, so that a killed run leaves none unseen. */
function holders(names: Names, server: string): { unshare: number[]; init: number[] } {
  const folder = serverFolder(names, server);
  const found = { unshare: [] as number[], init: [] as number[] };
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    let argv: string[], isFirst: boolean;
    try {
      argv = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0").slice(0, -1);
      if (argv.at(-1) !== folder || !argv.at(-2)?.endsWith("/lab/init.sh")) continue;
      isFirst = isPidOne(readFileSync(`/proc/${entry}/status`, "utf8"));
    } catch {
      continue; // it ended meanwhile
    }
    if (!argv[0]?.endsWith("sh")) found.unshare.push(Number(entry));
    else if (isFirst) found.init.push(Number(entry));
  }
  return found;
}

/** The server's PID 1 as the machine counts it; undefined when the server is off. */
export function initPid(names: Names, server: string): number | undefined {
  return holders(names, server).init[0];
}

export async function namespaces(): Promise<string[]> {
  const listed = (await run(["ip", "-j", "netns", "list"])).trim();
  return listed === "" ? [] : (JSON.parse(listed) as { name: string }[]).map((n) => n.name);
}

export async function hasDevice(namespace: string | undefined, device: string): Promise<boolean> {
  const inNamespace = namespace === undefined ? [] : ["-n", namespace];
  return (await tryRun(["ip", ...inNamespace, "link", "show", "dev", device])).code === 0;
}

/** The kernel takes a veth with its peer's namespace, in its own time: one that goes meanwhile is removed as well. */
export async function removeDevice(device: string): Promise<void> {
  const command = ["ip", "link", "del", device];
  const finished = await tryRun(command);
  if (finished.code !== 0 && (await hasDevice(undefined, device))) throw new CommandError(command, finished);
}

export async function makeNamespace(namespace: string): Promise<void> {
  if (!(await namespaces()).includes(namespace)) await run(["ip", "netns", "add", namespace]);
  await run(["ip", "-n", namespace, "link", "set", "lo", "up"]);
}

export async function removeNamespace(namespace: string): Promise<void> {
  if ((await namespaces()).includes(namespace)) await run(["ip", "netns", "del", namespace]);
}

/** The namespace and the management link; the processes come with `boot`. */
export async function wire(names: Names, server: LabServer): Promise<void> {
  const namespace = names.namespace(server.name);
  const device = names.managementDevice(server.index);
  await makeNamespace(namespace);
  if (!(await hasDevice(namespace, "mgmt0"))) {
    if (await hasDevice(undefined, device)) await removeDevice(device);
    // Fixed: a server that comes back from a power cut has the MAC that it had.
    const managementMac = macFor(`management ${namespace}`);
    await run(["ip", "link", "add", device, "type", "veth", "peer", "name", "mgmt0", "address", managementMac, "netns", namespace]);
  }
  await run(["ip", "link", "set", device, "alias", `flipflap-lab:${server.name}`]);
  await run(["ip", "addr", "replace", `${server.management.machine}/30`, "dev", device]);
  await run(["ip", "-n", namespace, "addr", "replace", `${server.management.server}/30`, "dev", "mgmt0"]);
  await run(["ip", "link", "set", device, "up"]);
  await run(["ip", "-n", namespace, "link", "set", "mgmt0", "up"]);
}

export async function boot(names: Names, server: LabServer, initScript: string): Promise<void> {
  if (initPid(names, server.name) !== undefined) return;
  const folder = serverFolder(names, server.name);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(
    join(folder, "server.env"),
    `server=${server.name}\nmanagement_address=${server.management.server}\ncgroup=${names.cgroup(server.name)}\n`,
  );
  const child = spawn(
    "nsenter",
    [
      `--net=/run/netns/${names.namespace(server.name)}`,
      ...["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
      ...["sh", initScript, folder],
    ],
    // A clean environment: what the caller's shell exports is nothing of the server's.
    { detached: true, stdio: "ignore", cwd: "/", env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" } },
  );
  child.unref();
}

function answersSsh(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port: 22, timeout: 1000 });
    const end = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("data", () => end(true));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
  });
}

function answersDocker(pid: number): Promise<boolean> {
  return new Promise((resolve) => {
    const ask = request({ socketPath: `/proc/${pid}/root/run/docker.sock`, path: "/_ping" }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    ask.once("error", () => resolve(false));
    ask.end();
  });
}

export async function waitReady(names: Names, server: LabServer): Promise<void> {
  const folder = serverFolder(names, server.name);
  let pid: number | undefined;
  await waitUntil(`server ${server.name}: PID 1 (see ${folder})`, 10, () => {
    pid = initPid(names, server.name);
    return pid !== undefined;
  });
  await waitUntil(`server ${server.name}: sshd (see ${folder}/sshd.log)`, 30, () => answersSsh(server.management.server));
  // In a swarm it waits for an address that the testbed sets: flipflap repair, or up.
  if (existsSync(join(folder, "docker", "swarm", "docker-state.json"))) return;
  await waitUntil(`server ${server.name}: dockerd (see ${folder}/dockerd.log)`, 60, () => answersDocker(pid ?? 0));
}

/** Ends every process of the server at once, as a power cut does. The disk (its folder) stays. */
export async function killServer(names: Names, server: string): Promise<void> {
  const { unshare, init } = holders(names, server);
  for (const pid of [...init, ...unshare]) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // it ended meanwhile
    }
  }
  await waitUntil(`server ${server}: end of its processes`, 20, () => {
    const left = holders(names, server);
    return left.unshare.length + left.init.length === 0;
  });
}

const cgroups = "/sys/fs/cgroup";

/** Cgroups that stacks have made on it, by the names that they saved: a real server loses them with its power. */
async function stacksCgroups(names: Names, server: string): Promise<string[]> {
  const saved = join(serverFolder(names, server), "layers", "var-lib", "upper", "flipflap");
  if (!existsSync(saved)) return [];
  const files = (await run(["find", saved, "-path", "*/saved/*.cgroup", "-type", "f"])).split("\n").filter((line) => line !== "");
  return files.flatMap((file) => {
    const name = readFileSync(file, "utf8").trim();
    return name === "" || name.includes("..") ? [] : [join(cgroups, name)];
  });
}

/** Folders of a server's cgroups, deepest first; dockerd leaves its own behind when it is killed. */
export async function removeCgroups(names: Names, server: string): Promise<void> {
  const own = ["", ...readdirSync(cgroups)].map((controller) => join(cgroups, controller, names.cgroup(server)));
  const roots = [...own, ...(await stacksCgroups(names, server))];
  for (const root of roots) {
    if (!existsSync(root)) continue;
    const folders = (await run(["find", root, "-depth", "-type", "d"])).trim().split("\n");
    for (const folder of folders) {
      await waitUntil(`cgroup ${folder}: empty`, 10, () => {
        try {
          rmdirSync(folder);
          return true;
        } catch (error) {
          return (error as NodeJS.ErrnoException).code === "ENOENT";
        }
      });
    }
  }
}
