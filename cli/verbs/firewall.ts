import { firewallsOf, membersOf, networksOf } from "../../components/capabilities/firewall/covered";
import { experimentChain } from "../../components/host/objects/experimentRules";
import type { Declaration, RulesFile } from "../../components/config/declaration";
import { loadDeclaration } from "../../components/config/load";
import { ConfigError } from "../../components/config/faults";
import { readRules } from "../../components/host/agentProgram";
import type { FirewallRule } from "../../components/host/contract/types.gen";
import { sh } from "../../components/host/sh";
import type { Member } from "../../components/kinds/contexts";
import { resolveMembers } from "../../components/kinds/members";
import { ownContainers } from "../../components/net/names";
import { checkedDeclaration } from "../../components/plan/check";
import { openDeployed, sayChanged } from "../../deploy/deployed";
import { scriptOn } from "../../deploy/ssh";
import { readLabState } from "../../lab/state";
import { projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { asked, changeOf, factsOf, programOf, ruleText, serversOfFirewalls, summed, type Summed } from "../firewallFacts";
import { judged, planFirewallProbes, readFirewall, type Sent } from "../firewallPackets";
import { runPolicyProbes } from "../policyProbes";
import { table } from "../table";
import { type Arguments, askedTestbed, jsonOption, testbedOption, type Verb } from "../verb";

const plural = (count: number, word: string): string => (count === 1 ? `1 ${word}` : `${count} ${word}s`);

/** By the files: where each rule goes. The files may have faults. */
function plan(args: Arguments): Promise<number> {
  const root = projectRoot();
  const { declaration, faults } = loadDeclaration(root, readLabState(root), false, askedTestbed(args.flags));
  if (declaration === undefined) throw new ConfigError(faults);
  const read = asked(args, firewallsOf(declaration)).map((firewall) => {
    const { text } = declaration.firewallRules[firewall.rules] ?? {};
    if (text === undefined) throw new ConfigError(faults);
    const networks = networksOf(declaration, firewall).map(({ name }) => name);
    const { rules, faults: own, entries } = readRules({ text, networks });
    const interfaces = membersOf(declaration, firewall).length;
    return { tenant: firewall.tenant, file: firewall.rules, networks, interfaces, rules, faults: own, entries };
  });
  if (args.flags.json === true) console.log(JSON.stringify(read, null, 2));
  else
    for (const { tenant, file, networks, interfaces, rules, faults: own, entries } of read) {
      console.log(`${tenant}: ${file}, at ${plural(interfaces, "interface")} of ${networks.join(", ")}`);
      const rows = rules.map((rule) => [
        rule.policy === true ? "" : String(rule.line),
        rule.refused === undefined ? "eBPF" : "refused",
        programOf(rule),
        ruleText(rule),
        rule.refused === undefined ? "" : `${rule.refused}; ${rule.fix ?? ""}`,
      ]);
      console.log(table(["LINE", "WHERE", "PROGRAM", "RULE", "WHY"], rows));
      const refused = new Set(rules.flatMap(({ line, refused: why }) => (why === undefined ? [] : [line])));
      for (const { line, column, what, fix } of own.filter((fault) => !refused.has(fault.line)))
        console.log(`${file}:${line}:${column}: ${what}; ${fix}`);
      const held = rules.filter(({ policy, refused: why }) => policy !== true && why === undefined).length;
      console.log(
        own.length === 0
          ? `${plural(held, "rule")} in eBPF, as ${entries === 1 ? "1 entry" : `${entries} entries`} that the programs look through\n`
          : `${plural(held, "rule")} could be held, ${plural(own.length, "fault")}: nothing of the file is put in force\n`,
      );
    }
  if (read.length === 0 && args.flags.json !== true) console.log("The testbed declares no firewall.");
  return Promise.resolve(read.some(({ faults: own }) => own.length > 0) ? 1 : 0);
}

const countRow = (rule: FirewallRule): string[] => [
  String(rule.packets ?? 0),
  String(rule.bytes ?? 0),
  rule.target || "-",
  rule.text || "-",
];
const countHead = ["PACKETS", "BYTES", "TARGET", "RULE"];

/** A chain after the other, as iptables -vL has them. */
function chainsText({ rules }: Summed): string {
  const policies = rules.filter(({ policy }) => policy === true);
  const chains = new Map<string, FirewallRule[]>(policies.map(({ family, chain }) => [`${family} ${chain}`, []]));
  for (const rule of rules) {
    if (rule.policy === true) continue;
    const key = `${rule.family} ${rule.chain}`;
    chains.set(key, [...(chains.get(key) ?? []), rule]);
  }
  return [...chains]
    .map(([key, own]) => {
      const policy = policies.find(({ family, chain }) => `${family} ${chain}` === key);
      const after = policy === undefined ? "" : ` (policy ${policy.target}: ${policy.packets ?? 0} packets, ${policy.bytes ?? 0} bytes)`;
      return `Chain ${key.split(" ")[1] ?? ""} of ${key.startsWith("ipv6") ? "IPv6" : "IPv4"}${after}\n${table(countHead, own.map(countRow))}`;
    })
    .join("\n\n");
}

async function show(args: Arguments): Promise<number> {
  const context = await openDeployed();
  sayChanged(context);
  const all = summed(await factsOf(context, args));
  if (args.flags.json === true) console.log(JSON.stringify(all, null, 2));
  else
    for (const one of all)
      console.log(
        one.inForce === ""
          ? `${one.tenant} on ${one.servers.join(" and ")}: no rules are in force, nothing passes\n`
          : `${one.tenant} on ${one.servers.join(" and ")}: rules ${one.inForce.slice(0, 12)}, ${plural(one.connections, "connection")}\n\n${chainsText(one)}\n`,
      );
  if (all.length === 0 && args.flags.json !== true) console.log("No firewall is deployed here.");
  return 0;
}

async function hits(args: Arguments): Promise<number> {
  const context = await openDeployed();
  sayChanged(context);
  const rows = summed(await factsOf(context, args))
    .flatMap(({ tenant, rules }) => rules.map((rule) => ({ tenant, ...rule, packets: rule.packets ?? 0 })))
    .filter(({ packets }) => packets > 0)
    .sort((a, b) => b.packets - a.packets);
  if (args.flags.json === true) console.log(JSON.stringify(rows, null, 2));
  else if (rows.length === 0) console.log("No rule has met a packet.");
  else
    console.log(
      table(
        ["TENANT", "PACKETS", "BYTES", "TARGET", "LINE", "RULE"],
        rows.map((one) => [
          one.tenant,
          String(one.packets),
          String(one.bytes ?? 0),
          one.target || "-",
          one.policy === true ? "-" : String(one.line),
          `${programOf(one)} ${ruleText(one)}`,
        ]),
      ),
    );
  return 0;
}

/** What the files would change of what is in force. */
async function diff(args: Arguments): Promise<number> {
  const context = await openDeployed();
  const root = projectRoot();
  const declared = checkedDeclaration(root, readLabState(root), false);
  const lines = (rules: readonly FirewallRule[]): string[] => rules.map((rule) => `${programOf(rule)} ${ruleText(rule)}`);
  const present = summed(await factsOf(context, { ...args, flags: { ...args.flags, tenant: undefined } }));
  const wanted = asked(args, firewallsOf(declared));
  const after = (tenant: string): string[] => {
    const firewall = wanted.find((one) => one.tenant === tenant);
    return firewall === undefined ? [] : lines(readFirewall(declared, firewall).rules);
  };
  const changes = [
    ...present
      .filter(({ tenant }) => args.flags.tenant === undefined || tenant === args.flags.tenant)
      .map(({ tenant, servers, rules }) => changeOf(tenant, servers, lines(rules), after(tenant))),
    ...wanted
      .filter(({ tenant }) => !present.some((one) => one.tenant === tenant))
      .map(({ tenant }) => changeOf(tenant, [], [], after(tenant))),
  ];
  if (args.flags.json === true) console.log(JSON.stringify(changes, null, 2));
  else
    for (const { tenant, servers, removed, added, moved } of changes) {
      const where = servers.length === 0 ? "nowhere yet" : `on ${servers.join(" and ")}`;
      console.log(
        `${tenant} ${where}: ${removed.length} less, ${added.length} more${moved.length === 0 ? "" : ", others in another order"}`,
      );
      for (const line of removed) console.log(`- ${line}`);
      for (const line of added) console.log(`+ ${line}`);
      for (const line of moved) console.log(`~ from here on: ${line}`);
    }
  return changes.some(({ removed, added, moved }) => removed.length + added.length + moved.length > 0) ? 3 : 0;
}

function sentOf(word: string): Sent {
  const [, protocol, port] = /^(tcp|udp|sctp)\/(\d{1,5})$/.exec(word) ?? [];
  if (word === "icmp") return { protocol: "icmp", port: 0 };
  if (protocol === undefined || Number(port) > 65535)
    throw new UsageError(`"${word}" is no packet: write tcp/5201, udp/53, sctp/9 or icmp`);
  return { protocol: protocol as Sent["protocol"], port: Number(port) };
}

/** The interfaces of two systems that share a network; else the first of each. */
function endsOf(declaration: Declaration, names: readonly string[]): [Member, Member] {
  const all = declaration.testbed.networks.flatMap((network) => resolveMembers(declaration, network).members);
  const of = (name = ""): Member[] => {
    const own = all.filter(({ system }) => system === name);
    if (own.length === 0) throw new UsageError(`there is no system "${name}" in a network`);
    return own;
  };
  const [from, to] = [of(names[0]), of(names[1])];
  const shared = from.flatMap((a): [Member, Member][] => to.filter((b) => b.network === a.network).map((b) => [a, b]));
  return shared[0] ?? [from[0] as Member, to[0] as Member];
}

/** By the files: what decides, without a packet. */
function explain(args: Arguments): Promise<number> {
  const [, from = "", to = "", what = "icmp"] = args.words;
  if (to === "") throw new UsageError("name two systems, and what one sends the other first: explain red-client red-web tcp/5201");
  const root = projectRoot();
  const declaration = checkedDeclaration(root, readLabState(root), false, askedTestbed(args.flags));
  const [source, target] = endsOf(declaration, [from, to]);
  const sent = sentOf(what);
  const answers = (["ipv4", "ipv6"] as const).flatMap((family) => {
    const found = judged(declaration, source, target, family, sent);
    if (found === undefined) return [];
    const reading = readFirewall(declaration, found.firewall, [found.packet]);
    const verdict = reading.verdicts[0];
    const rules = verdict?.met.flatMap((number) => reading.rules[number] ?? []) ?? [];
    const policy = reading.rules.find((rule) => rule.policy === true && rule.family === family);
    const decides = verdict?.byPolicy === true ? policy : rules.at(-1);
    return [
      {
        family,
        at: found.at,
        tenant: found.firewall.tenant,
        file: found.firewall.rules,
        packet: found.packet,
        passes: verdict?.accept === true,
        decides,
        met: rules,
      },
    ];
  });
  if (args.flags.json === true) console.log(JSON.stringify(answers, null, 2));
  else if (answers.length === 0) console.log(`No firewall looks at ${from} or ${to}.`);
  else
    for (const { at, tenant, file, packet, passes, decides, met } of answers) {
      console.log(
        `${packet.source} to ${packet.destination}, ${what}: ${passes ? "passes" : "dropped"} at ${at === "receiver" ? to : from} by ${tenant}'s firewall`,
      );
      const lines = decides?.policy === true ? [...met, decides] : met;
      for (const rule of lines)
        console.log(
          `  ${rule.policy === true ? file : `${file}:${rule.line}`}  ${programOf(rule)} ${ruleText(rule)}${rule === decides ? "   decides" : ""}`,
        );
    }
  return Promise.resolve(0);
}

async function test(args: Arguments): Promise<number> {
  const context = await openDeployed();
  const root = projectRoot();
  // Rules are read from the files: what is deployed must be theirs.
  const declared = checkedDeclaration(root, readLabState(root), false);
  const facts = await factsOf(context, args);
  if (facts.length === 0) throw new UsageError("no firewall is deployed here: flipflap up brings what the files say");
  const rulesOf = (tenant: string): RulesFile | undefined =>
    declared.firewallRules[firewallsOf(declared).find((one) => one.tenant === tenant)?.rules ?? ""];
  for (const { fact, server } of facts) {
    if (rulesOf(fact.name)?.hash === fact.inForce) continue;
    throw new UsageError(
      fact.rules.some(({ chain }) => chain === experimentChain)
        ? `on ${server} an experiment's rules are in front of ${fact.name}'s; where none is running, flipflap repair takes them away`
        : `on ${server} other rules are in force for ${fact.name} than the files have; flipflap up brings these, flipflap firewall diff shows what differs`,
    );
  }
  const deployed = asked(args, firewallsOf(context.declaration));
  const declaration: Declaration = {
    ...context.declaration,
    testbed: { ...context.declaration.testbed, firewalls: [...deployed] },
    firewallRules: Object.fromEntries(deployed.flatMap(({ tenant, rules }) => [[rules, rulesOf(tenant) ?? { hash: "" }]])),
  };
  const results = await runPolicyProbes(context, planFirewallProbes(declaration));
  const wrong = results.filter(({ expected, arrived }) => expected !== arrived);
  if (args.flags.json === true) console.log(JSON.stringify({ results }, null, 2));
  else {
    const word = (arrives: boolean): string => (arrives ? "arrives" : "dropped");
    const rows = wrong.map((one) => [
      one.network,
      one.from,
      one.to,
      one.destination,
      one.protocol === "icmp" ? "icmp" : `${one.protocol}/${one.port}`,
      word(one.expected),
      word(one.arrived),
    ]);
    if (rows.length > 0) console.log(`${table(["NETWORK", "FROM", "TO", "ADDRESS", "WHAT", "BY THE RULES", "SEEN"], rows)}\n`);
    const must = results.filter(({ expected }) => expected).length;
    console.log(
      `${plural(results.length, "packet")}: ${must} must pass, ${results.length - must} must not; ${wrong.length} not as the rules say`,
    );
  }
  return wrong.length > 0 ? 3 : 0;
}

const mostLines = 200;

/** What rules with LOG have told of, from the agents' own logs. */
async function log(args: Arguments): Promise<number> {
  const context = await openDeployed();
  const all = asked(args, firewallsOf(context.declaration)).map(({ tenant }) => tenant);
  const found = await Promise.all(
    serversOfFirewalls(context.declaration, args).map(async (server) => {
      const marks = all.flatMap((tenant) => ["-e", ` firewall ${tenant}: `]);
      const script = sh`docker logs ${ownContainers.agent} 2>&1 | grep -F ${marks} | tail -n ${mostLines} || :`;
      const lines = (await scriptOn(context, server, script.text)).split("\n").filter((line) => line !== "");
      return lines.flatMap((line) => {
        const [, time = "", tenant = "", text = ""] = /^(\S+ \S+) firewall (\S+): (.*)$/.exec(line) ?? [];
        return time === "" ? [] : [{ server: server.name, time, tenant, text }];
      });
    }),
  );
  const lines = found.flat().sort((a, b) => (a.time < b.time ? -1 : 1));
  if (args.flags.json === true) console.log(JSON.stringify(lines, null, 2));
  else for (const { server, time, tenant, text } of lines) console.log(`${time}  ${server}  ${tenant}  ${text}`);
  if (lines.length === 0 && args.flags.json !== true) console.log("No rule with LOG has met a packet.");
  return 0;
}

const actions = { plan, show, hits, explain, test, diff, log } as const;

export const firewall: Verb = {
  name: "firewall",
  words: "plan|show|hits|explain FROM TO [tcp/PORT]|test|diff|log",
  summary: "tenants' firewalls: where each rule goes, what it has met, and what decides about a packet",
  details: `
plan     every rule of the files, where it goes, and why one is refused
show     the rules in force with their counters, as iptables -vL has them; a packet is judged once, so servers' counters are summed
hits     the rules that have met packets, most first
explain  the rules that a connection's first packet meets, and the one that decides; nothing is sent
test     packets from system to system: those that the rules let through and those that they do not
diff     what the files would change of the rules in force
log      the last packets that rules with LOG have told of

plan and explain ask no server.

  flipflap firewall plan
  flipflap firewall explain red-client red-web tcp/5201

Exit code 0: well; 1: faults; 3: test: a packet did what the rules do not say; diff: there is a difference.`,
  options: {
    ...jsonOption,
    ...testbedOption,
    tenant: { type: "string", value: "NAME", help: "of this tenant only" },
    server: { type: "string", value: "NAME", help: "show, hits, log: of this server alone" },
  },
  run: (args) => {
    const [word = ""] = args.words;
    if (!Object.hasOwn(actions, word)) throw new UsageError(`name one of ${Object.keys(actions).join(", ")}`);
    return actions[word as keyof typeof actions](args);
  },
};
