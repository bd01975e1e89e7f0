import { type ServerDeclaration, serversOf } from "../../components/config/declaration";
import type { NetworkContext } from "../../components/kinds/contexts";
import type { Hits } from "../../components/kinds/policies";
import { kindOf } from "../../components/kinds/registry";
import { selectorText } from "../../components/net/policy/selector";
import { checkedDeclaration } from "../../components/plan/check";
import { networkContext, networkContexts } from "../../components/plan/contexts";
import { policyWarnings } from "../../components/plan/rules/policies";
import type { Context } from "../../deploy/context";
import { openDeployed, sayChanged } from "../../deploy/deployed";
import { runScript } from "../../deploy/ssh";
import { readLabState } from "../../lab/state";
import { projectRoot } from "../../support/project";
import { UsageError } from "../../support/usageError";
import { planPolicyProbes, runPolicyProbes } from "../policyProbes";
import { table } from "../table";
import { type Arguments, jsonOption, type Verb } from "../verb";

/** The networks of a server that policies bear on. */
function filteredOn(context: Pick<Context, "declaration">, server: ServerDeclaration): NetworkContext[] {
  return [...networkContexts(context.declaration, server).values()].filter(({ policies }) => policies.resolved.selected.length > 0);
}

const plural = (count: number, word: string): string => (count === 1 ? `1 ${word}` : `${count} ${word.replace(/y$/, "ie")}s`);

/** Faults are thrown before: what is left is what the policies come to. */
function check({ flags }: Arguments): Promise<number> {
  const root = projectRoot();
  const declaration = checkedDeclaration(root, readLabState(root), false);
  const warnings = policyWarnings(declaration);
  const networks = declaration.testbed.networks.flatMap((network) => {
    const [server] = serversOf(declaration, network);
    if (server === undefined) return [];
    const enforcer = kindOf(network).policies;
    const context = networkContext(declaration, network, server);
    const { selected } = context.policies.resolved;
    return [
      {
        network: network.name,
        kind: network.kind,
        enforcedBy: enforcer?.name ?? "nothing",
        rules: context.policies.resolved.rules.length,
        selected,
        open: context.members.map(({ system }) => system).filter((system) => !selected.includes(system)),
      },
    ];
  });
  if (flags.json === true)
    console.log(JSON.stringify({ files: declaration.policies.map(({ path }) => path), networks, warnings }, null, 2));
  else {
    for (const { path, policies } of declaration.policies) {
      for (const [i, { endpointSelector, description }] of policies.entries())
        console.log(`${path}[${i}]  protects ${selectorText(endpointSelector)}${description === undefined ? "" : `: ${description}`}`);
    }
    const rows = networks.map((n) => [
      n.network,
      n.kind,
      n.enforcedBy,
      String(n.rules),
      n.selected.join(" ") || "-",
      n.open.join(" ") || "-",
    ]);
    if (rows.length > 0) console.log(`\n${table(["NETWORK", "KIND", "ENFORCED BY", "RULES", "PROTECTED", "OPEN TO ALL"], rows)}`);
    for (const { path, what, fix } of warnings) console.log(`warning: ${path}: ${what}; ${fix}`);
    console.log(
      `\n${plural(declaration.policies.flatMap(({ policies }) => policies).length, "policy")}, ${plural(warnings.length, "warning")}, no fault`,
    );
  }
  return Promise.resolve(0);
}

function show({ flags }: Arguments): Promise<number> {
  const root = projectRoot();
  const declaration = checkedDeclaration(root, readLabState(root), false);
  const all = declaration.servers.flatMap((server) =>
    filteredOn({ declaration }, server).flatMap((context) => {
      const { network } = context;
      if (flags.network !== undefined && flags.network !== network.name) return [];
      const enforcer = kindOf(network).policies;
      return [
        { server: server.name, network: network.name, enforcedBy: enforcer?.name ?? "", compiled: enforcer?.compiled(context) ?? "" },
      ];
    }),
  );
  if (flags.json === true) console.log(JSON.stringify(all, null, 2));
  else {
    for (const { server, network, enforcedBy, compiled } of all)
      console.log(`== ${server}, ${network} (${enforcedBy})\n${compiled || "nothing: no system here is protected"}\n`);
    if (all.length === 0) console.log("No policy bears on a network of this testbed.");
  }
  return Promise.resolve(0);
}

