/** A lab: servers as namespaces, joined by links. Every step looks at what is there, so a start after a killed run converges. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultUplink } from "../components/config/declaration";
import { type LabServerFacts, type LabState } from "../components/config/labState";
import { formatPrefix } from "../components/net/cidr";
import { run, tryRun } from "../support/process";
import { codeRoot, stateFolder } from "../support/project";
import { layDisk, preparedDisk } from "./disk";
import { type LabNames, labNames, labsFolder } from "./names";
import { findOverlaps, type LabRanges, type MachineRoute, managementAddresses, rangesOfSlot, slotsOf, underlayAddresses } from "./ranges";
import * as servers from "./server";
import { writeLabState } from "./state";
import { type LabLink, nicMac, Wiring } from "./wiring";

export interface LabPlan {
  readonly name: string;
  readonly root: string;
  readonly servers: readonly { readonly name: string; readonly uplink: string }[];
  readonly links: readonly LabLink[];
}

const initScript = join(codeRoot, "lab", "init.sh");

async function machineRoutes(): Promise<(MachineRoute & { readonly isBlock: boolean })[]> {
  const routes: (MachineRoute & { readonly isBlock: boolean })[] = [];
  for (const family of ["-4", "-6"]) {
    const listed = (await run(["ip", "-j", family, "route", "show", "table", "all"])).trim();
    for (const route of JSON.parse(listed || "[]") as { dst: string; dev?: string; type?: string; protocol?: string }[]) {
      const isBlock = route.type === "unreachable" && route.protocol === blockProtocol;
      routes.push({ destination: route.dst, device: route.dev ?? "?", isBlock });
    }
  }
  return routes;
}

/** A number that iproute2 gives no name and no daemon of the field uses. */
const blockProtocol = "241";

/**
 * What is for a server that is off, or for the wire between two, must not leave by the machine's default route. Better routes,
 * those of the links, come before.
 */
async function blockRanges(verb: "replace" | "del", { folder }: LabNames): Promise<void> {
  const file = join(folder, "slot");
  if (!existsSync(file)) return;
  const ranges = rangesOfSlot(Number(readFileSync(file, "utf8")));
  for (const range of [ranges.management, ranges.underlayIpv4, ranges.underlayIpv6, ranges.locators]) {
    const words = ["route", verb, "unreachable", formatPrefix(range), "proto", blockProtocol];
    const command = ["ip", range.family === 6 ? "-6" : "-4", ...words];
    if (verb === "replace") await run(command);
    else await tryRun(command);
  }
}

/** The slots that other labs of this machine hold. */
function slotsTaken(name: string): Map<number, string> {
  const taken = new Map<number, string>();
  if (!existsSync(labsFolder)) return taken;
  for (const lab of readdirSync(labsFolder)) {
    const file = join(labsFolder, lab, "slot");
    if (lab !== name && existsSync(file)) taken.set(Number(readFileSync(file, "utf8")), lab);
  }
  return taken;
}

/** The ranges of this lab: those it has, else the first slot that no other lab holds. Ranges that the machine itself routes are refused. */
async function chooseRanges(plan: LabPlan): Promise<LabRanges> {
  const { folder } = labNames(plan.name);
  const file = join(folder, "slot");
  const named = process.env.FLIPFLAP_LAB_SLOT;
  const taken = slotsTaken(plan.name);
  let slot: number | undefined;
  if (existsSync(file)) slot = Number(readFileSync(file, "utf8"));
  else if (named !== undefined && named !== "") slot = Number(named);
  else slot = slotsOf(plan.name).find((candidate) => !taken.has(candidate));
  if (slot === undefined || !Number.isInteger(slot) || slot < 0 || slot > 127) {
    throw new Error(`lab ${plan.name}: no slot of ranges (0 to 127) is free; end a lab (lab stop) or name one by FLIPFLAP_LAB_SLOT`);
  }
  const ranges = rangesOfSlot(slot);
  const routes = (await machineRoutes()).filter(({ device, isBlock }) => !isBlock && !/^ff-[0-9a-f]{4}-m\d+$/.test(device));
  const overlaps = findOverlaps(ranges, routes);
  if (overlaps.length > 0) {
    const said = overlaps.map((o) => `  range ${o.range} overlaps the machine's route ${o.route.destination} dev ${o.route.device}`);
    throw new Error(
      `lab ${plan.name}: traffic of the lab could leave this machine:\n${said.join("\n")}\n  set FLIPFLAP_LAB_SLOT to another slot (0 to 127; now ${slot}) or remove the route`,
    );
  }
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, String(slot));
  return ranges;
}

