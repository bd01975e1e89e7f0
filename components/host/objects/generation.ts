/**
 * What an `up` makes on a server, noted there before the first of it: names, types, and the text that takes each away. It is one
 * script, which needs neither the project's files nor its state. One that a stack's state does not know is of an `up` that was cut.
 */
import { createHash } from "node:crypto";
import { type CheckableType, type Owner, ownerFolder, stackLabel } from "../objectType";
import { prelude, takeLock } from "../script";
import { Script, sh } from "../sh";
import { refuseOthers } from "./claim";

export interface GenerationSpec {
  readonly hash: string;
}

/** One object, in the order in which they are made. */
export interface GenerationEntry {
  readonly type: string;
  readonly name: string;
  /** Where one of these differs, it is another object under the same name. */
  readonly identity: readonly string[];
  /** Takes it away; touches own marks only. */
  readonly remove: Script;
}

/** An object as the file's comments say it. */
export interface NotedObject {
  readonly type: string;
  readonly name: string;
  readonly identityHash: string;
}

const head = "# flipflap generation 1";

const hashOf = (text: string): string => createHash("sha256").update(text).digest("hex");

export const identityHash = (identity: readonly string[]): string => hashOf(JSON.stringify(identity)).slice(0, 16);

const noteOf = ({ type, name, identityHash: hash }: NotedObject): string => `# ${JSON.stringify([type, name, hash])}`;

/** Of a file, the comments that say what it holds. */
export const notesOf = (lines: readonly string[]): NotedObject[] =>
  lines.flatMap((line) => {
    if (!line.startsWith("# [")) return [];
    const [type, name, hash] = JSON.parse(line.slice(2)) as [string, string, string];
    return [{ type, name, identityHash: hash }];
  });

/** Where the texts of containers find those that are there, and ours. */
export const containersVariable = new Script("containers");

/** Where it does not, that nothing is listed is no sign that nothing is there. */
export const dockerAnswers: Script = sh`docker version >/dev/null 2>&1 || { echo "dockerd does not answer: start it, and run this again" >&2; exit 1; }`;

const dockerPart = ({ stack }: Owner): Script => sh`
  if command -v docker >/dev/null; then
    ${dockerAnswers}
    ${containersVariable}=" $(docker ps -a --filter label=${`${stackLabel}=${stack}`} --format '{{.Names}}' | tr '\n' ' ')"
  fi
`;

/**
 * `sh FILE remove NAME...` takes these away, the last made first; without names all. What fails is named, and the rest goes all
 * the same. Who has the server's lock says remove-under-lock.
 */
export function generationFile(entries: readonly GenerationEntry[], owner: Owner): { text: string; hash: string } {
  const removals = entries.map(({ remove }, i) => `o${i}() {\n${remove.text}\n}`);
  const cases = entries.map(({ name }, i) => sh`  ${name}) echo o${i} ;;`.text);
  const all = [...entries.keys()].reverse().map((i) => `o${i}`);
  const body = [
    head,
    ...entries.map(({ type, name, identity }) => noteOf({ type, name, identityHash: identityHash(identity) })),
    prelude(owner, ...removals).text,
    ...removals,
    "name_of() {\n  case $1 in",
    ...entries.map(({ name }, i) => sh`  o${i}) printf '%s\n' ${name} ;;`.text),
    "  esac\n}",
    "function_of() {\n  case $1 in",
    ...cases,
    "  esac\n}",
    `case $1 in remove) ${takeLock} ;; remove-under-lock) ;; *) exit 2 ;; esac`,
    "shift",
    removals.some((text) => /\bdocker\b/.test(text)) ? dockerPart(owner).text : "",
    "wanted=' '",
    'for name in "$@"; do wanted="$wanted$(function_of "$name") "; done',
    "set +e",
    "failed=0",
    `for each in ${all.join(" ")}; do`,
    '  if [ "$#" != 0 ]; then case $wanted in *" $each "*) ;; *) continue ;; esac; fi',
    '  (set -e; "$each") </dev/null',
    '  if [ $? != 0 ]; then printf \'%s: not taken away\\n\' "$(name_of "$each")" >&2; failed=1; fi',
    "done",
    'exit "$failed"',
    "",
  ].join("\n");
  const hash = hashOf(body);
  return { text: `${body}# ${hash}\n`, hash };
}

/** Below the stack's folder: the note of the last `up` that began; older ones have a hash behind a dot, until an `up` has ended. */
const current = "generation";
const older = "generation.[0-9a-f]*";
/** What no state knows of the last note's objects, while an `up` is about to begin. */
const unknown = "generation.unknown";

/** Prints the hash of a file that is whole and root's alone; fails with a sentence where it is not: whole_generation FILE */
export const wholeGeneration: Script = sh`
  whole_generation() {
    [ "$(stat -c '%u %a' "$1")" = "0 600" ] || { echo "$1: others than root may have written it; nothing of it is run" >&2; return 1; }
    [ "$(head -n 1 "$1")" = ${head} ] || { echo "$1: another version of flipflap wrote it, or nobody" >&2; return 1; }
    _hash=$(head -n -1 "$1" | sha256sum)
    _hash=\${_hash%% *}
    [ "$(tail -n 1 "$1")" = "# $_hash" ] || { echo "$1: it is cut off, or was changed; nothing of it is run" >&2; return 1; }
    echo "$_hash"
  }
`;

