/** Takes the steps of a walk on a lab: after each all is as declared, or an error says what gets there, and does. */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Project } from "../../benches/support/scratchProject";
import type { Status } from "../../cli/verbs/status";
import { sleep, tryRun, type Finished } from "../../support/process";
import { stateFolder } from "../../support/project";
import { nameAsReal } from "../support/asReal";
import { type Cell, cellsOf } from "../support/leaks/cells";
import { openWire, tryCells } from "../support/leaks/wire";
import { pulumisOf } from "../support/pulumis";
import { serverSnapshot } from "../support/snapshot";
import { changed, type Fault, firstWorld, type Step, stepText, testbedText, triedNetworks, type World } from "./world";

export class WalkFailed extends Error {}

const testbed = "soak";
/** What an up takes, roughly: where a fault falls in it. */
const upMilliseconds = 7_000;

const stateDisk = (root: string): string => join(stateFolder(root), "state");

export class Walk {
  world: World = firstWorld;
  private readonly before = new Map<string, string>();

  private constructor(
    readonly project: Project,
    private readonly say: (line: string) => void,
  ) {}

  /** Its stacks' states have a disk of their own, which can be full; Pulumi keeps a copy of each update there. */
  static async open(name: string, say: (line: string) => void): Promise<Walk> {
    // Of one that was killed.
    await tryRun(["umount", stateDisk(Project.folder(name))]);
    const walk = new Walk(Project.make(name), say);
    const disk = stateDisk(walk.project.root);
    mkdirSync(disk, { recursive: true });
    await walk.must("a disk", tryRun(["mount", "-t", "tmpfs", "-o", "size=1g", "flipflap-test", disk]));
    return walk;
  }

  async close(): Promise<void> {
    await this.project.flipflap("down");
    await this.project.flipflap("lab", "stop");
    await tryRun(["umount", stateDisk(this.project.root)]);
    this.project.remove();
  }

  private async must(what: string, finished: Promise<Finished>): Promise<string> {
    const { code, stdout, stderr } = await finished;
    if (code !== 0) throw new WalkFailed(`${what}: exit ${code}\n${stdout}\n${stderr}`);
    return stdout;
  }

  private onServer(server: string, command: string): Promise<Finished> {
    return tryRun(["ssh", "-F", `${this.project.root}/.flipflap/ssh/config`, server, command], { timeoutSeconds: 60 });
  }

  private declare(): void {
    const { project, world } = this;
    project.write(`testbeds/${testbed}.yaml`, testbedText(world));
    for (const server of ["flip", "flap", "flop"]) {
      const text = Project.original(`Pulumi.${server === "flop" ? "flap" : server}.yaml`).replace("testbed: bridge", `testbed: ${testbed}`);
      if (world.servers.includes(server)) project.write(`Pulumi.${server}.yaml`, text);
      else rmSync(`${project.root}/Pulumi.${server}.yaml`, { force: true });
    }
  }

  async begin(): Promise<void> {
    this.declare();
    await this.must("lab start", this.project.flipflap("lab", "start"));
    await this.project.flipflap("status");
    for (const server of ["flip", "flap"]) this.before.set(server, await serverSnapshot(this.project.root, server));
  }

  /** What an error advises, taken by its word. */
  private async converge(): Promise<void> {
    const said: string[] = [];
    for (let tries = 0; tries < 3; tries++) {
      const up = await this.project.flipflap("up");
      if (up.code === 0) return;
      said.push(up.stderr.slice(-2000));
      if (/flipflap repair/.test(up.stderr)) {
        const repair = await this.project.flipflap("repair");
        said.push(repair.stdout.slice(-500), repair.stderr.slice(-500));
      }
    }
    throw new WalkFailed(`three times up, and what they advise, do not get there:\n${said.join("\n--\n")}`);
  }

  private async expectWhole(): Promise<void> {
    const { code, stdout, stderr } = await this.project.flipflap("check");
    if (code !== 0) throw new WalkFailed(`check: exit ${code}\n${stdout}\n${stderr}`);
    const leak = await this.leak();
    if (leak !== undefined) throw new WalkFailed(leak);
  }

  /** The leak matrix in short: whoever is not of one network, by the plainest packets and the likeliest forgeries. */
  private async leak(): Promise<string | undefined> {
    const status = JSON.parse(await this.must("status", this.project.flipflap("status", "--json"))) as Status;
    const wire = await openWire(this.project.root, status, triedNetworks(this.world));
    const cells = cellsOf(wire.lab);
    const some = ({ way, what }: Cell): boolean =>
      ["plain", "ping", "source of the target's network", "VLAN tag 0", "inside VXLAN, from another server"].includes(way) &&
      (what !== "its own network" || way === "plain");
    const { leaks, lost, unsent } = await tryCells(wire, cells, some);
    this.say(`  ${cells.filter(some).length} ways tried, ${leaks.length} open`);
    const [first] = leaks;
    if (first !== undefined)
      return `${leaks.length} leaks, the first: ${first.cell.from.name} to ${first.cell.target} (${first.cell.way}): ${first.by.join(", ")} got it`;
    if (lost.length > 0) return `lost: ${lost.join(", ")}`;
    return unsent.length > 0 ? `not sent: ${unsent.map(({ from, way }) => `${from.name} ${way}`).join(", ")}` : undefined;
  }

