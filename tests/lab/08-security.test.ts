/** Secrets out of sight, hosts that are who they say, ports that only the lab sees, and a login that is not root's. */
import { readdirSync, readFileSync } from "node:fs";
import { beforeAll, describe, expect, inject, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { LabState } from "../../components/config/labState";
import { run, sleep } from "../../support/process";
import { nameAsReal } from "../support/asReal";
import { onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { comparable, machineSnapshot, serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"];
const { onServer } = onLab(project);

/** A secret in a file, and one of a kind's own: the BGP password. */
const testbed = `
tenants: [{ name: red }]
networks:
  - { name: near, tenant: red, kind: bridge, mode: routed, subnets: { flip: 10.20.1.0/24, flap: 10.20.2.0/24 } }
  - { name: far, tenant: red, kind: evpn, vn: 136, subnet: 10.1.2.0/24 }
systems:
  - { name: here, tenant: red, server: flip, networks: [{ name: near }], files: [{ path: /etc/token, secret: token }] }
  - { name: there, tenant: red, server: flap, networks: [{ name: far }], files: [{ path: /etc/token, secret: token }] }
secrets: [{ name: token, length: 24 }]
links: [{ between: [flip, flap] }]
`;

/** What every process of this machine, the lab's included, shows to others, until `work` is done. */
async function shownWhile(work: Promise<unknown>): Promise<string> {
  const seen = new Set<string>();
  let isOver = false;
  const ended = work.finally(() => (isOver = true));
  while (!isOver) {
    for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid))
      for (const part of ["cmdline", "environ"])
        try {
          seen.add(readFileSync(`/proc/${pid}/${part}`, "utf8"));
        } catch {
          // it ended meanwhile
        }
    await sleep(10);
  }
  await ended;
  return [...seen].join("\n");
}

async function listening(where: (command: string) => Promise<string>): Promise<string[]> {
  const lines = (await where("ss -H -ltn")).trim().split("\n");
  return lines.map((line) => line.split(/\s+/)[3] ?? "").sort();
}

describe("security", () => {
  let shown = "";
  let secrets: Record<string, string> = {};
  let machinePorts: string[] = [];
  const onMachine = (command: string): Promise<string> => run(["sh", "-c", command]);
  const before = new Map<string, string>();

  beforeAll(async () => {
    project.write("testbeds/security.yaml", testbed);
    project.use("security");
    await project.flipflap("lab", "stop");
    machinePorts = await listening(onMachine);
    succeeded(await project.flipflap("lab", "start"));
    await project.flipflap("status");
    for (const server of servers) before.set(server, await serverSnapshot(project.root, server));
    const up = project.flipflap("up");
    shown = await shownWhile(up);
    succeeded(await up);
    secrets = JSON.parse(
      succeeded(await project.pulumi("stack", "output", "secrets", "--show-secrets", "--json", "-s", "flip")),
    ) as typeof secrets;
  });

  it("uses its secrets, and shows them to no other process, in no log, no state and no docker inspect", async () => {
    expect((await project.flipflap("exec", "there", "--", "cat", "/etc/token")).stdout).toBe(secrets.token);
    expect(Object.keys(secrets)).toHaveLength(2);
    // Of what was looked at there is plenty: scripts of ours, and the tools that they call.
    expect(shown).toContain("sh -s first".replaceAll(" ", "\0"));
    const key = project.read(".flipflap/ssh/lab_key").split("\n")[2] ?? "";
    const inspected = await Promise.all(servers.map((server) => onServer(server, "docker inspect $(docker ps -a -q)")));
    for (const [name, secret] of [
      ...Object.entries(secrets),
      ["the lab's key", key],
      ["the passphrase", project.read(".flipflap/passphrase").trim()],
    ]) {
      expect(secret?.length, name).toBeGreaterThan(20);
      expect(shown.includes(secret ?? ""), `${name} in a process list`).toBe(false);
      expect(inspected.join().includes(secret ?? ""), `${name} in docker inspect`).toBe(false);
      const files = await run(["sh", "-c", 'grep -rlF -- "$0" .flipflap/state .flipflap/logs .flipflap/stacks || true', secret ?? ""], {
        cwd: project.root,
      });
      expect(files, name).toBe("");
    }
  });

  it("keeps what holds secrets from other users of this machine", async () => {
    const open = await run(["find", ".flipflap/passphrase", ".flipflap/ssh", "-type", "f", "-perm", "/077", "-not", "-name", "*.pub"], {
      cwd: project.root,
    });
    expect(open).toBe("");
  });

  it("listens on the lab's own links only, and dockerd on no port", async () => {
    // A Pulumi that works for another test beside this one has ports of its own, on loopback.
    const come = (await listening(onMachine)).filter((port) => !machinePorts.includes(port) && !port.startsWith("127.0.0.1:"));
    expect(come).toEqual([]);
    const lab = JSON.parse(project.read(".flipflap/lab.json")) as LabState;
    for (const server of servers) {
      const { address, underlay } = lab.servers[server] ?? { address: "", underlay: { ipv4: "" } };
      const underlayAddresses = [underlay.ipv4.split("/")[0], lab.servers[server]?.underlay.routeServer];
      const ports = await listening((command) => onServer(server, command));
      expect(ports).toContain(`${address}:22`);
      expect(ports.filter((port) => /:(2375|2376)$/.test(port))).toEqual([]);
      // What else listens is BGP, on the underlay.
      expect(ports.filter((port) => port !== `${address}:22` && !underlayAddresses.some((own) => port === `${own}:179`))).toEqual([]);
    }
  });

  it("refuses a server whose host key is another, whoever asks", async () => {
    const lab = project.read(".flipflap/lab.json");
    const state = JSON.parse(lab) as LabState;
    const [flip, flap] = [state.servers.flip, state.servers.flap];
    project.write(".flipflap/lab.json", JSON.stringify({ ...state, servers: { flip: { ...flip, hostKey: flap?.hostKey }, flap } }));
    try {
      const looked = await project.flipflap("drift");
      expect([looked.code, looked.stdout]).toEqual([3, expect.stringMatching(/flip .*no answer over SSH: .*host key/i)]);
      project.edit("testbeds/security.yaml", "10.20.1.0/24", "10.20.1.0/25");
      const changed = await project.pulumi("up", "-s", "flip", "--yes", "--skip-preview");
      expect([changed.code === 0, changed.stdout + changed.stderr]).toEqual([false, expect.stringMatching(/host key/i)]);
    } finally {
      project.write(".flipflap/lab.json", lab);
      project.write("testbeds/security.yaml", testbed);
      await project.flipflap("status");
    }
    succeeded(await project.flipflap("up"));
    expect((await project.flipflap("drift")).stdout).toContain(" 0 not as deployed");
  });

  it("gives both servers back", async () => {
    for (const stack of [...servers].reverse()) succeeded(await project.pulumi("destroy", "-s", stack, "--yes", "--skip-preview"));
    for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
  });

  it("works by a login that is not root's: sudo, and the group docker", async () => {
    const other = Project.make("sudo");
    nameAsReal(other, project, "security", "flipper");
    for (const server of servers) {
      await onServer(
        server,
        "useradd -p '*' -m -d /var/lib/flipper -s /bin/sh -G docker flipper && echo 'flipper ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/flipper && install -d -o flipper -m 700 /var/lib/flipper/.ssh && install -o flipper -m 600 /root/.ssh/authorized_keys /var/lib/flipper/.ssh/authorized_keys",
      );
      before.set(server, await serverSnapshot(project.root, server));
    }
    other.write("testbeds/security.yaml", testbed);
    try {
      const up = await other.flipflap("up");
      expect([up.code, up.stderr]).toEqual([0, expect.not.stringContaining("!!")]);
      expect((await other.flipflap("exec", "there", "--", "id", "-u")).stdout.trim()).toBe("0");
      await onServer("flip", "ip link set br-near mtu 1400");
      expect((await other.flipflap("drift")).stdout).toContain("near-bridge (bridge): different");
      succeeded(await other.flipflap("repair"));
      expect((await other.flipflap("check")).stdout).toContain("0 not as declared");
      succeeded(await other.flipflap("down"));
      for (const server of servers) expect(await serverSnapshot(project.root, server)).toBe(before.get(server));
    } finally {
      await other.flipflap("down");
      other.remove();
      for (const server of servers) await onServer(server, "userdel -r flipper; rm -f /etc/sudoers.d/flipper").catch(() => undefined);
    }
  });

  it("leaves the machine as it was", async () => {
    project.use("bridge");
    succeeded(await project.flipflap("down"));
    const { before, now } = comparable(inject("machineBefore"), await machineSnapshot(project.root));
    expect(now).toBe(before);
  });
});
