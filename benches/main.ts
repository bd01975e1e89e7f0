/** npm run bench -- [link|evpn|evpn-networks|ila|ila-registry|policies|guard|trace|macvlan|vpn|vpn-star|scale|commands|setup]... [--rounds N] [--seconds N] [--seed N] [--counts N,N] */
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { ensureImages } from "../setup/images";
import { ensureToolchain } from "../setup/toolchain";
import { codeRoot } from "../support/project";
import type { BenchOptions } from "./bench";
import { benchCommands } from "./commands";
import { benchEvpn } from "./evpn";
import { benchEvpnNetworks } from "./evpnNetworks";
import { benchGuard } from "./guard";
import { benchIla, benchIlaRegistry } from "./ila";
import { benchLink } from "./link";
import { benchPolicies } from "./policies";
import { benchScale } from "./scale";
import { benchSetup } from "./setup";
import { benchTrace } from "./trace";
import { benchMacvlan, benchVpn, benchVpnStar } from "./vpn";

const benches = {
  link: benchLink,
  evpn: benchEvpn,
  "evpn-networks": benchEvpnNetworks,
  ila: benchIla,
  "ila-registry": benchIlaRegistry,
  policies: benchPolicies,
  guard: benchGuard,
  trace: benchTrace,
  macvlan: benchMacvlan,
  vpn: benchVpn,
  "vpn-star": benchVpnStar,
  scale: benchScale,
  commands: benchCommands,
  setup: benchSetup,
};

const help = `npm run bench -- [${Object.keys(benches).join("|")}]... [--rounds N] [--seconds N] [--seed N] [--counts N,N]

  link      server to server and kind bridge in its modes: one TCP stream, TCP_RR on one core
  evpn      kind evpn: the same, part by part; how fast a system is known elsewhere; 20,000 routes
  evpn-networks  50 networks of 10 tenants with 200 systems: from a bare lab until every server knows the others
  ila       kind ila: its modes beside the same way without ILA, and what a packet costs
  ila-registry  how fast a system is known elsewhere; 100,000 systems; moves
  policies  kinds swarm and cilium with policies and without; 1,000 rules; a change under traffic
  guard     what the guard costs kinds bridge, evpn and macvlan: with it and without, in pairs
  trace     what the tracer costs what it traces: armed, one server's agent, both
  macvlan   kind macvlan across servers: one TCP stream, TCP_RR on one core
  vpn       report S4's testbed: its tunnels, and up until all of them carry packets
  vpn-star  50 gateways on one server: the same, boot, and the memory of each
  scale     10 to 1,000 systems (--counts) on one server, and on two: up, drift, destroy, beside bare docker
  commands  an unchanged preview, a second npm run up, flipflap check
  setup     npm run up in a fresh clone with an empty HOME (minutes)

Without a name: link and commands. Results go to results/ as JSON lines, tables to standard output.`;

async function main(argv: readonly string[]): Promise<void> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "5" },
      seconds: { type: "string", default: "4" },
      seed: { type: "string" },
      counts: { type: "string", default: "10,30,100,300,1000" },
      help: { type: "boolean" },
    },
  });
  const unknown = positionals.filter((name) => !Object.hasOwn(benches, name));
  if (values.help === true || unknown.length > 0) {
    console.log(unknown.length > 0 ? `there is no bench ${unknown.join(", ")}\n\n${help}` : help);
    process.exitCode = unknown.length > 0 ? 2 : 0;
    return;
  }
  await Promise.all([
    ensureToolchain(),
    ensureImages([
      "agent",
      "tools",
      ...(positionals.some((name) => name.startsWith("ila")) ? (["etcd"] as const) : []),
      ...(positionals.some((name) => name.startsWith("vpn")) ? (["strongswan"] as const) : []),
      ...(positionals.some((name) => ["evpn", "evpn-networks", "guard"].includes(name)) ? (["frr", "gobgp"] as const) : []),
    ]),
  ]);
  const options: BenchOptions = {
    rounds: Number(values.rounds),
    seconds: Number(values.seconds),
    counts: values.counts.split(",").map(Number),
    seed: Number(values.seed ?? Date.now() % 100_000),
    file: join(codeRoot, "results", `bench-${new Date().toISOString().replaceAll(":", "-").slice(0, 19)}.jsonl`),
    say: (line) => console.error(`  .. ${line}`),
  };
  mkdirSync(dirname(options.file), { recursive: true });
  for (const name of positionals.length === 0 ? ["link", "commands"] : positionals) await benches[name as keyof typeof benches](options);
  console.log(`results: ${options.file.slice(codeRoot.length + 1)} (seed ${options.seed})`);
}

void main(process.argv.slice(2));
