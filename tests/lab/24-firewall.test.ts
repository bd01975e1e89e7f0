/** A tenant's firewall on bridges and segments: what passes, what is counted, a change under traffic, breakages, a power cut, and back. */
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { PolicyProbeResult } from "../../cli/policyProbes";
import type { Status } from "../../cli/verbs/status";
import type { FirewallRule } from "../../components/host/contract/types.gen";
import { portName } from "../../components/net/names";
import { breakAgain, inBatches } from "../support/breakages";
import { eventually, onLab } from "../support/onLab";
import { ownRoot } from "../support/ownRoot";
import { serverSnapshot } from "../support/snapshot";

const project = new Project(ownRoot());
const servers = ["flip", "flap"] as const;
const before = new Map<string, string>();
const { bringUp, changesOfAnotherUp, inSystem, onServer, reaches, wrong } = onLab(project);
const file = "policies/red.rules";

const probed = async (): Promise<PolicyProbeResult[]> =>
  (JSON.parse((await project.flipflap("firewall", "test", "--json")).stdout) as { results: PolicyProbeResult[] }).results;
const notAsSaid = (results: readonly PolicyProbeResult[]) => results.filter(({ expected, arrived }) => expected !== arrived);
const allAsSaid = (): Promise<boolean> =>
  probed().then(
    (results) => results.length > 0 && notAsSaid(results).length === 0,
    () => false,
  );

interface Shown {
  readonly servers: readonly string[];
  readonly inForce: string;
  readonly rules: readonly FirewallRule[];
}
const shown = async (): Promise<Shown> => {
  const all = JSON.parse(succeeded(await project.flipflap("firewall", "show", "--json"))) as Shown[];
  expect(all).toHaveLength(1);
  return all[0] as Shown;
};
/** Packets that a rule has met, by words of it. */
const met = async (words: string): Promise<number> =>
  (await shown()).rules.filter(({ text }) => text.includes(words)).reduce((sum, { packets }) => sum + (packets ?? 0), 0);

