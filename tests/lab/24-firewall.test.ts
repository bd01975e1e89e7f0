/** A tenant's firewall on bridges and segments: what passes, what is counted, a change under traffic, breakages, a power cut, and back. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { Project, succeeded } from "../../benches/support/scratchProject";
import type { PolicyProbeResult } from "../../cli/policyProbes";
import type { Status } from "../../cli/verbs/status";
import type { FirewallRule } from "../../components/host/contract/types.gen";
import { sleep } from "../../support/process";
import { portName } from "../../components/net/names";
import { breakAgain, inBatches } from "../support/breakages";
import { begunExperiment } from "../support/begunExperiment";
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
      ["evpn", 5],
      ["ila", 10],
    ] as const) {
      const own = results.filter((one) => one.kind === kind);
      expect([kind, own.filter(({ arrived }) => arrived).length > least, own.filter(({ arrived }) => !arrived).length > least]).toEqual([
        kind,
        true,
        true,
      ]);
      expect(new Set(own.map(({ fromServer, toServer }) => fromServer === toServer)).size).toBe(2);
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
    // What is no system of the firewall's: its gateway answers, and is answered.
    expect(await reaches("red-web", "10.0.192.1")).toBe(true);
    await expect(onServer("flip", `ping -n -c 1 -W 1 ${address("red-web")}`)).resolves.toContain("1 received");
    // Another tenant has none.
    expect(await reaches("blue-web", address("blue-db"))).toBe(true);
  });

  /** Datagrams to and fro, each from a port of its own; how many of so many came. */
  async function datagrams(from: string, to: string, target: string, port: number, family: 4 | 6, count = 5): Promise<number> {
    const socket = family === 6 ? "PF_INET6" : "PF_INET";
    const bound = family === 6 ? `pack_sockaddr_in6(${port},inet_pton(AF_INET6,"::"))` : `sockaddr_in(${port},INADDR_ANY)`;
    const listening = inSystem(
      to,
      "perl",
      "-e",
      `use Socket qw(:all); socket(my $s,${socket},SOCK_DGRAM,0); bind($s,${bound}) or die; $SIG{ALRM}=sub{print "got $n\n"; exit}; our $n=0; alarm 3; while (defined recv($s,my $b,99,0)) { $n++ }`,
    );
    await sleep(700);
    const [, scoped = target, device = ""] = /^(.*)%(.*)$/.exec(target) ?? [];
    const name =
      family === 6
        ? `pack_sockaddr_in6(${port},inet_pton(AF_INET6,"${scoped}"),${device === "" ? "0" : `do{open(my $i,"/sys/class/net/${device}/ifindex");<$i>+0}`})`
        : `sockaddr_in(${port},inet_aton("${target}"))`;
    const sent = await inSystem(
      from,
      "perl",
      "-e",
      `use Socket qw(:all); for (1..${count}) { socket(my $s,${socket},SOCK_DGRAM,0); ${family === 4 ? `bind($s,sockaddr_in(${port},INADDR_ANY));` : ""} defined send($s,"x",0,${name}) or die "$!"; close $s; select(undef,undef,undef,0.05) }`,
    );
    expect([sent.code, sent.stderr]).toEqual([0, ""]);
    return Number(/got (\d+)/.exec((await listening).stdout)?.[1]);
  }

  it("lets two systems of two servers not talk past it by sending at once from the same ports", async () => {
    // Neither may begin: what one sends must not make the other's an answer.
    const both = await Promise.all([
      datagrams("red-client", "red-probe", address("red-probe"), 4500, 4, 20),
      datagrams("red-probe", "red-client", address("red-client"), 4501, 4, 20),
    ]);
    expect(both).toEqual([0, 0]);
    const punch = (to: string): string =>
      `use Socket; $|=1; socket(my $s,PF_INET,SOCK_DGRAM,0); bind($s,sockaddr_in(4600,INADDR_ANY)) or die; my $n=0; for (1..40) { send($s,"x",0,sockaddr_in(4600,inet_aton("${to}"))); my $r=""; vec($r,fileno($s),1)=1; $n++ if select($r,undef,undef,0.1) && defined recv($s,my $b,99,MSG_DONTWAIT) } print "got $n"`;
    const punched = await Promise.all([
      inSystem("red-client", "perl", "-e", punch(address("red-probe"))),
      inSystem("red-probe", "perl", "-e", punch(address("red-client"))),
    ]);
    expect(punched.map(({ stdout }) => stdout)).toEqual(["got 0", "got 0"]);
  });

  it("judges what comes by an address of the link, and what is for all", async () => {
    const linkLocal = (await inSystem("red-web", "sh", "-c", "ip -6 -o addr show dev eth0 scope link")).stdout;
    const [, own] = /inet6 (fe80:[0-9a-f:]+)/.exec(linkLocal) ?? [];
    expect(own).toBeDefined();
    expect(await datagrams("red-client", "red-web", `${own ?? ""}%eth0`, 4700, 6)).toBe(0);
    expect((await inSystem("red-client", "ping", "-n", "-c", "1", "-W", "1", `${own ?? ""}%eth0`)).stdout).toContain("1 received");
    const shout = `use Socket; socket(my $s,PF_INET,SOCK_DGRAM,0); setsockopt($s,SOL_SOCKET,SO_BROADCAST,1); send($s,"x",0,sockaddr_in(4701,inet_aton("10.0.192.255"))) for 1..5`;
    const listening = inSystem(
      "red-web",
      "perl",
      "-e",
      `use Socket; socket(my $s,PF_INET,SOCK_DGRAM,0); bind($s,sockaddr_in(4701,INADDR_ANY)) or die; $SIG{ALRM}=sub{print "got $n"; exit}; our $n=0; alarm 2; while (defined recv($s,my $b,99,0)) { $n++ }`,
    );
    await sleep(500);
    await inSystem("red-client", "perl", "-e", shout);
    expect((await listening).stdout).toBe("got 0");
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
    // Each datagram of its own port: none is of a connection, and each meets all rules. They go on until a file says so.
    const send = `use Socket; my $t=inet_aton("${address("red-web")}"); my $n=0; my $p=1024; while (!-e "/tmp/enough") { for (1..100) { socket(my $s,PF_INET,SOCK_DGRAM,0); $p=$p>60000?1024:$p+1; bind($s,sockaddr_in($p,INADDR_ANY)); $n++ if defined send($s,"x",0,sockaddr_in(5301,$t)); close $s } select(undef,undef,undef,0.008) } print $n`;
    const passing = await met("-m mark");
    const sending = inSystem("red-client", "perl", "-e", send);
    const open = inSystem("red-db", "ping", "-n", "-q", "-i", "0.1", "-c", "100", address("red-web"));
    let counted = 0;
    for (const mark of [2, 3, 4]) {
      const { rules: old } = await shown();
      project.write(file, rules(mark));
      succeeded(await project.flipflap("up"));
      const { rules: now } = await shown();
      expect(now.some(({ text }) => text.includes(`--mark 0x${mark.toString(16)}`))).toBe(true);
      // Of a rule that goes nobody knows what it met between the last look and its end.
      counted += old.filter(({ text }) => text.includes("-m mark")).reduce((sum, { packets }) => sum + (packets ?? 0), 0);
    }
    await inSystem("red-client", "touch", "/tmp/enough");
    const sent = Number((await sending).stdout);
    counted += (await met("-m mark")) - passing;
    expect(sent).toBeGreaterThan(50_000);
    // While an up waits for its servers more is sent than is seen here.
    expect(counted).toBeLessThanOrEqual(sent);
    expect(await met("mixed")).toBe(0);
    expect((await open).stdout).toContain("100 received");
    expect(await met("--icmp-type 8")).toBeGreaterThanOrEqual(steady);
    console.log(`${sent} datagrams while the rules were changed three times`);
    project.write(file, Project.original(file));
    succeeded(await project.flipflap("up"));
  });

  /** What comes of a connection, or of a datagram, within a second. */
  const answered = async (from: string, protocol: "tcp" | "udp", to: string): Promise<string> =>
    (
      await inSystem(
        from,
        "perl",
        "-e",
        `use IO::Socket::IP; my $s=IO::Socket::IP->new(PeerHost=>"${to}",PeerPort=>5401,Proto=>"${protocol}",Timeout=>1); if (!$s) { print $!; exit } send($s,"x",0); my $r=""; vec($r,fileno($s),1)=1; if (select($r,undef,undef,1)) { recv($s,my $b,9,MSG_DONTWAIT); print $! } else { print "nothing" }`,
      )
    ).stdout;

  it("holds sets, limits, LOG and REJECT, and tells of what met it", async () => {
    const more = `create friends hash:net
add friends 10.0.191.0/24
add friends ${address("red-probe")} nomatch
${Project.original(file).replace(
  ":WEB - [0:0]\n",
  `:WEB - [0:0]
-A FORWARD -p udp --dport 5400 -m set --match-set friends src -m limit --limit 1/minute --limit-burst 3 -j LOG --log-prefix "a friend: "
-A FORWARD -p udp --dport 5400 -m set --match-set friends src -j ACCEPT
-A FORWARD -p tcp --dport 5401 -j REJECT --reject-with tcp-reset
-A FORWARD -p udp --dport 5401 -j REJECT
`,
)}ip6tables -A FORWARD -p udp --dport 5401 -j REJECT
`;
    project.write(file, more);
    succeeded(await project.flipflap("up"));
    expect(await datagrams("red-db", "red-web", address("red-web"), 5400, 4, 10)).toBe(10);
    expect(await datagrams("red-probe", "red-web", address("red-web"), 5400, 4)).toBe(0);
    const lines = JSON.parse(succeeded(await project.flipflap("firewall", "log", "--json"))) as { server: string; text: string }[];
    // From one port, so from the second one on they are of a connection that is not answered: each is new.
    expect(lines.slice(-3).map(({ server }) => server)).toEqual(["flip", "flip", "flip"]);
    expect(lines[0]?.text).toContain(`IN=red-net OUT=red-net SRC=${address("red-db")} DST=${address("red-web")} LEN=29`);
    expect(lines[0]?.text).toMatch(/PROTO=UDP SPT=5400 DPT=5400$/);
    // Who is rejected hears it at once: from the same server and from another one, on each kind, and where nobody of ours is.
    const [, web6 = "none"] =
      status.systems.find(({ name }) => name === "red-web")?.interfaces[0]?.addresses.map((one) => one.split("/")[0]) ?? [];
    for (const [from, to] of [
      ["red-client", address("red-web")],
      ["red-db", address("red-web")],
      ["red-client", address("red-web", 1)],
      ["red-db", address("red-web", 1)],
      ["red-client", "10.0.192.1"],
    ] as const)
      for (const protocol of ["tcp", "udp"] as const)
        expect([from, to, protocol, await answered(from, protocol, to)]).toEqual([from, to, protocol, "Connection refused"]);
    for (const from of ["red-client", "red-db"])
      for (const to of [web6, address("red-web", 2)])
        expect([from, to, await answered(from, "udp", to)]).toEqual([from, to, "Connection refused"]);
    expect(await met("-j REJECT --reject-with tcp-reset")).toBe(5);
    expect(await met("-j REJECT --reject-with icmp")).toBe(9);
    expect(await allAsSaid()).toBe(true);
    project.write(file, Project.original(file));
    succeeded(await project.flipflap("up"));
  });

  it("has an experiment's rules in front of its own, and repair takes away what a killed one left", async () => {
    mkdirSync(join(project.root, "experiments"), { recursive: true });
    project.write(
      "experiments/walled.yaml",
      "title: Try it\nasks: Does it work?\nmethod: rr\nnetworks: [red-net]\nmatrix: { placement: [same-server], filter: [ebpf], rules: [500] }\nprofiles: { quick: { seconds: 1, rounds: 2 }, full: { seconds: 1, rounds: 2 } }\n",
    );
    const { child, ended } = begunExperiment(project, "walled");
    const isThere = async (): Promise<boolean> => (await shown()).rules.some(({ chain }) => chain === "FF-experiment");
    expect(await eventually(isThere, 60)).toBe(true);
    expect((await shown()).rules.some(({ text }) => text.includes("-j WEB"))).toBe(true);
    child.kill("SIGKILL");
    await ended;
    // Nothing passes by its rules that does not by the declared ones.
    expect(await datagrams("red-client", "red-web", address("red-web"), 4800, 4)).toBe(0);
    expect((await project.flipflap("firewall", "test")).stderr).toMatch(/an experiment's rules are in front of red's; .* flipflap repair/);
    expect((await project.flipflap("drift")).stdout).toMatch(/FF-experiment \(filter\): it has this stack's mark/);
    succeeded(await project.flipflap("repair"));
    expect(await wrong()).toEqual([]);
    expect(await eventually(async () => !(await isThere()), 30)).toBe(true);
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
  const lost = [
    ["the programs of all ports and what they ask", `rm -r ${pins}/taps`],
    ["the rules' programs", `rm -r ${pins}/rules/red`],
    ["what is asked by who hands packets over", "rm /sys/fs/bpf/flipflap-flip/shared/receivers"],
    ["what is known of the rules in force", "rm -r /run/flipflap/flip/firewall"],
  ] as const;
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

  it.each(lost)("comes back by itself, or by repair, where somebody took away %s", async (_, command) => {
    await onServer("flip", `${command}; touch /var/lib/flipflap/flip/attach/kinds/.look; rm /var/lib/flipflap/flip/attach/kinds/.look`);
    const isWhole = async (): Promise<boolean> => {
      if ((await wrong()).length === 0) return allAsSaid();
      await project.flipflap("repair");
      return false;
    };
    expect(await eventually(isWhole, 60)).toBe(true);
  });

  it("stays while no agent runs, and is closed until it stands where all of it is gone", { timeout: 240_000 }, async () => {
    await onServer("flip", "docker kill ff-agent >/dev/null");
    expect(await reaches("red-client", address("red-web"))).toBe(true);
    expect(await datagrams("red-client", "red-web", address("red-web"), 4800, 4)).toBe(0);
    await onServer("flip", "docker start ff-agent >/dev/null");
    expect(await eventually(allAsSaid, 60)).toBe(true);
    succeeded(await project.flipflap("lab", "power-cut", "flip"));
    succeeded(await project.flipflap("lab", "power-on", "flip"));
    // From another server, all the time until it stands.
    const knocking = inSystem(
      "red-db",
      "perl",
      "-e",
      `use Socket; my $t=inet_aton("${address("red-web")}"); my $end=time+12; while (time<$end) { socket(my $s,PF_INET,SOCK_DGRAM,0); send($s,"x",0,sockaddr_in(4900,$t)); close $s; select(undef,undef,undef,0.002) } print "done"`,
    );
    succeeded(await project.flipflap("repair"));
    const ports = await onServer("flip", "nsenter -t $(docker inspect -f '{{.State.Pid}}' ff-red-web) -n cat /proc/net/snmp");
    expect((await knocking).stdout).toBe("done");
    const [names = "", values = ""] = ports.split("\n").filter((line) => line.startsWith("Udp:"));
    expect(values.split(" ")[names.split(" ").indexOf("NoPorts")]).toBe("0");
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
