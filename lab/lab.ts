/** A lab: servers as namespaces, joined by links. Every step looks at what is there, so a start after a killed run converges. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultUplink } from "../components/config/declaration";
import { formatPrefix } from "../components/net/cidr";
import { macFor } from "../components/net/names";
import { run, tryRun } from "../support/process";
import { codeRoot, stateFolder } from "../support/project";
import { labNames, labsFolder } from "./names";
import { findOverlaps, type LabRanges, type MachineRoute, managementAddresses, rangesOfSlot, slotsOf, underlayAddresses } from "./ranges";
import * as servers from "./server";
import { type LabServerFacts, type LabState, writeLabState } from "./state";

export interface LabLink {
  readonly ends: readonly { readonly server: string; readonly device: string }[];
}

export interface LabPlan {
  readonly name: string;
  readonly root: string;
  readonly servers: readonly { readonly name: string; readonly uplink: string }[];
  readonly links: readonly LabLink[];
}

const initScript = join(codeRoot, "lab", "init.sh");

async function machineRoutes(): Promise<MachineRoute[]> {
  const routes: MachineRoute[] = [];
  for (const family of ["-4", "-6"]) {
    const listed = (await run(["ip", "-j", family, "route", "show", "table", "all"])).trim();
    for (const route of JSON.parse(listed || "[]") as { dst: string; dev?: string }[]) {
      routes.push({ destination: route.dst, device: route.dev ?? "?" });
    }
  }
  return routes;
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
  const routes = (await machineRoutes()).filter((route) => !/^ff-[0-9a-f]{4}-m\d+$/.test(route.device));
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

/** Fixed, as a real NIC's is. */
function nicMac(plan: LabPlan, end: LabLink["ends"][number]): string {
  return macFor(`nic ${plan.name} ${end.server} ${end.device}`);
}

/** Gives ends that wait aside (a powered-off server's, or fresh ones) to their servers. A NIC comes back from a reboot with its defaults. */
async function giveEnds(plan: LabPlan, index: number, link: LabLink, on: readonly string[]): Promise<void> {
  const names = labNames(plan.name);
  for (const [i, end] of link.ends.entries()) {
    const waiting = names.transitDevice(index, i);
    if (!on.includes(end.server) || !(await servers.hasDevice(names.asideNamespace, waiting))) continue;
    const namespace = names.namespace(end.server);
    await run(["ip", "-n", names.asideNamespace, "link", "set", waiting, "netns", namespace]);
    await run(["ip", "-n", namespace, "link", "set", waiting, "name", end.device]);
    await run(["ip", "-n", namespace, "link", "set", end.device, "address", nicMac(plan, end), "mtu", "1500"]);
    await run(["ip", "-n", namespace, "link", "set", end.device, "alias", ""]);
  }
}

/** Makes what is missing of a link whose servers are all there: a cable, or ports of a switch where it has more than two ends. */
async function makeLink(plan: LabPlan, index: number, link: LabLink): Promise<void> {
  const names = labNames(plan.name);
  const present = await Promise.all(link.ends.map((end) => servers.hasDevice(names.namespace(end.server), end.device)));
  if (present.every(Boolean)) return;
  for (const [i, end] of link.ends.entries()) {
    if (present[i] === true) await run(["ip", "-n", names.namespace(end.server), "link", "del", end.device]);
  }
  const add = ["ip", "-n", names.asideNamespace, "link", "add"];
  if (link.ends.length === 2) {
    await run([...add, names.transitDevice(index, 0), "type", "veth", "peer", "name", names.transitDevice(index, 1)]);
  } else {
    await makeSwitch(names, index);
    for (const i of link.ends.keys()) {
      const port = `sw${index}p${i}`;
      const inSwitch = ["ip", "-n", names.switchNamespace, "link"];
      if (await servers.hasDevice(names.switchNamespace, port)) await run([...inSwitch, "del", port]);
      await run([...add, names.transitDevice(index, i), "type", "veth", "peer", "name", port, "netns", names.switchNamespace]);
      await run([...inSwitch, "set", port, "mtu", switchMtuBytes, "master", `sw${index}`, "up"]);
    }
  }
  await giveEnds(
    plan,
    index,
    link,
    link.ends.map((end) => end.server),
  );
}

const switchMtuBytes = "9216";

async function makeSwitch(names: servers.Names, index: number): Promise<void> {
  await servers.makeNamespace(names.switchNamespace);
  if (await servers.hasDevice(names.switchNamespace, `sw${index}`)) return;
  await run(["ip", "-n", names.switchNamespace, "link", "add", `sw${index}`, "mtu", switchMtuBytes, "type", "bridge"]);
  await run(["ip", "-n", names.switchNamespace, "link", "set", `sw${index}`, "up"]);
}

