/** The stacks that a server says it holds, whoever's they are: what no state is needed for. */
import type { ServerDeclaration } from "../components/config/declaration";
import { ownerFolder, stackLabel } from "../components/host/objectType";
import { generationLeaf, type NotedObject, notesOf, wholeGeneration } from "../components/host/objects/generation";
import { lockedScript } from "../components/host/script";
import { sh } from "../components/host/sh";
import { StepError } from "../support/progress";
import { type Context, runScript, sshTrouble } from "./context";
import { settle } from "./strays";

export interface StackThere {
  readonly stack: string;
  /** Whose it is: an ID, and the machine where its project is or was. */
  readonly project: string;
  readonly lastUp: string;
  readonly objects: readonly NotedObject[];
  /** Why nothing of its note can be run. */
  readonly trouble: string | undefined;
}

const title = "<<<flipflap stack";

export async function readStacksThere(context: Context, server: ServerDeclaration): Promise<StackThere[]> {
  const script = sh`
    ${wholeGeneration}
    for folder in /var/lib/flipflap/*/; do
      [ -e "$folder/project" ] || continue
      stack=\${folder%/}
      file="$folder"${generationLeaf.current}
      trouble=
      if [ -e "$file" ]; then trouble=$(whole_generation "$file" 2>&1 >/dev/null) || :; else trouble="it has no note of what stands here: a flipflap before these notes made it"; fi
      echo ${title}
      echo "\${stack##*/}"
      cat "$folder/project"; echo
      if [ -e "$file" ]; then date -u -r "$file" +%Y-%m-%dT%H:%MZ; else echo; fi
      echo "$trouble"
      if [ -z "$trouble" ]; then grep '^# \[' "$file"; fi
    done
    true
  `;
  const finished = await runScript(context, server, `${script.text}\n`);
  if (finished.code !== 0) throw new StepError(server.name, sshTrouble(server, finished), "Mend it and run this again.");
  return finished.stdout
    .split(`${title}\n`)
    .slice(1)
    .map((part) => {
      const [stack = "", project = "", lastUp = "", trouble = "", ...notes] = part.split("\n");
      return { stack, project, lastUp, trouble: trouble === "" ? undefined : trouble, objects: notesOf(notes) };
    });
}

/** Takes all of a stack away by its own note, the claim last, and puts back what was saved. */
export async function giveBack(context: Context, server: ServerDeclaration, { stack, objects }: StackThere): Promise<void> {
  const owner = { stack };
  const folder = ownerFolder(owner);
  const isClaim = ({ type }: NotedObject): boolean => type === "claim";
  const namesOf = (those: readonly NotedObject[]): string[] => those.map(({ name }) => name);
  const [claims, others] = [objects.filter(isClaim), objects.filter((object) => !isClaim(object))];
  const [current, owed] = [generationLeaf.current, generationLeaf.owed].map((leaf) => `${folder}/${leaf}`) as [string, string];
  const remove = sh`
    set -e
    # Of an up that was cut off.
    if [ -e ${owed} ]; then sh ${owed} remove $(sed -n 's/^# \["[^"]*","\([^"]*\)".*/\1/p' ${owed} | grep -vxF ${namesOf(claims).flatMap((name) => ["-e", name])}); fi
    sweep() { docker ps -a -q --filter label=${`${stackLabel}=${stack}`} | xargs -r docker rm -f -v >/dev/null; }
    # A container that its note does not name may be in the way.
    sh ${current} remove ${namesOf(others)} 2>/dev/null || { sweep; sh ${current} remove ${namesOf(others)}; }
    sweep
    sh ${current} remove ${namesOf(claims)}
  `;
  const last = sh`
    for leaf in ${Object.values(generationLeaf)}; do rm -f "$folder/$leaf"; done
    prune
  `;
  await settle(context, server, `(\n${remove.text}\n) || exit 1\n(\n${lockedScript(owner, last)})\n`, { isAnyProjects: true });
}