  /** Gives what undoes it, where that is not an up's to do. */
  private async inject(fault: Fault, server: string, verb: number | undefined): Promise<(() => Promise<unknown>) | undefined> {
    const { project } = this;
    switch (fault) {
      case "power-cut":
        await this.must("power-cut", project.flipflap("lab", "power-cut", server));
        await sleep(1000);
        await this.must("power-on", project.flipflap("lab", "power-on", server));
        return undefined;
      case "kill-pulumi":
        for (const pid of pulumisOf(project.root)) process.kill(pid, "SIGKILL");
        return undefined;
      case "kill-flipflap":
        if (verb !== undefined) process.kill(verb, "SIGKILL");
        return undefined;
      case "kill-agent":
        await this.onServer(server, "docker kill ff-agent");
        return undefined;
      case "kill-system":
        await this.onServer(server, "docker ps -q --filter label=flipflap.system | head -n 1 | xargs -r docker kill");
        return undefined;
      case "kill-dockerd":
        await this.onServer(
          server,
          "kill -9 $(cat /run/docker.pid); for i in $(seq 100); do docker version >/dev/null 2>&1 && break; sleep 0.2; done",
        );
        return undefined;
      case "prune-images":
        await this.onServer(server, "docker ps -a -q --filter label=flipflap.system | xargs -r docker rm -f; docker image prune -a -f");
        await this.forgetImages(server);
        return undefined;
      case "uplink-down":
        await this.onServer(server, "ip link set up0 down");
        return undefined;
      case "disk-full": {
        // Of the machine that deploys: two blocks are left.
        const fill = 'fallocate -l $(($(df --output=avail -k "$0" | tail -n 1) - 8))k "$0/filler"';
        await this.must("a full disk", tryRun(["sh", "-c", fill, stateDisk(project.root)]));
        return async () => rmSync(`${stateDisk(project.root)}/filler`);
      }
      case "second-project": {
        const other = Project.make("soak-second");
        other.write(`testbeds/${testbed}.yaml`, testbedText(this.world));
        nameAsReal(other, project, testbed);
        const { code } = await other.flipflap("up");
        other.remove();
        if (code === 0) throw new WalkFailed("a second project's up went through");
        return undefined;
      }
    }
  }

  /** Runs a verb of the walk with a fault in the middle; a verb that is killed or fails is no fault yet. */
  private async withFault(words: readonly string[], { fault }: Step): Promise<void> {
    if (fault === undefined) {
      if (words[0] === "up") await this.converge();
      else await this.must(words.join(" "), this.project.flipflap(...words));
      return;
    }
    const server = this.world.servers[Math.floor(fault.at * this.world.servers.length)] ?? "flip";
    const { pid, ended } = this.project.start(...words);
    let isOver = false;
    void ended.then(() => (isOver = true));
    for (let waited = 0; !isOver && waited < 8000 && pulumisOf(this.project.root).length === 0; waited += 50) await sleep(50);
    await sleep(fault.part * upMilliseconds);
    const undo = await this.inject(fault.fault, server, isOver ? undefined : pid);
    await ended;
    // A Pulumi whose caller was killed goes on to its end.
    for (let waited = 0; waited < 120_000 && pulumisOf(this.project.root).length > 0; waited += 200) await sleep(200);
    await undo?.();
    await this.converge();
  }

  async take(step: Step): Promise<void> {
    this.say(stepText(step));
    const before = this.world;
    this.world = changed(before, step.change);
    this.declare();
    switch (step.change.do) {
      case "destroy":
        if (before.isUp)
          for (const server of before.servers)
            await this.must(`destroy ${server}`, this.project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
        return;
      case "repair":
        if (!before.isUp) return;
        await this.withFault(["repair"], step);
        break;
      case "refresh":
        if (!before.isUp) return;
        for (const server of before.servers)
          await this.must(`refresh ${server}`, this.project.pulumi("refresh", "-s", server, "--yes", "--skip-preview"));
        await this.withFault(["up"], step);
        break;
      default:
        await this.withFault(["up"], step);
    }
    this.world = { ...this.world, isUp: true };
    await this.expectWhole();
  }

  /** Images that were there before the walk and that somebody pruned are not given back. */
  private async forgetImages(server: string): Promise<void> {
    const { stdout } = await this.onServer(server, "docker images --format '{{.Repository}}:{{.Tag}}'");
    const left = new Set(stdout.split("\n"));
    const before = this.before.get(server)?.split("\n");
    if (before !== undefined) this.before.set(server, before.filter((line) => !line.startsWith("flipflap/") || left.has(line)).join("\n"));
  }

  /** All goes, and the servers are as they were before the walk. */
  async end(): Promise<void> {
    this.world = changed(changed(this.world, { do: "leave" }), { do: "destroy" });
    this.declare();
    await this.must("the last up", this.project.flipflap("up"));
    for (const server of this.world.servers)
      await this.must(`destroy ${server}`, this.project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
    for (const [server, snapshot] of this.before)
      if ((await serverSnapshot(this.project.root, server)) !== snapshot)
        throw new WalkFailed(`${server} is not as it was before the walk`);
  }
}