async function test({ flags }: Arguments): Promise<number> {
  const context = await openDeployed();
  sayChanged(context);
  const probes = planPolicyProbes(context.declaration);
  const results = await runPolicyProbes(context, probes);
  const wrong = results.filter(({ expected, arrived }) => expected !== arrived);
  if (flags.json === true) console.log(JSON.stringify({ results }, null, 2));
  else {
    const word = (arrives: boolean): string => (arrives ? "arrives" : "dropped");
    const rows = wrong.map((r) => [
      r.network,
      r.from,
      r.to,
      r.destination,
      r.protocol === "icmp" ? "icmp" : `${r.protocol}/${r.port}`,
      word(r.expected),
      word(r.arrived),
    ]);
    if (rows.length > 0) console.log(`${table(["NETWORK", "FROM", "TO", "ADDRESS", "WHAT", "BY POLICY", "SEEN"], rows)}\n`);
    const networks = [...new Set(results.map(({ network }) => network))];
    const summary = networks.map((network) => {
      const own = results.filter((r) => r.network === network);
      const must = own.filter((r) => r.expected).length;
      const bad = own.filter((r) => r.expected !== r.arrived).length;
      return [network, own[0]?.kind ?? "", String(must), String(own.length - must), bad === 0 ? "as the policies say" : `${bad} not so`];
    });
    if (summary.length > 0) console.log(table(["NETWORK", "KIND", "MUST ARRIVE", "MUST NOT", "SEEN"], summary));
    console.log(`${plural(results.length, "probe")}, ${wrong.length} not as the policies say`);
  }
  return wrong.length > 0 ? 3 : 0;
}

async function hits({ flags }: Arguments): Promise<number> {
  const context = await openDeployed();
  sayChanged(context);
  const all = await Promise.all(
    context.declaration.servers.flatMap((server) =>
      filteredOn(context, server).map(async (network) => {
        const enforcer = kindOf(network.network).policies;
        if (enforcer === undefined) return [];
        const finished = await runScript(context, server, `${enforcer.hits(network, { stack: server.name }).text}\n`);
        const { allowed, denied }: Hits = enforcer.readHits(finished.stdout, network);
        const paths = new Map(network.policies.resolved.rules.map(({ id, path, ports }) => [id, { path, ports }]));
        const base = { server: server.name, network: network.network.name };
        return [
          ...[...paths].flatMap(([id, { path, ports }]) => {
            const packets = allowed.get(id);
            const what =
              ports === undefined ? "all" : `${ports.protocol}/${ports.first}${ports.last > ports.first ? `-${ports.last}` : ""}`;
            return packets === undefined ? [] : [{ ...base, verdict: "allowed", what, rule: path, system: "", packets }];
          }),
          ...[...denied].map(([system, packets]) => ({
            ...base,
            verdict: "denied",
            what: "the rest",
            rule: "",
            system: system || enforcer.deniedElsewhere,
            packets,
          })),
        ];
      }),
    ),
  );
  const rows = all.flat();
  if (flags.json === true) console.log(JSON.stringify(rows, null, 2));
  else if (rows.length === 0) console.log("Nothing is counted: no policy is in force here.");
  else
    console.log(
      table(
        ["SERVER", "NETWORK", "VERDICT", "PACKETS", "WHAT", "RULE OR SYSTEM"],
        rows.map((r) => [r.server, r.network, r.verdict, String(r.packets), r.what, r.rule || r.system]),
      ),
    );
  return 0;
}

const actions = { check, show, test, hits } as const;

export const policy: Verb = {
  name: "policy",
  words: "check|show|test|hits",
  summary: "what the testbed's policies say, come to, do, and have done",
  details: `
check  the policies' faults and warnings; for each network what enforces them, and whom they protect
show   what is compiled for each server and network: sets and rules, or what Cilium imports
test   packets from system to system on the running testbed: those that must arrive, and those that must not
hits   how many packets each rule has let in, and how many were dropped for each system

check and show ask no server. A policy says what a connection's first packet may do; replies are let in.

Exit code 0: well; 1: faults; 3: a probe did not do what the policies say.`,
  options: { ...jsonOption, network: { type: "string", value: "NAME", help: "show: of this network only" } },
  run: (args) => {
    const [word = ""] = args.words;
    if (!Object.hasOwn(actions, word)) throw new UsageError(`name one of ${Object.keys(actions).join(", ")}`);
    return actions[word as keyof typeof actions](args);
  },
};
