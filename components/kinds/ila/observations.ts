/** What `flipflap status` tells of ILA: the registry, who is where under which address, and what was dropped and why. */
import type { IlaNetwork } from "../../config/types.gen";
import type { IlaFacts } from "../../host/contract/types.gen";
import type { Owner } from "../../host/objectType";
import { askAgent, mustSpeak } from "../../host/objects/attachSpec";
import type { KindContext } from "../contexts";
import type { Observation, ObservedTable } from "../observation";

export const readFacts = (output: string): IlaFacts | undefined => {
  const line = output.split("\n").find((text) => text.startsWith("{"));
  if (line === undefined) return undefined;
  const facts = JSON.parse(line) as IlaFacts;
  mustSpeak(facts.contract);
  return facts;
};

function readRegistry(output: string): ObservedTable {
  const facts = readFacts(output);
  const dropped = Object.entries(facts?.drops ?? {}).filter(([, count]) => count > 0);
  return {
    columns: ["REGISTRY", "SYSTEMS KNOWN", "DROPPED"],
    rows: [
      [facts?.registry ?? "no agent", String(facts?.mappings ?? ""), dropped.map(([reason, count]) => `${count} ${reason}`).join(", ")],
    ],
    problems: facts?.registry === "connected" ? [] : [`ILA: the registry is ${facts?.registry ?? `not asked: ${output.trim()}`}`],
  };
}

function readSystems(output: string): ObservedTable {
  const rows = (readFacts(output)?.systems ?? []).map(({ address, network, wire, server }) => [address, network, server, wire]);
  return { columns: ["SIR ADDRESS", "NETWORK", "AT", "BETWEEN SERVERS"], rows, problems: [] };
}

export function observations({ networks }: KindContext<IlaNetwork>, owner: Owner): Observation[] {
  if (networks.length === 0) return [];
  const script = askAgent(owner, "ila");
  return [
    { title: "ILA", script, read: readRegistry, drops: (output) => new Map(Object.entries(readFacts(output)?.drops ?? {})) },
    { title: "ILA systems", script, read: readSystems },
  ];
}
