/**
 * What `up`s noted on a server before they made anything (components/host/objects/generation.ts), beside what the stack's state
 * knows: of an `up` that was cut off the state knows nothing, for it is written at the end alone.
 */
import type { ServerDeclaration } from "../components/config/declaration";
import { ownerFolder } from "../components/host/objectType";
import {
  dropAll,
  dropOlder,
  generation,
  generationName,
  type GenerationSpec,
  identityHash,
  listNotes,
  type Note,
  type NotedObject,
  putUnknown,
  readNotes,
} from "../components/host/objects/generation";
import { lockedScript, shellCommand } from "../components/host/script";
import { type Script, sh } from "../components/host/sh";
import { run } from "../support/process";
import { StepError } from "../support/progress";
import { projectName } from "../support/project";
import { checkServer } from "./checks";
import { type Context } from "./context";
import { scriptOn, sshCommand } from "./ssh";
import { pulumiEnvironment } from "./pulumi";
import { deployedStack, exportStack, type ExportedStack, urnName } from "./state";

const locked = (context: Context, server: ServerDeclaration, script: Script): Promise<string> =>
  scriptOn(context, server, lockedScript({ stack: server.name }, script));

interface There {
  /** Whether the server holds a stack of this project under this name. */
  readonly isOurs: boolean;
  /** The newest first. */
  readonly notes: readonly Note[];
}

/** Another project's are none of ours. */
export async function readThere(context: Context, server: ServerDeclaration): Promise<There> {
  const folder = ownerFolder({ stack: server.name });
  const script = sh`
    ${listNotes}
    [ "$(cat ${`${folder}/project`} 2>/dev/null)" = ${projectName(context.root)} ] || exit 0
    echo ours
    list_notes ${folder}
  `;
  const printed = await scriptOn(context, server, script.text);
  return { isOurs: printed.startsWith("ours"), notes: readNotes(printed) };
}

/** The hash of what the stack's last whole `up` noted. */
export function knownHash(state: ExportedStack | undefined, stack: string): string | undefined {
  const own = state === undefined ? undefined : deployedStack(stack, state).objects.find(({ type }) => type === generation.type);
  return (own?.spec as GenerationSpec | undefined)?.hash;
}

const namesIn = (state: ExportedStack | undefined): ReadonlySet<string> =>
  new Set((state?.deployment?.resources ?? []).map(({ urn }) => urnName(urn)));

/** Nothing of a note that somebody may have changed is run, and nothing that it may say is forgotten. */
function refuseBroken({ name }: ServerDeclaration, notes: readonly Note[]): void {
  const broken = notes.find(({ trouble }) => trouble !== undefined);
  if (broken === undefined) return;
  throw new StepError(
    name,
    broken.trouble ?? "",
    `Where it is in nobody's way any more: ssh ${name} rm ${broken.file}; what only it knew of an up that was cut off stays on the server then.`,
  );
}

/**
 * What the state has no resource of, or another one under the same name. The latter may still stand as the state has it, where an
 * `up` was cut off before it came to that: the check of it tells.
 */
async function unknownTo(
  context: Context,
  server: ServerDeclaration,
  state: ExportedStack | undefined,
  note: Note,
): Promise<NotedObject[]> {
  const made = new Map((state?.deployment?.resources ?? []).map((resource) => [urnName(resource.urn), resource.inputs?.triggers ?? []]));
  const missing = note.objects.filter(({ name }) => !made.has(name));
  const others = note.objects.filter(({ name, identityHash: hash }) => made.has(name) && identityHash(made.get(name) as string[]) !== hash);
  if (others.length === 0) return missing;
  const checks = await checkServer(context, server);
  const stands = new Set(checks.flatMap(({ name, result }) => (result === "ok" ? [name] : [])));
  return note.objects.filter((object) => missing.includes(object) || (others.includes(object) && !stands.has(object.name)));
}

/** Runs the file's own texts; the last made goes first. */
async function takeAway(context: Context, server: ServerDeclaration, { file }: Note, objects: readonly NotedObject[]): Promise<void> {
  if (objects.length > 0) await scriptOn(context, server, sh`sh ${file} remove ${objects.map(({ name }) => name)}`.text);
}

/** Of notes before the last one: what neither the last one nor the state has. */
async function takeAwayOlder(
  context: Context,
  server: ServerDeclaration,
  known: ReadonlySet<string>,
  [last, ...older]: readonly Note[],
): Promise<void> {
  const kept = new Set([...known, ...(last?.objects ?? []).map(({ name }) => name)]);
  for (const note of older)
    await takeAway(
      context,
      server,
      note,
      note.objects.filter(({ name }) => !kept.has(name)),
    );
}

/** Takes away what an `up` that was cut off has made and no state knows of; where no state knows anything, all, the claim last. */
export async function takeAwayUnknown(context: Context, server: ServerDeclaration): Promise<void> {
  const state = await exportStack(context.root, server.name);
  const { isOurs, notes } = await readThere(context, server);
  const known = namesIn(state);
  const hasClaim = known.has(`${server.name}-claim`);
  if (!isOurs || (hasClaim && notes.length === 1 && notes[0]?.hash === knownHash(state, server.name))) return;
  refuseBroken(server, notes);
  const [last] = notes;
  await takeAwayOlder(context, server, known, notes);
  if (last !== undefined) await takeAway(context, server, last, await unknownTo(context, server, state, last));
  await locked(context, server, hasClaim ? sh`${dropOlder}\nprune` : dropAll(projectName(context.root)));
}

/**
 * Before an `up`: what the one before it made and no state knows of is left, for scripts converge. It is noted; by that the `up`
 * takes away, before it makes anything, what is not declared as it was.
 */
export async function keepUnknown(context: Context, server: ServerDeclaration): Promise<void> {
  const state = await exportStack(context.root, server.name);
  const { notes } = await readThere(context, server);
  const [last] = notes;
  if (last === undefined || (notes.length === 1 && last.trouble === undefined && last.hash === knownHash(state, server.name))) return;
  refuseBroken(server, notes);
  await takeAwayOlder(context, server, namesIn(state), notes);
  await locked(context, server, putUnknown(await unknownTo(context, server, state, last)));
}

/**
 * After an `up` that ended well. Pulumi has deleted what its state knew; what an older note has beside that is of one that was cut
 * off, and goes. Then the last note is the only one.
 */
export async function settleNotes(context: Context, server: ServerDeclaration, before: ExportedStack | undefined): Promise<void> {
  const { notes } = await readThere(context, server);
  if (notes.length < 2) return;
  refuseBroken(server, notes.slice(1));
  const known = new Set([...namesIn(before), ...namesIn(await exportStack(context.root, server.name))]);
  await takeAwayOlder(context, server, known, notes);
  await locked(context, server, dropOlder);
}

/** Puts the note of what the state knows back, from the state. */
export async function restoreNote(context: Context, server: ServerDeclaration): Promise<void> {
  const { root } = context;
  const words = ["pulumi", "stack", "export", "--stack", server.name, "--show-secrets", "--non-interactive"];
  const state = JSON.parse(await run(words, { cwd: root, env: pulumiEnvironment(root) })) as ExportedStack;
  const resource = state.deployment?.resources?.find(({ urn }) => urnName(urn) === generationName(server.name));
  const packed = (resource?.inputs?.stdin as { plaintext?: string } | undefined)?.plaintext;
  if (packed === undefined) return;
  await run(sshCommand(server, shellCommand(server, "ensure")), { cwd: root, stdin: JSON.parse(packed) as string });
  await locked(context, server, dropOlder);
}
