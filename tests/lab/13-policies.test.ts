/** One policy on three kinds side by side: what arrives and what does not, counters, breakages, restarts under attack, and back. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { PolicyProbeResult } from "../../cli/policyProbes";
import type { Status } from "../../cli/verbs/status";
import { sleep } from "../../support/process";
import { breakAgain, inBatches } from "../support/breakages";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"] as const;
const before = new Map<string, string>();
const { bringUp, changesOfAnotherUp, inSystem, onServer, wrong } = onLab(project);
const kinds = ["overlay", "bridge", "cilium"] as const;

interface Hit {
  readonly server: string;
  readonly network: string;
  readonly verdict: string;
  readonly packets: number;
  readonly rule: string;
  readonly system: string;
}

const probed = async (): Promise<PolicyProbeResult[]> =>
  (JSON.parse((await project.flipflap("policy", "test", "--json")).stdout) as { results: PolicyProbeResult[] }).results;
const notAsSaid = (results: readonly PolicyProbeResult[]) => results.filter(({ expected, arrived }) => expected !== arrived);
/** Also while servers come again: then it is not so yet. */
const allAsSaid = (): Promise<boolean> =>
  probed().then(
    (results) => results.length > 0 && notAsSaid(results).length === 0,
    () => false,
  );
const hits = async (): Promise<Hit[]> => JSON.parse(succeeded(await project.flipflap("policy", "hits", "--json"))) as Hit[];
const inOverlay = (command: string): string =>
  `nsenter --net=/run/docker/netns/1-$(docker network inspect -f '{{.ID}}' ff-overlay | cut -c 1-10) ${command}`;

