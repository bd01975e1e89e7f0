/** What the kinds of a testbed tell of themselves on each server, for `flipflap status`. */
import { vpnObservations } from "../components/capabilities/vpn";
import { isGuarded } from "../components/config/declaration";
import { guardCounters, readGuardCounters } from "../components/host/objects/guard";
import { type DropReason, dropReasons } from "../components/host/objects/guardRules";
import type { Observation, ObservedTable } from "../components/kinds/observation";
import { kindContexts } from "../components/plan/contexts";
import { type Context } from "../deploy/context";
import { runScript } from "../deploy/ssh";

export interface Observed extends ObservedTable {
  readonly server: string;
  readonly kind: string;
  readonly title: string;
}

const empty: ObservedTable = { columns: [], rows: [], problems: [] };

/** What tenants tried and did not get. */
const guardObservation = (stack: string): Observation => ({
  title: "dropped",
  script: guardCounters({ stack }),
  read: (output) => ({
    columns: ["DROPPED BY THE GUARD", "PACKETS"],
    rows: [...readGuardCounters(output)].map(([reason, packets]) => [dropReasons[reason as DropReason] ?? reason, String(packets)]),
    problems: [],
  }),
});

function readSafely(read: (output: string) => ObservedTable, output: string): ObservedTable {
  try {
    return read(output);
  } catch (error) {
    return { ...empty, problems: [`unreadable: ${(error as Error).message}`] };
  }
}

export async function observe(context: Context): Promise<Observed[]> {
  const perServer = context.declaration.servers.map((server) => {
    const ofKinds = kindContexts(context.declaration, server).flatMap(({ kind, context: own }) =>
      kind.observations(own, { stack: server.name }).map((observation) => ({ kind: kind.kind as string, observation })),
    );
    const ofGuard = isGuarded(context.declaration) ? [{ kind: "guard", observation: guardObservation(server.name) }] : [];
    const ofVpn = vpnObservations(context.declaration, server).map((observation) => ({ kind: "vpn", observation }));
    return [...ofKinds, ...ofGuard, ...ofVpn].map(async ({ kind, observation }): Promise<Observed> => {
      const finished = await runScript(context, server, `${observation.script.text}\n`, 30);
      const base = { server: server.name, kind, title: observation.title };
      // A server that does not answer is told of already.
      return finished.code === 255 ? { ...base, ...empty } : { ...base, ...readSafely(observation.read, finished.stdout) };
    });
  });
  return Promise.all(perServer.flat());
}

/** One table a title, whichever servers its rows are of. */
export function observedTables(observed: readonly Observed[]): { columns: string[]; rows: string[][] }[] {
  const titles = [...new Set(observed.map(({ kind, title }) => `${kind} ${title}`))];
  return titles.flatMap((title) => {
    const own = observed.filter((o) => `${o.kind} ${o.title}` === title && o.rows.length > 0);
    const [first] = own;
    return first === undefined
      ? []
      : [{ columns: ["SERVER", ...first.columns], rows: own.flatMap((o) => o.rows.map((row) => [o.server, ...row])) }];
  });
}
