/**
 * What an `up` noted on a server before it made anything (components/host/objects/generation.ts), beside what the stack's state
 * knows: of an `up` that was cut off the state knows nothing, for it is written at the end alone.
 */
import type { ServerDeclaration } from "../components/config/declaration";
import { ownerFolder } from "../components/host/objectType";
import {
  generation,
  generationLeaf,
  generationName,
  type GenerationSpec,
  identityHash,
  type NotedObject,
  notesOf,
  oweScript,
  wholeGeneration,
} from "../components/host/objects/generation";
import { lockedScript, shellCommand } from "../components/host/script";
import { sh } from "../components/host/sh";
import { run } from "../support/process";
import { projectName } from "../support/project";
import { say, StepError } from "../support/progress";
import { type Context, runScript, sshCommand } from "./context";
import { deployedStack, exportStack, type ExportedStack, pulumiEnvironment, urnName } from "./pulumi";

/** One file on a server. */
export interface Noted {
  readonly leaf: string;
  /** Undefined where the file is cut off, or not root's alone. */
  readonly hash: string | undefined;
  readonly objects: readonly NotedObject[];
}

const title = "<<<flipflap generation";

async function scriptOn(
  context: Context,
  server: ServerDeclaration,
  text: string,
  timeoutSeconds = 60,
): Promise<{ stdout: string; stderr: string }> {
  const finished = await runScript(context, server, `${text}\n`, timeoutSeconds);
  if (finished.code !== 0) throw new StepError(server.name, finished.stderr.trim(), "Mend it and run this again.");
  return finished;
}

export async function readNoted(context: Context, server: ServerDeclaration): Promise<Noted[]> {
  const folder = ownerFolder({ stack: server.name });
  const script = sh`
    ${wholeGeneration}
    # Another project's is none of ours.
    [ "$(cat ${`${folder}/project`} 2>/dev/null)" = ${projectName(context.root)} ] || exit 0
    for leaf in ${[generationLeaf.owed, generationLeaf.current]}; do
      file=${folder}/$leaf
      [ -e "$file" ] || continue
      hash=$(whole_generation "$file") || hash=
      echo ${title} "$leaf" "$hash"
      if [ -n "$hash" ]; then grep '^# \[' "$file"; fi
    done
    true
  `;
  const { stdout, stderr } = await scriptOn(context, server, script.text);
  for (const line of stderr.split("\n").filter(Boolean)) say(`  !! ${server.name}: ${line}`);
  return stdout
    .split(`${title} `)
    .slice(1)
    .map((part) => {
      const [first = "", ...lines] = part.split("\n");
      const [leaf = "", hash = ""] = first.split(" ");
      return { leaf, hash: hash === "" ? undefined : hash, objects: notesOf(lines) };
    });
}

/** What the state has no resource of, or another one under the same name. */
function unknownTo(state: ExportedStack | undefined, noted: Noted): NotedObject[] {
  const made = new Map((state?.deployment?.resources ?? []).map((resource) => [urnName(resource.urn), resource.inputs?.triggers ?? []]));
  return noted.objects.filter((object) => {
    const triggers = made.get(object.name);
    return triggers === undefined || identityHash(triggers as string[]) !== object.identityHash;
  });
}

/** The hash of what the stack's last whole `up` noted. */
export function knownHash(state: ExportedStack | undefined, stack: string): string | undefined {
  const own = state === undefined ? undefined : deployedStack(stack, state).objects.find(({ type }) => type === generation.type);
  return (own?.spec as GenerationSpec | undefined)?.hash;
}

/** Whether an `up` began here of which the state says nothing. */
function isOpen(state: ExportedStack | undefined, stack: string, noted: readonly Noted[]): boolean {
  const known = knownHash(state, stack);
  return noted.some(({ leaf, hash }) => leaf === generationLeaf.owed || hash !== known);
}

/** Runs the file's own texts; the last made goes first. */
async function takeAway(context: Context, server: ServerDeclaration, { leaf }: Noted, objects: readonly NotedObject[]): Promise<void> {
  if (objects.length === 0) return;
  const file = `${ownerFolder({ stack: server.name })}/${leaf}`;
  await scriptOn(context, server, sh`sh ${file} remove ${objects.map(({ name }) => name)}`.text, 600);
}

/** Takes away what an `up` that was cut off has made and no state knows of. */
export async function takeAwayUnknown(context: Context, server: ServerDeclaration): Promise<void> {
  const state = await exportStack(context.root, server.name);
  const noted = await readNoted(context, server);
  if (!isOpen(state, server.name, noted)) return;
  for (const one of noted) await takeAway(context, server, one, unknownTo(state, one));
  const { current, owed, unknown } = generationLeaf;
  // The last file goes with its resource, where the state has that.
  const isKnown = state?.deployment?.resources?.some(({ urn }) => urnName(urn) === generationName(server.name)) === true;
  const leaves = [owed, unknown, ...(isKnown ? [] : [current])];
  const script = sh`
    for leaf in ${leaves}; do rm -f "$folder/$leaf"; done
    prune
  `;
  await scriptOn(context, server, lockedScript({ stack: server.name }, script));
}

/**
 * Before an `up`: what the one before it made and no state knows of is left, for scripts converge. The note of it is put aside;
 * with that the `up` takes away, before it makes anything, what is not declared as it was. True where there is such a note.
 */
export async function keepOwed(context: Context, server: ServerDeclaration): Promise<boolean> {
  const state = await exportStack(context.root, server.name);
  const noted = await readNoted(context, server);
  if (!isOpen(state, server.name, noted)) return false;
  const [older, open] = [generationLeaf.owed, generationLeaf.current].map((leaf) =>
    noted.find((one) => one.leaf === leaf && one.hash !== undefined),
  );
  if (open === undefined) return true;
  if (older !== undefined) {
    // Of two that were cut off: what the second does not have is nobody's any more.
    const later = new Set(open.objects.map(({ name }) => name));
    await takeAway(
      context,
      server,
      older,
      unknownTo(state, older).filter(({ name }) => !later.has(name)),
    );
  }
  const owner = { stack: server.name };
  await scriptOn(context, server, lockedScript(owner, oweScript(unknownTo(state, open), owner)));
  return true;
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
}