describe("policies on three kinds", () => {
  let status: Status;
  const address = (system: string): string =>
    status.systems.find((s) => s.name === system)?.interfaces[0]?.addresses[0]?.split("/")[0] ?? "none";

  beforeAll(async () => {
    status = await bringUp("policies", servers, before);
  });

  it("come up: every check holds, and nothing is to be done when they are brought up again", async () => {
    expect(status.observed.flatMap((o) => o.problems)).toEqual([]);
    expect(new Set(status.networks.map(({ kind }) => kind))).toEqual(new Set(["swarm", "bridge", "cilium"]));
    expect(new Set(status.probes.map((probe) => probe.mtuBytes))).toEqual(new Set([8950, 9000]));
    expect(await wrong()).toEqual([]);
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it("let arrive what they allow and nothing else, the same on each; and count it by rule and by system", async () => {
    const results = await probed();
    expect(notAsSaid(results)).toEqual([]);
    const perKind = ["swarm", "bridge", "cilium"].map((kind) => results.filter((r) => r.kind === kind));
    for (const own of perKind) {
      expect(own.filter(({ arrived }) => arrived).length).toBeGreaterThan(20);
      expect(own.filter(({ arrived }) => !arrived).length).toBeGreaterThan(20);
    }
    expect(new Set(perKind.map((own) => own.length)).size).toBe(1);
    const counted = await hits();
    for (const network of ["overlay", "bridges", "identities"]) {
      const own = counted.filter((hit) => hit.network === network && hit.server === "flip");
      const sum = (verdict: string): number => own.filter((hit) => hit.verdict === verdict).reduce((all, { packets }) => all + packets, 0);
      expect([network, sum("allowed") > 10, sum("denied") > 10]).toEqual([network, true, true]);
      const web = own.find(({ rule }) => rule === "policies/web.json[0].ingress[0].toPorts[0].ports[0]");
      expect([network, (web?.packets ?? 0) > 0]).toEqual([network, true]);
    }
  });

  it("show a forbidden packet's drop", async () => {
    const deniedAt = async (network: string): Promise<number> =>
      (await hits())
        .filter((hit) => hit.network === network && hit.server === "flip" && hit.verdict === "denied")
        .reduce((all, { packets }) => all + packets, 0);
    for (const [kind, network] of [
      ["overlay", "overlay"],
      ["bridge", "bridges"],
      ["cilium", "identities"],
    ] as const) {
      const count = await deniedAt(network);
      await inSystem(`${kind}-client`, "ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", address(`${kind}-db`));
      expect([network, (await deniedAt(network)) - count]).toEqual([network, 3]);
    }
  });

  const breakages: [what: string, command: string, object: string, properties: string[]][] = [
    ["a rule in the overlay", inOverlay("iptables-legacy -D FORWARD 1"), "overlay-overlay", ["rules"]],
    [
      "the overlay's way through iptables",
      inOverlay("sh -c 'echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables'"),
      "overlay-overlay",
      ["throughIptables"],
    ],
    ["a rule before the bridge", "iptables -w -F FP-bridges", "bridges-filter", ["iptables policies"]],
    [
      "a set of addresses",
      "ipset add $(iptables -w -S FP-bridges | sed -n 's/.*match-set \\([^ ]*\\) dst.*/\\1/p' | head -n 1) 203.0.113.7",
      "bridges-filter",
      ["sets"],
    ],
    ["the bridge's way through iptables", "ip link set dev br-bridges type bridge nf_call_iptables 0", "bridges-bridge", ["isFiltered"]],
    [
      "Cilium's policies",
      "docker exec ff-cilium cilium-dbg policy delete --all >/dev/null",
      "cilium_routing-policy",
      ["policies", "count"],
    ],
  ];
  const batched = inBatches(breakages.map(([what, command, object, properties]) => ({ what, command, objects: [object], properties })));
  it.for(batched)("name $breakage.what that somebody changed, and nothing else", async ({ breakage, before: broken, isLast }, { task }) => {
    const change = ({ command }: { readonly command: string }): Promise<string> => onServer("flip", command);
    await breakAgain(task.result?.retryCount, broken, () => project.flipflap("repair"), change);
    await change(breakage);
    const found = await wrong();
    if (isLast) succeeded(await project.flipflap("repair"));
    const wanted = [...broken, breakage].map(({ objects: [name], properties }) => ["flip", name, properties]);
    expect(found.map((one) => [one.server, one.name, one.differences.map(({ property }) => property)]).sort()).toEqual(wanted.sort());
    if (isLast) expect(await wrong()).toEqual([]);
  });

  async function atNoPort(kind: string): Promise<{ pid: string; count: number }> {
    const pid = (await onServer("flip", `docker inspect -f '{{.State.Pid}}' ff-${kind}-db`)).trim();
    const counted = await onServer("flip", `nsenter -t ${pid} -n cat /proc/net/snmp`);
    const [names = "", values = ""] = counted.split("\n").filter((line) => line.startsWith("Udp:"));
    return { pid, count: Number(values.split(" ")[names.split(" ").indexOf("NoPorts")]) };
  }

  /** Datagrams that no policy allows, all the time, from each kind's client to its database. */
  async function underAttack(what: () => Promise<unknown>): Promise<void> {
    const attack = kinds
      .map(
        (kind) =>
          `docker exec -d ff-${kind}-client bash -c 'for i in {1..20000}; do echo >/dev/udp/${address(`${kind}-db`)}/7777; sleep 0.003; done' `,
      )
      .join("; ");
    const before = await Promise.all(kinds.map(atNoPort));
    await onServer("flap", attack);
    await what();
    // What arrived at a port where nobody listens is counted in the system's own namespace, which is a new one where it was started anew.
    for (const [i, kind] of kinds.entries()) {
      const [then, now] = [before[i], await atNoPort(kind)];
      expect([kind, now.count - (now.pid === then?.pid ? then.count : 0)]).toEqual([kind, 0]);
    }
    await onServer("flap", kinds.map((kind) => `docker exec ff-${kind}-client pkill bash || :`).join("; "));
  }
  const runs = async (server: string, containers: readonly string[]): Promise<boolean> => {
    const running = (await onServer(server, "docker ps --format '{{.Names}}' 2>/dev/null || :")).split("\n");
    return containers.every((name) => running.includes(name));
  };
  const ofFlip = kinds.flatMap((kind) => [`ff-${kind}-web`, `ff-${kind}-db`]);

  it("let nothing in while dockerd is killed and comes again, and all is as it was", { timeout: 400_000 }, async () => {
    await onServer("flip", `docker restart -t 0 ${kinds.map((kind) => `ff-${kind}-db`).join(" ")} >/dev/null`);
    expect(await eventually(allAsSaid, 60)).toBe(true);
    await onServer("flip", `docker restart -t 0 ${kinds.map((kind) => `ff-${kind}-db`).join(" ")} >/dev/null`);
    await sleep(3000);
    await underAttack(async () => {
      await sleep(2000);
      await onServer("flip", "kill -9 $(cat /run/docker.pid)");
      await sleep(2000);
      expect(await eventually(() => runs("flip", [...ofFlip, "ff-cilium", "ff_holder_overlay"]), 90)).toBe(true);
      await sleep(5000);
    });
    expect(await eventually(allAsSaid, 60)).toBe(true);
    expect(await eventually(async () => (await wrong()).length === 0, 30)).toBe(true);
  });

  it("let nothing in while Cilium's agent is killed, and go on with what is allowed", { timeout: 400_000 }, async () => {
    await onServer("flip", `docker restart -t 0 ff-cilium-db >/dev/null`);
    expect(await eventually(allAsSaid, 60)).toBe(true);
    const allowed = inSystem("cilium-monitor", "ping", "-n", "-q", "-i", "0.05", "-c", "300", address("cilium-web"));
    await onServer("flip", `docker restart -t 0 ff-cilium-db >/dev/null`);
    await sleep(2000);
    await underAttack(async () => {
      await onServer("flip", "docker kill ff-cilium >/dev/null; sleep 2; docker start ff-cilium >/dev/null");
      await sleep(10000);
    });
    const [, received] = /transmitted, (\d+) received/.exec((await allowed).stdout) ?? [];
    expect(Number(received)).toBeGreaterThan(200);
    expect(await eventually(allAsSaid, 60)).toBe(true);
  });

  it("change in place: a rule more is let in on each, and the flow beside it goes on", async () => {
    const flow = inSystem("overlay-monitor", "ping", "-n", "-q", "-i", "0.05", "-c", "300", address("overlay-web"));
    project.edit("policies/web.json", '"port": "80"', '"port": "81"');
    const up = succeeded(await project.flipflap("up"));
    expect(up).not.toMatch(/replaced/);
    const results = await probed();
    expect(notAsSaid(results)).toEqual([]);
    expect(results.filter((r) => r.port === 81 && r.protocol === "tcp" && r.arrived).length).toBeGreaterThan(0);
    const [, received] = /transmitted, (\d+) received/.exec((await flow).stdout) ?? [];
    expect(received).toBe("300");
    project.write("policies/web.json", Project.original("policies/web.json"));
  });

  it.each([
    ["hub's", "flip", "repair"],
    // Of a swarm's worker dockerd itself does not start without the address that the testbed sets.
    ["worker's", "flap", "up"],
  ])("come back after the %s power cut on overlay and bridge", { timeout: 400_000 }, async (_, server, verb) => {
    succeeded(await project.flipflap("lab", "power-cut", server));
    succeeded(await project.flipflap("lab", "power-on", server));
    succeeded(await project.flipflap(verb));
    // Cilium's servers find one another again after minutes: docs/policies.md.
    const others = async (): Promise<boolean> =>
      probed().then(
        (results) => results.length > 0 && notAsSaid(results).every(({ kind }) => kind === "cilium"),
        () => false,
      );
    expect(await eventually(others, 120)).toBe(true);
  });

  it("gives both servers back as they were, the manager first", { timeout: 400_000 }, async () => {
    for (const server of servers) succeeded(await project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
  });

  it("refuses a server that is in somebody else's swarm, before anything is changed", async () => {
    await onServer("flap", "docker swarm init --advertise-addr 127.0.0.1 >/dev/null 2>&1");
    const up = await project.flipflap("up");
    expect(up.code).not.toBe(0);
    expect(up.stdout + up.stderr).toContain("in a swarm that is not ours");
    expect(await onServer("flap", "docker info -f '{{.Swarm.LocalNodeState}}'; docker ps -a -q | wc -l")).toBe("active\n0\n");
    await onServer("flap", "docker swarm leave --force >/dev/null; docker network rm docker_gwbridge >/dev/null; rm -rf /var/lib/docker");
    for (const server of servers) succeeded(await project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
    project.use("bridge");
  });
});