describe("a tenant's firewall", () => {
  let status: Status;
  const address = (system: string, network = 0): string =>
    status.systems.find((s) => s.name === system)?.interfaces[network]?.addresses[0]?.split("/")[0] ?? "none";

  beforeAll(async () => {
    status = await bringUp("firewall", servers, before);
  });

  it("comes up: its rules are in force, every check holds, and nothing is to be done when it is brought up again", async () => {
    expect(status.observed.flatMap((o) => o.problems)).toEqual([]);
    expect([...(await shown()).servers].sort()).toEqual(["flap", "flip"]);
    expect(await wrong()).toEqual([]);
    for (const server of servers) expect(await changesOfAnotherUp(server)).toEqual([0, 0, 0, 0]);
  });

  it("lets through what its rules do and nothing else, on one server and between two, on each kind", async () => {
    const results = await probed();
    expect(notAsSaid(results)).toEqual([]);
    for (const [kind, least] of [
      ["bridge", 20],
      ["evpn", 1],
    ] as const) {
      const own = results.filter((one) => one.kind === kind);
      expect([kind, own.filter(({ arrived }) => arrived).length > least, own.filter(({ arrived }) => !arrived).length > least]).toEqual([
        kind,
        true,
        true,
      ]);
      expect(new Set(own.map(({ fromServer, toServer }) => fromServer === toServer)).size).toBe(kind === "bridge" ? 2 : 1);
    }
  });

  it("judges a packet once, and lets answers through that nobody else may send", async () => {
    const rule = "--icmp-type 8";
    const count = await met(rule);
    expect(await reaches("red-client", address("red-web"), { count: 5 })).toBe(true);
    expect(await reaches("red-db", address("red-web"), { count: 5 })).toBe(true);
    expect((await met(rule)) - count).toBe(2); // of each the first: the others are of a connection
    // Pieces of a datagram follow the first.
    for (const [from, to] of [
      ["red-client", address("red-web")],
      ["red-db", address("red-web")],
    ] as const)
      expect((await inSystem(from, "ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-s", "20000", to)).stdout).toContain("2 received");
    // What is no other system of the firewall's: its gateway may not ask, and answers.
    expect(await reaches("red-web", "10.0.192.1")).toBe(true);
    await expect(onServer("flip", `ping -n -c 1 -W 1 ${address("red-web")}`)).resolves.toContain("1 received");
    const closed = await inSystem("red-web", "sh", "-c", "ncat -w1 10.0.192.1 22 </dev/null; echo code $?");
    expect(closed.stdout).not.toContain("SSH-");
    // Another tenant has none.
    expect(await reaches("blue-web", address("blue-db"))).toBe(true);
  });

  it("explains what decides, and plans each rule", async () => {
    const said = succeeded(await project.flipflap("firewall", "explain", "red-client", "red-web", "tcp/5201"));
    expect(said).toMatch(
      /passes at red-web by red's firewall\n {2}policies\/red\.rules:\d+ .*-j WEB\n {2}policies\/red\.rules:\d+ .*decides/,
    );
    expect(succeeded(await project.flipflap("firewall", "plan"))).toMatch(/rules in eBPF/);
  });

  it("changes at once under traffic: no packet is judged by a mixture, connections and counters stay", { timeout: 240_000 }, async () => {
    // By the mark of one set the other lets nothing through.
    const rules = (mark: number): string =>
      Project.original(file).replace(
        ":WEB - [0:0]\n",
        `:WEB - [0:0]\n-A FORWARD -p udp --dport 5301 -j MARK --set-mark ${mark}\n-A FORWARD -p udp --dport 5301 -m mark --mark ${mark} -j ACCEPT\n-A FORWARD -p udp --dport 5301 -m comment --comment mixed -j DROP\n`,
      );
    project.write(file, rules(1));
    succeeded(await project.flipflap("up"));
    const steady = await met("--icmp-type 8");
    // Each datagram of its own port: none is of a connection, and each meets all rules.
    const send = `use Socket; my $t=inet_aton("${address("red-web")}"); my $end=time+45; my $n=0; my $p=1024; while (time<$end) { for (1..100) { socket(my $s,PF_INET,SOCK_DGRAM,0); $p=$p>60000?1024:$p+1; bind($s,sockaddr_in($p,INADDR_ANY)); send($s,"x",0,sockaddr_in(5301,$t)); close $s; $n++ } select(undef,undef,undef,0.008) } print $n`;
    const sending = inSystem("red-client", "perl", "-e", send);
    const open = inSystem("red-db", "ping", "-n", "-q", "-i", "0.1", "-c", "400", address("red-web"));
    for (const mark of [2, 3, 4]) {
      project.write(file, rules(mark));
      succeeded(await project.flipflap("up"));
      expect((await shown()).rules.some(({ text }) => text.includes(`--mark 0x${mark.toString(16)}`))).toBe(true);
    }
    const sent = Number((await sending).stdout);
    expect(sent).toBeGreaterThan(100_000);
    expect(await met("mixed")).toBe(0);
    expect((await open).stdout).toContain("400 received");
    expect(await met("--icmp-type 8")).toBeGreaterThanOrEqual(steady);
    console.log(`${sent} datagrams while the rules were changed three times`);
    project.write(file, Project.original(file));
    succeeded(await project.flipflap("up"));
  });

  it("refuses rules before anything is changed, and says where", async () => {
    project.write(file, `${Project.original(file)}iptables -A FORWARD -p tcp --dport 70000 -j ACCEPT\n`);
    const up = await project.flipflap("up");
    expect(up.code).toBe(1);
    expect(up.stdout + up.stderr).toContain(`${file}:17:36: "70000" is no port; write a number from 0 to 65535`);
    project.write(file, Project.original(file));
    expect(succeeded(await project.flipflap("firewall", "diff"))).toContain("0 less, 0 more");
  });

  const pins = "/sys/fs/bpf/flipflap-flip/firewall";
  const port = portName({ network: "red-net", system: "red-web" });
  const breakages = [
    {
      what: "its program at a port",
      command: `rm ${pins}/taps/firewall_in-${port}`,
      objects: ["red-web-attach"],
      property: "eth0.firewall",
    },
    {
      what: "the file of its rules",
      command: "rm /var/lib/flipflap/flip/attach/kinds/firewall-red.*.rules",
      objects: ["flip-agent-rules-red"],
      property: "",
      isAlone: true, // the agent looks at all where a file of its kinds changes
    },
  ];
  const batched = inBatches(breakages);
  it.for(batched)(
    "names $breakage.what that somebody took away, and nothing else",
    async ({ breakage, before: broken, isLast }, { task }) => {
      const change = ({ command }: { readonly command: string }): Promise<string> => onServer("flip", command);
      await breakAgain(task.result?.retryCount, broken, () => project.flipflap("repair"), change);
      await change(breakage);
      const found = await wrong();
      const wanted = [...broken, breakage].map(({ objects: [name], property }) => ["flip", name, property === "" ? [] : [property]]);
      expect(found.map((one) => [one.server, one.name, one.differences.map(({ property }) => property)]).sort()).toEqual(wanted.sort());
      if (!isLast) return;
      succeeded(await project.flipflap("repair"));
      expect(await wrong()).toEqual([]);
      expect(await allAsSaid()).toBe(true);
    },
  );

  it("stays while no agent runs, and is closed until it stands where all of it is gone", { timeout: 240_000 }, async () => {
    await onServer("flip", "docker kill ff-agent >/dev/null");
    const closed = async (): Promise<boolean> => {
      const said = await inSystem(
        "red-client",
        "sh",
        "-c",
        `ncat -w1 ${address("red-web")} 22 </dev/null; ping -n -c1 -W1 ${address("red-web")}`,
      );
      return said.stdout.includes("1 received");
    };
    expect(await closed()).toBe(true);
    await onServer("flip", "docker start ff-agent >/dev/null");
    expect(await eventually(allAsSaid, 60)).toBe(true);
    succeeded(await project.flipflap("lab", "power-cut", "flip"));
    succeeded(await project.flipflap("lab", "power-on", "flip"));
    succeeded(await project.flipflap("repair"));
    expect(await eventually(allAsSaid, 60)).toBe(true);
    expect(await wrong()).toEqual([]);
  });

  it("goes alone when it is no longer declared, and lets through what it kept out", async () => {
    const text = Project.original("testbeds/firewall.yaml");
    project.write("testbeds/firewall.yaml", text.slice(0, text.indexOf("firewalls:")));
    succeeded(await project.flipflap("up"));
    expect(await wrong()).toEqual([]);
    await inSystem("red-web", "sh", "-c", "ncat -l -k 6000 >/dev/null 2>&1 &");
    expect((await inSystem("red-client", "sh", "-c", `echo | ncat -w1 ${address("red-web")} 6000; echo code $?`)).stdout).toContain(
      "code 0",
    );
    expect(
      await eventually(
        async () =>
          (await onServer("flip", `ls ${pins}/rules ${pins}/taps 2>/dev/null; ls /run/flipflap/flip/firewall 2>/dev/null`)).match(
            /red|firewall_/,
          ) === null,
      ),
    ).toBe(true);
    project.write("testbeds/firewall.yaml", text);
    succeeded(await project.flipflap("up"));
    expect(await eventually(allAsSaid, 30)).toBe(true);
  });

  it("gives both servers back as they were", async () => {
    for (const server of servers) succeeded(await project.pulumi("destroy", "-s", server, "--yes", "--skip-preview"));
    for (const [server, snapshot] of before) expect(await serverSnapshot(project.root, server)).toBe(snapshot);
  });
});
