/** The stacks that a server says it holds, whoever's they are: what no state is needed for. */
import type { ServerDeclaration } from "../components/config/declaration";
import { stackLabel } from "../components/host/objectType";
import { removeExperimentRules } from "../components/host/objects/experimentRules";
import { dockerAnswers, dropAll, listNotes, type Note, type NotedObject, readNotes } from "../components/host/objects/generation";
import { lockedScript } from "../components/host/script";
import { type Script, sh } from "../components/host/sh";
import { type Context } from "./context";
import { scriptOn } from "./ssh";
import { settle } from "./strays";

export interface StackThere {
  readonly stack: string;
  /** Whose it is: an ID, and the machine where its project is or was. */
  readonly project: string;
  readonly lastUp: string;
  /** The newest first; none where an `up` was cut off before it began, or a `down` after all was gone. */
  readonly notes: readonly Note[];
}

/** What goes with a stack: each object once, as the newest note has it. */
export const objectsOf = ({ notes }: StackThere): NotedObject[] => [
  ...new Map(notes.flatMap(({ objects }) => objects.map((object): [string, NotedObject] => [object.name, object])).reverse()).values(),
];

const title = "<<<flipflap stack";

export async function readStacksThere(context: Context, server: ServerDeclaration): Promise<StackThere[]> {
  const script = sh`
    ${listNotes}
    for folder in /var/lib/flipflap/*/; do
      [ -e "$folder/project" ] || continue
      folder=\${folder%/}
      echo ${title}
      echo "\${folder##*/}"
      cat "$folder/project"; echo
      date -u -r "$folder/generation" +%Y-%m-%dT%H:%MZ 2>/dev/null || echo
      list_notes "$folder"
    done
    true
  `;
  const printed = await scriptOn(context, server, script.text);
  return printed
    .split(`${title}\n`)
    .slice(1)
    .map((part) => {
      const [stack = "", project = "", lastUp = ""] = part.split("\n");
      return { stack, project, lastUp, notes: readNotes(part) };
    });
}

/** Takes all of a stack away by its own notes, and puts back what was saved. The claim goes last: until then all can be tried again. */
export async function giveBack(context: Context, server: ServerDeclaration, { stack, project, notes }: StackThere): Promise<void> {
  const owner = { stack };
  const rules = lockedScript(owner, removeExperimentRules);
  const [last, ...older] = notes;
  const names = new Set((last?.objects ?? []).map(({ name }) => name));
  const removal = ({ file, objects }: Note): Script => sh`sh ${file} remove ${objects.map(({ name }) => name)}`;
  const removals = [
    ...older.map((note) => ({ ...note, objects: note.objects.filter(({ name }) => !names.has(name)) })),
    ...(last === undefined ? [] : [last]),
  ].filter(({ objects }) => objects.length > 0);
  const text = sh`
    set -e
    ${dockerAnswers}
    # In its own order first. What no note names may be in the way then: a container that was replaced, a killed experiment's.
    ${removals.map((note) => sh`${removal(note)} 2>/dev/null || :`)}
    docker ps -a -q --filter label=${`${stackLabel}=${stack}`} | xargs -r docker rm -f -v >/dev/null
  `;
  const rest = sh`
    set -e
    ${removals.map(removal)}
  `;
  const parts = [text.text, rules, rest.text, lockedScript(owner, dropAll(project))];
  // Not `( ... ) || exit`: the shell forgets `set -e` there.
  const script = parts.map((part) => `(\n${part}\n)\n[ $? = 0 ] || exit 1\n`).join("");
  await settle(context, server, script, { isAnyProjects: true });
}
