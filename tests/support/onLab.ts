/** What lab tests do with a project whose lab runs: on servers, in systems, and with what flipflap says of both. */
import { spawn } from "node:child_process";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { commandInSystem } from "../../cli/verbs/exec";
import type { Status } from "../../cli/verbs/status";
import { quote } from "../../components/host/sh";
import { writeSshConfig } from "../../components/host/sshConfig";
import { checkedDeclaration } from "../../components/plan/check";
import type { Checked } from "../../deploy/checks";
import { parseChanges } from "../../deploy/pulumi";
import { readLabState } from "../../lab/state";
import { type Finished, run, sleep, tryRun } from "../../support/process";
import { serverSnapshot } from "./snapshot";

/** Runs until it holds; networks converge, and how fast is measured elsewhere. An error counts at the end only. */
export async function eventually(what: () => Promise<boolean>, seconds = 10): Promise<boolean> {
  let failed: unknown;
  for (const end = Date.now() + seconds * 1000; Date.now() < end; await sleep(100)) {
    try {
      failed = undefined;
      if (await what()) return true;
    } catch (error) {
      failed = error;
    }
  }
  if (failed !== undefined) throw failed as Error;
  return false;
}

/** What ping says it received; a ping that did not come to say so is an error, and no proof that a way is closed. */
export function receivedOf({ stdout, stderr, code }: Finished, hasNoRoute = false): number {
  if (hasNoRoute && stderr.includes("Network is unreachable")) return 0;
  const [, received] = /\d+ packets transmitted, (\d+) received/.exec(stdout) ?? [];
  if (received === undefined) throw new Error(`ping sent nothing (exit code ${code}): ${stdout}${stderr}`);
  return Number(received);
}

export function onLab(project: Project) {
  const ssh = ["-F", `${project.root}/.flipflap/ssh/config`];
  const onServer = (server: string, command: string): Promise<string> => run(["ssh", ...ssh, server, command]);

  /** As `flipflap exec` does, without its start: tests run over a thousand commands. */
  async function inSystem(system: string, ...command: string[]): Promise<Finished> {
    const { root } = project;
    const context = { root, declaration: checkedDeclaration(root, readLabState(root), true) };
    writeSshConfig(root, context.declaration);
    const begin = performance.now();
    const finished = await tryRun(commandInSystem(context, system, command), { cwd: root });
    Project.onFinished(["exec", system, "--", ...command], (performance.now() - begin) / 1000);
    return finished;
  }

  /** What tcpdump sees on an interface of a server while something is done. */
  async function captured(server: string, device: string, filter: string, during: () => Promise<unknown>): Promise<Buffer> {
    const tools = "docker run --rm --network host --cap-add NET_RAW $(docker images -q flipflap/tools | head -n 1)";
    const child = spawn("ssh", [
      ...ssh,
      server,
      `${tools} timeout --preserve-status -s INT 20 tcpdump --immediate-mode -U -s 0 -w - -i ${device} '${filter}'`,
    ]);
    const chunks: Buffer[] = [];
    const listening = new Promise<void>((resolve) => child.stderr.on("data", (text: Buffer) => text.includes("listening") && resolve()));
    const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    await listening;
    await during();
    await sleep(500);
    await onServer(
      server,
      `docker ps -q --filter ancestor=$(docker images -q flipflap/tools | head -n 1) --filter network=host | xargs -r docker kill -s INT >/dev/null`,
    );
    await ended;
    return Buffer.concat(chunks);
  }

  /** Whether a frame that holds these bytes passes an interface of a server while something is done; it is looked for a second longer. */
  async function passes(server: string, device: string, needle: Buffer, during: () => Promise<unknown>): Promise<boolean> {
    const program =
      'use Socket; my ($d,$n)=@ARGV; open(my $i,"/sys/class/net/$d/ifindex") or die $!; my $x=<$i>+0; socket(my $s,17,3,0x0300) or die $!; bind($s,pack("SnLSCCa8",17,3,$x,1,0,0,"")) or die $!; $|=1; print "ready\n"; alarm 20; while (recv($s,my $f,65536,0)) { if (index(unpack("H*",$f),$n)>=0) { print "seen\n"; exit 0 } }';
    const child = spawn("ssh", [...ssh, server, ["perl", "-e", program, device, needle.toString("hex")].map(quote).join(" ")]);
    let said = "";
    const has = (word: string): Promise<void> =>
      new Promise((resolve) => child.stdout.on("data", () => said.includes(word) && resolve()).on("close", resolve));
    child.stdout.on("data", (data: Buffer) => (said += data.toString()));
    await has("ready");
    if (!said.includes("ready")) throw new Error(`${server}: nothing can be seen at ${device}`);
    const seen = has("seen");
    await during();
    await Promise.race([seen, sleep(1000)]);
    child.kill();
    return said.includes("seen");
  }

  /** As a real server is at first: the lab's come with images. Who asks for it stops the lab at its end, for the next file's sake. */
  const withoutImages = (server: string): Promise<string> => onServer(server, "docker image prune -a -f >/dev/null");

  return {
    passes,
    withoutImages,
    /** A shipped or written testbed, brought up where nothing is; what the servers were before is kept. */
    bringUp: async (testbed: string, servers: readonly string[], before: Map<string, string>): Promise<Status> => {
      project.use(testbed);
      succeeded(await project.flipflap("lab", "start"));
      await project.flipflap("status");
      for (const server of servers) before.set(server, await serverSnapshot(project.root, server));
      return JSON.parse(succeeded(await project.flipflap("up", "--json"))) as Status;
    },
    /** How much a second up finds to do on a server, after all was read anew: created, updated, deleted, replaced. */
    changesOfAnotherUp: async (server: string): Promise<number[]> => {
      succeeded(await project.pulumi("refresh", "-s", server, "--yes", "--skip-preview"));
      const again = parseChanges(succeeded(await project.pulumi("up", "-s", server, "--yes", "--skip-preview")));
      return [again.created, again.updated, again.deleted, again.replaced].map((n) => n ?? 0);
    },
    /** All stacks at once, as `down` does. */
    destroyAll: async (servers: readonly string[]): Promise<void> => {
      const destroyed = servers.map((server) => project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
      for (const one of await Promise.all(destroyed)) succeeded(one);
    },
    onServer,
    inSystem,
    captured,
    /** Whether one of so many pings comes back. A system without a route there is a fault of the test, unless that says so. */
    reaches: async (from: string, to: string, { count = 1, hasNoRoute = false } = {}): Promise<boolean> =>
      receivedOf(await inSystem(from, "ping", "-n", "-c", String(count), "-i", "0.2", "-W", "1", to), hasNoRoute) > 0,
    wrong: async (): Promise<Checked[]> => {
      const { stdout } = await project.flipflap("check", "--json");
      return (JSON.parse(stdout) as { checks: Checked[] }).checks.filter((checked) => checked.result !== "ok");
    },
    readStatus: async (): Promise<Status> => JSON.parse((await project.flipflap("status", "--json")).stdout) as Status,
    /** A ping in the background; gives how many of how many came back. */
    pinging: (system: string, address: string, count: number, intervalSeconds: number): Promise<{ sent: number; lost: number }> =>
      inSystem(system, "ping", "-n", "-q", "-i", String(intervalSeconds), "-c", String(count), address).then(({ stdout }) => {
        const [, sent, received] = /(\d+) packets transmitted, (\d+) received/.exec(stdout) ?? [];
        return { sent: Number(sent), lost: Number(sent) - Number(received) };
      }),
  };
}
