/** What the kinds and capabilities of a testbed tell of themselves on each server, for `flipflap status`. */
import { capabilities } from "../components/capabilities/registry";
import type { ServerDeclaration } from "../components/config/declaration";
import type { Observation, ObservedTable } from "../components/kinds/observation";
import { kindContexts } from "../components/plan/contexts";
import { type Context } from "../deploy/context";
import { runScript } from "../deploy/ssh";
import type { Finished } from "../support/process";

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

interface Placed {
  readonly server: ServerDeclaration;
  readonly kind: string;
  readonly observation: Observation;
}

const observationsOf = ({ declaration }: Context): Placed[] =>
  declaration.servers.flatMap((server) => [
    ...kindContexts(declaration, server).flatMap(({ kind, context: own }) =>
      kind.observations(own, { stack: server.name }).map((observation) => ({ server, kind: kind.kind as string, observation })),
    ),
    ...capabilities.flatMap(({ name, observations }) =>
      observations(declaration, server).map((observation) => ({ server, kind: name, observation })),
    ),
  ]);

const printed = (context: Context, { server, observation }: Placed): Promise<Finished> =>
  runScript(context, server, `${observation.script.text}\n`, 30);

export function observe(context: Context): Promise<Observed[]> {
  return Promise.all(
    observationsOf(context).map(async (one): Promise<Observed> => {
      const finished = await printed(context, one);
      const base = { server: one.server.name, kind: one.kind, title: one.observation.title };
      // A server that does not answer is told of already.
      return finished.code === 255 ? { ...base, ...empty } : { ...base, ...readSafely(one.observation.read, finished.stdout) };
    }),
  );
}

/** What kinds and capabilities have dropped so far, by server, by whom and why; nothing of a server that does not answer. */
export async function readDrops(context: Context): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>();
  const read = async (one: Placed): Promise<void> => {
    try {
      const drops = one.observation.drops?.((await printed(context, one)).stdout) ?? [];
      for (const [reason, packets] of drops) found.set(`${one.server.name}: ${one.kind} dropped {} ${reason}`, packets);
    } catch {
      // It counts nothing today.
    }
  };
  await Promise.all(
    observationsOf(context)
      .filter(({ observation }) => observation.drops !== undefined)
      .map(read),
  );
  return found;
}

/** Lines of what was dropped between two looks. */
export const dropsBetween = (before: ReadonlyMap<string, number>, after: ReadonlyMap<string, number>): string[] =>
  [...after].flatMap(([text, packets]) => {
    const more = packets - (before.get(text) ?? 0);
    return more > 0 ? [text.replace("{}", String(more))] : [];
  });

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
