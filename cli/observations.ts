/** What the kinds and capabilities of a testbed tell of themselves on each server, for `flipflap status`. */
import { capabilities } from "../components/capabilities/registry";
import type { ObservedTable } from "../components/kinds/observation";
import { kindContexts } from "../components/plan/contexts";
import { type Context } from "../deploy/context";
import { runScript } from "../deploy/ssh";

export interface Observed extends ObservedTable {
  readonly server: string;
  readonly kind: string;
  readonly title: string;
}

const empty: ObservedTable = { columns: [], rows: [], problems: [] };

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
    const ofCapabilities = capabilities.flatMap(({ name, observations }) =>
      observations(context.declaration, server).map((observation) => ({ kind: name, observation })),
    );
    return [...ofKinds, ...ofCapabilities].map(async ({ kind, observation }): Promise<Observed> => {
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