function serversOf(plan: LabPlan, ranges: LabRanges): servers.LabServer[] {
  return plan.servers.map((server, index) => ({
    name: server.name,
    index,
    management: managementAddresses(ranges, index),
  }));
}

/** Brings servers up; those of the lab that are off and not in `list` stay so, and their links' ends wait. */
async function bootAll(plan: LabPlan, list: readonly servers.LabServer[]): Promise<void> {
  const names = labNames(plan.name);
  for (const server of list) {
    // A namespace without its processes is what a killed run left: what it holds is not a server.
    if (servers.initPid(names, server.name) === undefined) await setAside(plan, server.name);
    await servers.wire(names, server);
  }
  const on = list.map((server) => server.name);
  for (const [index, link] of plan.links.entries()) {
    await giveEnds(plan, index, link, on);
    if (link.ends.every((end) => on.includes(end.server))) await makeLink(plan, index, link);
  }
  await Promise.all(list.map((server) => servers.boot(names, server, initScript)));
  await Promise.all(list.map((server) => servers.waitReady(names, server)));
}

export async function start(plan: LabPlan): Promise<LabState> {
  rememberNetnsFolder();
  const ranges = await chooseRanges(plan);
  const names = labNames(plan.name);
  await servers.makeNamespace(names.asideNamespace);

  const userKey = join(stateFolder(plan.root), "ssh", "lab_key");
  mkdirSync(join(stateFolder(plan.root), "ssh"), { recursive: true, mode: 0o700 });
  const publicKey = await makeKey(userKey, `flipflap lab ${plan.name}`);
  const facts: Record<string, LabServerFacts> = {};
  const list = serversOf(plan, ranges);
  for (const [index, server] of list.entries()) {
    const folder = servers.serverFolder(names, server.name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, "authorized_keys"), `${publicKey}\n`);
    const hostKey = await makeKey(join(folder, "host_key"), server.name);
    const { ipv4, ipv6, locator, routeServer } = underlayAddresses(ranges, index);
    const uplink = plan.servers[index]?.uplink ?? defaultUplink;
    facts[server.name] = {
      address: server.management.server,
      port: 22,
      user: "root",
      hostKey: hostKey.split(" ").slice(0, 2).join(" "),
      privateKeyFile: userKey,
      uplink,
      underlay: { ipv4, ipv6, routeServer, mac: nicMac(plan, { server: server.name, device: uplink }) },
      locator,
    };
  }
  await bootAll(plan, list);
  const state: LabState = { name: plan.name, slot: ranges.slot, servers: facts };
  writeLabState(plan.root, state);
  await giveToOwner(plan.root, stateFolder(plan.root));
  return state;
}

/** Holds the server's ends of its links aside, then takes all else away. The peers see a lost carrier and no more. */
async function setAside(plan: LabPlan, server: string): Promise<void> {
  const names = labNames(plan.name);
  const namespace = names.namespace(server);
  if (!(await servers.namespaces()).includes(namespace)) return;
  for (const [index, link] of plan.links.entries()) {
    for (const [i, end] of link.ends.entries()) {
      if (end.server !== server || !(await servers.hasDevice(namespace, end.device))) continue;
      const waiting = names.transitDevice(index, i);
      await run(["ip", "-n", namespace, "link", "set", end.device, "down"]);
      await run(["ip", "-n", namespace, "link", "set", end.device, "name", waiting]);
      await run(["ip", "-n", namespace, "link", "set", waiting, "netns", names.asideNamespace]);
    }
  }
  await servers.killServer(names, server);
  await servers.removeNamespace(namespace);
}

function mustBeOurs(plan: LabPlan, server: string): void {
  const known = plan.servers.map((s) => s.name);
  if (!known.includes(server)) throw new Error(`lab ${plan.name} has no server "${server}"; it has ${known.join(", ")}`);
}

export async function powerCut(plan: LabPlan, server: string): Promise<void> {
  mustBeOurs(plan, server);
  await servers.makeNamespace(labNames(plan.name).asideNamespace);
  await setAside(plan, server);
}

export async function powerOn(plan: LabPlan, server: string): Promise<void> {
  mustBeOurs(plan, server);
  const ranges = await chooseRanges(plan);
  const list = serversOf(plan, ranges).filter((candidate) => candidate.name === server);
  await bootAll(plan, list);
}

export async function stop(plan: LabPlan): Promise<void> {
  const names = labNames(plan.name);
  // What the folder knows counts too: servers of a testbed or stack file that is gone meanwhile.
  const known = existsSync(names.folder) ? readdirSync(names.folder).filter((entry) => entry !== "slot") : [];
  const all = [...new Set([...plan.servers.map((s) => s.name), ...known])];
  for (const server of all) {
    await servers.killServer(names, server);
    await servers.removeNamespace(names.namespace(server));
    await servers.removeCgroups(names, server);
  }
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
