/** Pulumi killed, cut off and starved at any moment: what comes next converges, and nothing is left behind. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import { run, sleep, tryRun } from "../../support/process";
import { nameAsReal } from "../support/asReal";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { pulumisOf } from "../support/pulumis";
import { seeded } from "../support/seeded";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"];
const before = new Map<string, string>();
const { onServer, withoutImages } = onLab(project);

/** Small, with one of each: bridge, router namespace, filter, secret, file, container. */
const testbed = `
tenants: [{ name: red }, { name: blue }]
networks:
  - { name: near, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.20.1.0/24, flap: 10.20.2.0/24 } }
  - { name: far, tenant: red, kind: bridge, mode: router, subnets: { flip: 10.21.1.0/24, flap: 10.21.2.0/24 }, filter: nft }
systems:
  - { name: here, tenant: red, server: flip, networks: [{ name: near }, { name: far }], files: [{ path: /etc/token, secret: token }] }
  - { name: there, tenant: red, server: flap, networks: [{ name: near }] }
secrets: [{ name: token, length: 24 }]
links: [{ between: [flip, flap] }]
`;

const pulumis = (): number[] => pulumisOf(project.root);
const up = () => project.flipflap("up");
const destroy = () => Promise.all(servers.map((stack) => project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview")));
/** As `flipflap down` calls it: the state is written at the end alone. */
const destroyAtOnce = async () => {
  process.env.PULUMI_SKIP_CHECKPOINTS = "true";
  const work = destroy();
  delete process.env.PULUMI_SKIP_CHECKPOINTS;
  return work;
};
const isDone = (all: readonly { readonly code: number }[]): boolean => all.every(({ code }) => code === 0);

/** Kills every Pulumi of the project some time after the first has come; tells whether it came to that. */
async function killedAfter(milliseconds: number, work: Promise<unknown>): Promise<boolean> {
  let isOver = false;
  void work.then(() => (isOver = true));
  while (!isOver && pulumis().length === 0) await sleep(5);
  await sleep(milliseconds);
  const victims = pulumis();
  for (const pid of victims) process.kill(pid, "SIGKILL");
  await work;
  return victims.length > 0;
}

async function expectAsBefore(): Promise<void> {
  for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
}

describe("after a crash", () => {
  let [upMilliseconds, destroyMilliseconds] = [0, 0];
  afterAll(() => project.flipflap("lab", "stop"));

  beforeAll(async () => {
    project.write("testbeds/crash.yaml", testbed);
    project.use("crash");
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    for (const server of servers) before.set(server, await serverSnapshot(project.root, server));
    let begin = Date.now();
    succeeded(await up());
    upMilliseconds = Date.now() - begin;
    begin = Date.now();
    (await destroy()).forEach(succeeded);
    destroyMilliseconds = Date.now() - begin;
    await expectAsBefore();
  });

  const seed = Number(process.env.FLIPFLAP_SEED ?? Date.now() % 1000000) + 1;
  const next = seeded(seed);
  const moments = Array.from({ length: 10 }, (_, i) => [i + 1, next(), next(), next() < 0.5] as const);
  /** From this one on images are loaded first, in which a kill falls most often then. */
  const firstWithoutImages = 9;

  it.each(moments)(`seed ${seed}, kill %i of up and of destroy: converges, and gives all back`, async (i, first, second, isFinished) => {
    if (i === firstWithoutImages) {
      upMilliseconds += 10_000;
      for (const server of servers) {
        await withoutImages(server);
        before.set(server, await serverSnapshot(project.root, server));
      }
    }
    if (await killedAfter(first * upMilliseconds * 0.9, up())) {
      // Either way out of a killed up: to its end, or back.
      if (isFinished) succeeded(await up());
      else succeeded(await project.flipflap("repair"));
    }
    if (await killedAfter(second * destroyMilliseconds * 0.9, i % 2 === 0 ? destroy() : destroyAtOnce())) {
      succeeded(await project.flipflap("repair"));
      expect(isDone(await destroy())).toBe(true);
    }
    await expectAsBefore();
    expect((await run(["sh", "-c", 'grep -l -z "^FLIPFLAP_ROOT=$0$" /proc/[0-9]*/environ 2>/dev/null || true', project.root])).trim()).toBe(
      "",
    );
  });

  /** Something for the next up to do. */
  const change = (): void => {
    const renamed = project.read("testbeds/crash.yaml").includes("name: there,");
    project.edit(
      "testbeds/crash.yaml",
      ...((renamed ? ["name: there,", "name: yonder,"] : ["name: yonder,", "name: there,"]) as [string, string]),
    );
  };

  /** Kills an `up` the moment a command on a server succeeds. */
  async function killedWhen(command: string): Promise<void> {
    const work = up();
    await onServer("flip", `until ${command} >/dev/null 2>&1; do sleep 0.02; done`);
    for (const pid of pulumis()) process.kill(pid, "SIGKILL");
    expect((await work).code).not.toBe(0);
  }
  const declare = (network: string, subnet: string, secret: string): void =>
    project.write(
      "testbeds/crash.yaml",
      testbed
        .replace(
          "systems:\n",
          `  - { name: ${network}, tenant: blue, kind: bridge, mode: router, subnets: { flip: ${subnet}.1.0/24, flap: ${subnet}.2.0/24 } }\nsystems:\n`,
        )
        .replace(
          "secrets: [",
          ["flip", "flap"]
            .map(
              (server) =>
                `  - { name: on-${server}, tenant: blue, server: ${server}, networks: [{ name: ${network} }], files: [{ path: /etc/more, secret: ${secret} }] }\n`,
            )
            .join("") + `secrets: [{ name: ${secret}, length: 20 }, `,
        ),
    );
  const devices = (): Promise<string> => onServer("flip", "ip -br link; ls /var/lib/flipflap/flip/saved; iptables-save");
  const expectWhole = async (): Promise<void> => expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");

  it("goes on from a killed up that nobody declares any more: with another declaration, with what was before, and down", async () => {
    project.write("testbeds/crash.yaml", testbed);
    succeeded(await up());
    declare("lost", "10.23", "first");
    await killedWhen("ls -d /sys/class/net/br-lost");
    expect(await devices()).toContain("br-lost");
    expect((await project.flipflap("status")).stdout).toMatch(/^flip: an up began here and has not ended/m);
    expect((await project.flipflap("drift")).stdout).toMatch(/flip {2}flip-generation \(generation\): different/);
    declare("found", "10.24", "second");
    succeeded(await up());
    await expectWhole();
    expect(await devices()).not.toMatch(/lost|10\.23/);
    const [one, other] = await Promise.all(servers.map((server) => onServer(server, `docker exec ff-on-${server} cat /etc/more`)));
    expect([one, one?.length]).toEqual([other, 20]);
    // Its addresses only: what has a name of before is another thing under it.
    declare("found", "10.25", "third");
    await killedWhen("iptables-save | grep 10.25");
    expect(succeeded(await project.flipflap("repair"))).toContain(" 0 left");
    await expectWhole();
    expect(await devices()).not.toContain("10.25");
    declare("found", "10.24", "second");
    succeeded(await up());
    await expectWhole();
    declare("last", "10.26", "second");
    await killedWhen("ls -d /sys/class/net/br-last");
    project.write("testbeds/crash.yaml", testbed);
    succeeded(await project.flipflap("repair"));
    expect(isDone(await destroy())).toBe(true);
    await expectAsBefore();
  });

  it("goes on after the connection was cut", async () => {
    const work = up();
    while (pulumis().length === 0) await sleep(5);
    await sleep(upMilliseconds / 2);
    // The sessions, not the daemon.
    await onServer("flip", "pkill -9 -f '^sshd: root@' || true").catch(() => undefined);
    await work;
    succeeded(await up());
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("takes away what dockerd made for an up that was cut off from it", async () => {
    succeeded(await up());
    project.edit("testbeds/crash.yaml", "name: here,", "name: hence,");
    // Nobody can tell the two apart: a container with the stack's mark that no state knows of.
    await onServer("flip", "docker create --name ff-hence --label flipflap.stack=flip $(docker inspect -f '{{.Image}}' ff-here) sleep 1d");
    expect((await up()).stderr).toContain("is already in use");
    succeeded(await up());
    project.edit("testbeds/crash.yaml", "name: hence,", "name: here,");
    succeeded(await up());
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("refuses a second up while one works, naming it, and loses nothing", async () => {
    change();
    const [one, two] = await Promise.all([up(), sleep(1500).then(up)]);
    expect([one.code, two.code].filter((code) => code === 0)).toHaveLength(1);
    expect(`${one.stderr}${two.stderr}`).toMatch(/flipflap up \(PID \d+, since \S+\) works on it/);
    succeeded(await up());
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("says that the state's disk is full, and goes on where there is room again", async () => {
    succeeded(await up());
    const state = `${project.root}/.flipflap/state`;
    await run(["sh", "-c", 'cp -a "$0" "$0.kept" && mount -t tmpfs -o size=64m flipflap-test "$0" && cp -a "$0.kept/." "$0"', state]);
    try {
      await tryRun(["sh", "-c", 'head -c 64m /dev/zero >"$0/filler"', state]);
      change();
      const full = await up();
      expect(full.code).not.toBe(0);
      expect(full.stdout + full.stderr).toMatch(/no space left on device/i);
      await run(["rm", `${state}/filler`]);
      succeeded(await up());
      expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
    } finally {
      await run([
        "sh",
        "-c",
        'rm -f "$0/filler"; rm -rf "$0.kept"; cp -a "$0" "$0.kept"; umount "$0"; rm -rf "$0"; mv "$0.kept" "$0"',
        state,
      ]);
    }
  });

  it("is as it was after dockerd and the agent were killed", async () => {
    succeeded(await up());
    await onServer("flip", "kill -9 $(cat /run/docker.pid)");
    await onServer("flap", "docker kill ff-agent >/dev/null");
    for (
      let left = 60;
      left > 0 && (await tryRun(["ssh", "-F", `${project.root}/.flipflap/ssh/config`, "flip", "docker", "version"])).code !== 0;
      left--
    )
      await sleep(500);
    succeeded(await project.flipflap("repair"));
    expect((await project.flipflap("check")).stdout).toContain(" 0 not as declared");
  });

  it("leaves a server to the project that has a stack of the same name on it", async () => {
    succeeded(await up());
    await onServer(
      "flip",
      "printf '%s' 'another of somewhere' >/var/lib/flipflap/flip/project.theirs; cd /var/lib/flipflap/flip; mv project project.ours; mv project.theirs project",
    );
    project.edit("testbeds/crash.yaml", "10.20.1.0/24", "10.20.1.0/25");
    const drifted = (await project.flipflap("drift")).stdout;
    expect(drifted).toContain("project: wanted");
    expect((await project.flipflap("repair")).stderr).toContain("another of somewhere");
    await onServer("flip", "cd /var/lib/flipflap/flip; mv project.ours project");
    project.edit("testbeds/crash.yaml", "10.20.1.0/25", "10.20.1.0/24");
    succeeded(await up());
  });

  it("lets no verb of a second project touch what is the first one's", async () => {
    succeeded(await up());
    const other = Project.make("second-project");
    other.write("testbeds/crash.yaml", testbed);
    nameAsReal(other, project, "crash");
    const there = (): Promise<string[]> => Promise.all(servers.map((server) => onServer(server, "docker ps -q | sort")));
    const containers = await there();
    expect(containers[0]?.split("\n").length).toBeGreaterThan(2);
    try {
      for (const verb of ["up", "up", "repair", "up"]) {
        const refused = await other.flipflap(verb);
        expect([refused.code, refused.stderr]).toEqual([
          1,
          expect.stringMatching(/flip: this server holds a stack flip of another project \(/),
        ]);
      }
      expect((await other.flipflap("exec", "here", "--", "true")).stderr).toContain("of another project");
      // What a Pulumi of its own, refused by the claim, leaves is not taken for a crash either.
      expect((await other.pulumi("up", "-s", "flip", "--yes", "--skip-preview")).stdout).toContain("of another project");
      expect((await other.flipflap("repair")).code).toBe(1);
      succeeded(await other.flipflap("down"));
      expect(await there()).toEqual(containers);
      expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
    } finally {
      other.remove();
    }
  });

  it("reserves each server for one verb at a time, whatever project it is of", async () => {
    const other = Project.make("second-project");
    other.write("testbeds/crash.yaml", testbed);
    nameAsReal(other, project, "crash");
    // Nothing of the first is there: the claim lets the second in.
    expect(isDone(await destroy())).toBe(true);
    try {
      const first = up();
      while (!(await onServer("flip", "cat /run/flipflap.lease 2>/dev/null || true")).includes("flipflap up")) await sleep(50);
      const refused = await other.flipflap("up");
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(
        /flip: (flipflap up \(PID \d+, since \S+\) of project .* works on this server|this server holds a stack)/,
      );
      succeeded(await first);
      expect((await onServer("flip", "ls /run/flipflap.lease 2>&1 || true")).trim()).toContain("No such file");
    } finally {
      other.remove();
    }
  });

  it("gives a server back, and takes one over, where the project and its state are gone for ever", async () => {
    expect(isDone(await destroy())).toBe(true);
    const [lost, finder] = [Project.make("second-project"), Project.make("third-project")];
    for (const one of [lost, finder]) {
      one.write("testbeds/crash.yaml", testbed);
      nameAsReal(one, project, "crash");
    }
    try {
      succeeded(await lost.flipflap("up"));
      const id = lost.read(".flipflap/project").split(" ")[0] ?? "";
      lost.remove();
      const containers = await onServer("flip", "docker ps -q");
      const reclaim = (...words: string[]) => finder.flipflap("reclaim", "--server", "flip", ...words);
      const shown = await reclaim();
      expect([shown.code, shown.stdout]).toEqual([
        3,
        expect.stringMatching(new RegExp(`flip +flip +${id}[\\s\\S]*2 bridge[\\s\\S]*--project ${id}`)),
      ]);
      expect((await reclaim("--project", "nobody")).stderr).toContain("there is no stack of project nobody on flip");
      // Somebody works there.
      const lease = onServer("flip", "exec 8>>/run/flipflap.lease; flock 8; echo somebody >&8; sleep 4; rm /run/flipflap.lease");
      await sleep(1500);
      expect((await reclaim("--project", id)).stderr).toContain("somebody works on this server");
      await lease;
      // Somebody wrote into what root would run.
      const note = "/var/lib/flipflap/flip/generation";
      await onServer("flip", `cp -p ${note} /run/kept; sed -i 's/^o1() {/o1() { touch \\/run\\/evil/' ${note}`);
      expect((await reclaim("--project", id)).stderr).toContain("it is cut off, or was changed; nothing of it is run");
      await onServer("flip", `cat /run/kept >${note}; rm /run/kept; [ ! -e /run/evil ]`);
      expect(await onServer("flip", "docker ps -q")).toBe(containers);
      succeeded(await reclaim("--project", id));
      expect(await serverSnapshot(project.root, "flip")).toBe(before.get("flip"));
      // The other server is taken over by a second clone of the project's files, and the first is brought up beside it.
      expect((await finder.flipflap("up")).stderr).toContain("of another project");
      const bridge = "cat /sys/class/net/br-near/ifindex";
      const index = await onServer("flap", bridge);
      const adopted = await finder.flipflap("adopt", "--project", id);
      expect([adopted.code, adopted.stdout, adopted.stderr]).toEqual([
        0,
        expect.stringContaining("there"),
        expect.stringContaining("are made anew: token"),
      ]);
      expect(await onServer("flap", bridge)).toBe(index);
      expect((await finder.flipflap("drift")).stdout).toContain(" 0 not as deployed");
      succeeded(await finder.flipflap("down"));
      await expectAsBefore();
    } finally {
      for (const one of [lost, finder]) one.remove();
    }
  });

  it("goes on after a lock or a state that was cut off in the middle", async () => {
    succeeded(await up());
    const locks = `${project.root}/.flipflap/state/.pulumi/locks/organization/flipflap/flip`;
    mkdirSync(locks, { recursive: true });
    writeFileSync(`${locks}/cut.json`, '{"pid":12');
    const mended = await project.flipflap("repair");
    expect([mended.code, mended.stderr]).toEqual([0, expect.stringContaining("stack flip: the lock cut.json is cut off")]);
    change();
    succeeded(await up());
    const state = `${project.root}/.flipflap/state/.pulumi/stacks/flipflap/flap.json`;
    const whole = readFileSync(state, "utf8");
    writeFileSync(state, whole.slice(0, whole.length / 2));
    expect((await project.flipflap("drift")).stderr).toMatch(/stack flap: its state is cut off .*; flipflap repair/);
    // What it says is what helps.
    const repaired = await project.flipflap("repair");
    expect(repaired.stderr).toContain("the one before it is used");
    succeeded(await up());
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
    // The server's own note is run by root: what was changed since is not, and not passed over.
    await onServer("flip", "echo touch /run/evil >>/var/lib/flipflap/flip/generation");
    change();
    const refused = await up();
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringMatching(/it is cut off, or was changed; nothing of it is run/)]);
    const [advice = ""] = /(?<=ssh flip )rm \S+generation/.exec(refused.stderr) ?? [];
    await onServer("flip", `${advice}; [ ! -e /run/evil ]`);
    succeeded(await up());
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
    for (const file of [state, `${state}.bak`]) writeFileSync(file, "{");
    expect((await up()).stderr).toMatch(/stack flap: its state is cut off .* and so is the one before it/);
    writeFileSync(state, whole);
    succeeded(await up());
    // A copy from before the last up, put back.
    const older = readFileSync(state, "utf8");
    change();
    succeeded(await up());
    writeFileSync(state, older);
    succeeded(await up());
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("asks a backend that others share whether one works on a stack", async () => {
    const shared = `${project.root}/shared-state`;
    mkdirSync(shared, { recursive: true });
    process.env.FLIPFLAP_BACKEND_URL = `file://${shared}?metadata=skip`;
    try {
      expect(isDone(await Promise.all(servers.map((stack) => project.pulumi("stack", "init", stack))))).toBe(true);
      const locks = `${shared}/.pulumi/locks/organization/flipflap/flip`;
      mkdirSync(locks, { recursive: true });
      const lock = { pid: 4711, username: "root", hostname: "elsewhere", timestamp: "2026-01-02T03:04:05Z" };
      writeFileSync(`${locks}/theirs.json`, JSON.stringify(lock));
      const refused = await project.flipflap("repair");
      expect([refused.code, refused.stderr]).toEqual([
        1,
        expect.stringMatching(/stack flip: pulumi \(PID 4711 on elsewhere, since \S+\) works on it/),
      ]);
      // One of this machine whose process is gone is nobody's.
      writeFileSync(`${locks}/theirs.json`, JSON.stringify({ ...lock, hostname: hostname(), pid: 999_999_999 }));
      succeeded(await project.flipflap("repair"));
      expect(existsSync(`${locks}/theirs.json`)).toBe(false);
    } finally {
      delete process.env.FLIPFLAP_BACKEND_URL;
      rmSync(shared, { recursive: true });
    }
  });

  it("gives both servers back as they were", async () => {
    expect(isDone(await destroy())).toBe(true);
    await expectAsBefore();
    project.use("bridge");
  });
});