const noteTitle = "<<<flipflap note";

/** Prints the notes below a folder, the newest first, for `readNotes`: list_notes FOLDER. */
export const listNotes: Script = sh`
  ${wholeGeneration}
  list_notes() {
    for _file in "$1"/${new Script(current)} $(ls -t "$1"/${new Script(older)} 2>/dev/null); do
      [ -e "$_file" ] || continue
      _whole=$(whole_generation "$_file" 2>&1) && _is=whole || _is=broken
      echo ${noteTitle}
      echo "$_file"
      echo "$_is"
      echo "$_whole"
      if [ "$_is" = whole ]; then grep '^# \[' "$_file" || :; fi
    done
  }
`;

/** One file on a server. */
export interface Note {
  readonly file: string;
  readonly hash: string;
  /** Why nothing of it can be run. */
  readonly trouble?: string;
  readonly objects: readonly NotedObject[];
}

/** From what `list_notes` printed. */
export const readNotes = (printed: string): Note[] =>
  printed
    .split(`${noteTitle}\n`)
    .slice(1)
    .map((part) => {
      const [file = "", is = "", whole = "", ...lines] = part.split("\n");
      return is === "whole" ? { file, hash: whole, objects: notesOf(lines) } : { file, hash: "", trouble: whole, objects: [] };
    });

/** Before an `up`: which of the last note's objects no state knows. */
export const putUnknown = (objects: readonly NotedObject[]): Script => sh`
  umask 077
  printf '%s\n' ${objects.map(noteOf)} >"$folder/.${new Script(unknown)}"
  sync "$folder/.${new Script(unknown)}"
  mv "$folder/.${new Script(unknown)}" "$folder/${new Script(unknown)}"
`;

/** The notes that an `up` which has ended leaves behind. */
export const dropOlder: Script = sh`rm -f "$folder"/${new Script(older)} "$folder"/${new Script(unknown)} "$folder"/.generation "$folder"/.${new Script(unknown)}`;

/** The last of all that goes of a stack: the notes, and the claim, by which what is left is known. */
export const dropAll = (project: string): Script => sh`
  ${dropOlder}
  rm -f "$folder/${new Script(current)}"
  if [ "$(cat "$folder/project" 2>/dev/null)" = ${project} ]; then rm -f "$folder/project"; fi
  prune
`;

/** For a sed: the name in such a comment. */
const nameInNote = `s/^# \\["[^"]*","\\([^"]*\\)".*/\\1/p`;

/**
 * As it goes over the wire and into the state: packed, for the texts say nearly the same a hundred times. What an `up` that was cut
 * off made, and this one does not declare as it was, goes first. The note before stays until an `up` has ended: Pulumi deletes last.
 */
export const putGeneration = (packed: string, project: string, owner: Owner): Script => sh`
  ${refuseOthers(project, owner)}
  mkdir -p "$folder"
  umask 077
  note=$folder/${new Script(current)}
  unknown=$folder/${new Script(unknown)}
  if ! printf %s ${packed} | base64 -d | gzip -dc >"$folder/.generation" || ! sync "$folder/.generation"; then
    rm -f "$folder/.generation"
    fail "no room in $folder for the note of what is made on this server: make some, and run this again; nothing was changed"
  fi
  if [ -e "$unknown" ] && [ -e "$note" ]; then
    set -- $(grep -vxFf "$folder/.generation" "$unknown" | sed -n ${nameInNote})
    if [ "$#" != 0 ]; then sh "$note" remove-under-lock "$@"; fi
  fi
  rm -f "$unknown"
  if [ -e "$note" ] && ! cmp -s "$note" "$folder/.generation"; then
    before=$(sha256sum <"$note")
    mv "$note" "$note.$(printf %.12s "$before")"
  fi
  mv "$folder/.generation" "$note"
  sync "$folder"
`;

/** All that the state knows is gone. What other notes name is of an \`up\` that was cut off, and goes too. */
export const dropGeneration = (hash: string, project: string): Script => sh`
  if [ "$(cat "$folder/project" 2>/dev/null)" = ${project} ]; then
    for note in "$folder"/${new Script(current)} "$folder"/${new Script(older)}; do
      if [ -e "$note" ] && [ "$(tail -n 1 "$note")" != ${`# ${hash}`} ]; then sh "$note" remove-under-lock; fi
    done
    ${dropOlder}
    rm -f "$folder/${new Script(current)}"
  fi
  prune
`;

/** Of its resource. */
export const generationName = (stack: string): string => `${stack}-generation`;

const generationPath = (owner: Owner): string => `${ownerFolder(owner)}/${current}`;

const shortHash = (hash: string): string => hash.slice(0, 12);

export const generation: CheckableType<GenerationSpec> = {
  type: "generation",
  check: (_, owner) => sh`
    ${wholeGeneration}
    if [ -e ${generationPath(owner)} ]; then whole_generation ${generationPath(owner)} 2>/dev/null || echo broken; fi
  `,
  wanted: ({ hash }) => ({ lastUp: shortHash(hash) }),
  found: (output) => (output.trim() === "" ? undefined : { lastUp: shortHash(output.trim()) }),
};