/** iproute2 leaves /run/netns mounted for ever at the first namespace; remember whether it was there before us. */
const netnsFolder = "/run/netns";
const madeNetnsMark = join(labsFolder, ".made-run-netns");

function rememberNetnsFolder(): void {
  mkdirSync(labsFolder, { recursive: true });
  if (!existsSync(netnsFolder)) writeFileSync(madeNetnsMark, "");
}

async function forgetNetnsFolder(): Promise<void> {
  const others = readdirSync(labsFolder).filter((entry) => entry !== ".made-run-netns");
  if (others.length > 0) return;
  if (existsSync(madeNetnsMark) && existsSync(netnsFolder) && readdirSync(netnsFolder).length === 0) {
    await tryRun(["umount", netnsFolder]);
    rmdirSync(netnsFolder);
  }
  rmSync(labsFolder, { recursive: true });
}

async function makeKey(file: string, comment: string): Promise<string> {
  if (!existsSync(file)) await run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file]);
  return readFileSync(`${file}.pub`, "utf8").trim();
}

/** The project's files belong to its owner also when the lab runs by sudo. */
async function giveToOwner(root: string, path: string): Promise<void> {
  const { uid, gid } = statSync(root);
  if (process.getuid?.() === 0 && uid !== 0) await run(["chown", "-R", `${uid}:${gid}`, path]);
}

/** Servers' own numbers, which stay whoever joins or leaves; one that joins takes the first free. */
function numbersOf(plan: LabPlan): Map<string, number> {
  const names = labNames(plan.name);
  const file = (server: string): string => join(servers.serverFolder(names, server), "number");
  const known = existsSync(names.folder) ? readdirSync(names.folder).filter((entry) => existsSync(file(entry))) : [];
  const numbers = new Map(known.map((server) => [server, Number(readFileSync(file(server), "utf8"))]));
  const taken = new Set(numbers.values());
  for (const { name } of plan.servers) {
    if (numbers.has(name)) continue;
    let number = 0;
    while (taken.has(number)) number++;
    taken.add(number);
    numbers.set(name, number);
  }
  return numbers;
}

function serversOf(plan: LabPlan, ranges: LabRanges): servers.LabServer[] {
  const numbers = numbersOf(plan);
  return plan.servers.map(({ name }) => {
    const index = numbers.get(name) ?? 0;
    return { name, index, management: managementAddresses(ranges, index) };
  });
}

/** Brings servers up; those of the lab that are off and not in `list` stay so, and their NICs wait. */
async function bootAll(plan: LabPlan, list: readonly servers.LabServer[], wiring: Wiring): Promise<void> {
  const names = labNames(plan.name);
  for (const server of list) {
    // A namespace without its processes is what a killed run left: what it holds is not a server.
    if (servers.initPid(names, server.name) === undefined) await setAside(plan, server.name, wiring);
    await servers.wire(names, server);
  }
  await wiring.plug(plan.links);
  // Those that run already too: a cable that became a switch was plugged out of them.
  const running = plan.servers.filter(({ name }) => servers.initPid(names, name) !== undefined);
  await wiring.giveTo([...list, ...running].map(({ name }) => name));
  await Promise.all(list.map((server) => servers.boot(names, server, initScript)));
  await Promise.all(list.map((server) => servers.waitReady(names, server)));
}

export async function start(plan: LabPlan): Promise<LabState> {
  rememberNetnsFolder();
  const ranges = await chooseRanges(plan);
  const names = labNames(plan.name);
  await blockRanges("replace", names);
  await servers.makeNamespace(names.asideNamespace);

  const userKey = join(stateFolder(plan.root), "ssh", "lab_key");
  mkdirSync(join(stateFolder(plan.root), "ssh"), { recursive: true, mode: 0o700 });
  const publicKey = await makeKey(userKey, `flipflap lab ${plan.name}`);
  const facts: Record<string, LabServerFacts> = {};
  const list = serversOf(plan, ranges);
  const folderOf = (server: servers.LabServer): string => servers.serverFolder(names, server.name);
  const isNew = list.some((server) => !existsSync(join(folderOf(server), "docker")));
  const disk = isNew ? await preparedDisk() : undefined;
  for (const server of list) {
    const folder = folderOf(server);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (disk !== undefined) await layDisk(disk, folder);
    writeFileSync(join(folder, "number"), String(server.index));
    writeFileSync(join(folder, "authorized_keys"), `${publicKey}\n`);
    const hostKey = await makeKey(join(folder, "host_key"), server.name);
    const { ipv4, ipv6, locator, routeServer } = underlayAddresses(ranges, server.index);
    const uplink = plan.servers.find(({ name }) => name === server.name)?.uplink ?? defaultUplink;
    facts[server.name] = {
      address: server.management.server,
      port: 22,
      user: "root",
      hostKey: hostKey.split(" ").slice(0, 2).join(" "),
      privateKeyFile: userKey,
      uplink,
      underlay: { ipv4, ipv6, routeServer, mac: nicMac(plan.name, { server: server.name, device: uplink }) },
      locator,
    };
  }
  const wiring = new Wiring(plan.name, names);
  for (const gone of foldersOf(names).filter((server) => !list.some(({ name }) => name === server))) {
    await removeServer(names, gone);
    await wiring.forget(gone);
  }
  await bootAll(plan, list, wiring);
  const state: LabState = { name: plan.name, slot: ranges.slot, servers: facts };
  writeLabState(plan.root, state);
  await giveToOwner(plan.root, stateFolder(plan.root));
  return state;
}

/** Holds the server's NICs aside, then takes all else away. */
async function setAside(plan: LabPlan, server: string, wiring: Wiring): Promise<void> {
  const names = labNames(plan.name);
  const namespace = names.namespace(server);
  if (!(await servers.namespaces()).includes(namespace)) return;
  await wiring.holdAside(server);
  await servers.killServer(names, server);
  await servers.removeNamespace(namespace);
}

/** The servers that the lab's folder knows, also of a testbed or stack file that is gone meanwhile. */
function foldersOf({ folder }: LabNames): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
}

/** With all that it holds, its disk too. */
async function removeServer(names: LabNames, server: string): Promise<void> {
  await servers.killServer(names, server);
  await servers.removeNamespace(names.namespace(server));
  await servers.removeCgroups(names, server);
  rmSync(servers.serverFolder(names, server), { recursive: true, force: true });
}

function mustBeOurs(plan: LabPlan, server: string): void {
  const known = plan.servers.map((s) => s.name);
  if (!known.includes(server)) throw new Error(`lab ${plan.name} has no server "${server}"; it has ${known.join(", ")}`);
}

export async function powerCut(plan: LabPlan, server: string): Promise<void> {
  mustBeOurs(plan, server);
  const names = labNames(plan.name);
  await servers.makeNamespace(names.asideNamespace);
  await setAside(plan, server, new Wiring(plan.name, names));
}

export async function powerOn(plan: LabPlan, server: string): Promise<void> {
  mustBeOurs(plan, server);
  const ranges = await chooseRanges(plan);
  const list = serversOf(plan, ranges).filter((candidate) => candidate.name === server);
  await bootAll(plan, list, new Wiring(plan.name, labNames(plan.name)));
}

export async function stop(plan: LabPlan): Promise<void> {
  const names = labNames(plan.name);
  const all = [...new Set([...plan.servers.map((s) => s.name), ...foldersOf(names)])];
  for (const server of all) await removeServer(names, server);
  await blockRanges("del", names);
  await servers.removeNamespace(names.asideNamespace);
  await servers.removeNamespace(names.switchNamespace);
  for (const link of JSON.parse((await run(["ip", "-j", "link", "show", "type", "veth"])).trim() || "[]") as { ifname: string }[]) {
    if (link.ifname.startsWith(names.managementDevice(0).slice(0, -1))) await servers.removeDevice(link.ifname);
  }
  rmSync(names.folder, { recursive: true, force: true });
  if (existsSync(labsFolder)) await forgetNetnsFolder();
  writeLabState(plan.root, undefined);
  for (const key of ["lab_key", "lab_key.pub"]) rmSync(join(stateFolder(plan.root), "ssh", key), { force: true });
}

export interface ServerStatus {
  readonly server: string;
  readonly address: string;
  readonly power: "on" | "off";
  readonly pid: number | null;
}

export async function status(plan: LabPlan): Promise<{ name: string; ranges: string[]; servers: ServerStatus[] }> {
  const names = labNames(plan.name);
  const slotFile = join(names.folder, "slot");
  if (!existsSync(slotFile)) return { name: plan.name, ranges: [], servers: [] };
  const ranges = rangesOfSlot(Number(readFileSync(slotFile, "utf8")));
  return {
    name: plan.name,
    ranges: [ranges.management, ranges.underlayIpv4, ranges.underlayIpv6].map(formatPrefix),
    servers: serversOf(plan, ranges).map((server) => {
      const pid = servers.initPid(names, server.name);
      return {
        server: server.name,
        address: server.management.server,
        power: pid === undefined ? "off" : "on",
        pid: pid ?? null,
      };
    }),
  };
}
