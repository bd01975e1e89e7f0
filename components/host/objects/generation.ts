/**
 * What an `up` makes on a server, noted there before the first of it: names, types, and the text that takes each away. It is one
 * script, which needs neither the project's files nor its state. One that a stack's state does not know is of an `up` that was cut.
 */
import { createHash } from "node:crypto";
import { type CheckableType, type Owner, ownerFolder } from "../objectType";
import { prelude, takeLock } from "../script";
import { Script, sh } from "../sh";

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

/** Below the stack's folder: what stands or is being made; and of one that was cut off, the file, and what is to go of it. */
export const generationLeaf = { current: "generation", owed: "generation.owed", unknown: "generation.unknown" } as const;

const generationPath = (owner: Owner): string => `${ownerFolder(owner)}/${generationLeaf.current}`;

/** Puts the file of one that was cut off aside, with what no state knows of it. */
export const oweScript = (unknown: readonly NotedObject[], owner: Owner): Script => sh`
  cd ${ownerFolder(owner)}
  umask 077
  printf '%s\n' ${unknown.map(noteOf)} >.generation.unknown
  cp -p ${generationLeaf.current} .generation.owed
  sync .generation.unknown .generation.owed
  mv .generation.unknown ${generationLeaf.unknown}
  mv .generation.owed ${generationLeaf.owed}
`;

/** Of its resource. */
export const generationName = (stack: string): string => `${stack}-generation`;

const [current, owed, unknown] = [generationLeaf.current, generationLeaf.owed, generationLeaf.unknown].map((leaf) => new Script(leaf)) as [
  Script,
  Script,
  Script,
];

/** The script's own words for a sed: the name in such a comment. */
const nameInNote = `s/^# \\["[^"]*","\\([^"]*\\)".*/\\1/p`;

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

/**
 * As it goes over the wire and into the state: packed, for the texts say nearly the same a hundred times. What one that was cut
 * off made, and this one does not declare as it was, goes first.
 */
export const putGeneration = (packed: string): Script => sh`
  mkdir -p "$folder"
  umask 077
  printf %s ${packed} | base64 -d | gzip -dc >"$folder/.generation"
  sync "$folder/.generation"
  if [ -e "$folder/${owed}" ]; then
    set -- $(grep -vxFf "$folder/.generation" "$folder/${unknown}" | sed -n ${nameInNote})
    if [ "$#" != 0 ]; then sh "$folder/${owed}" remove-under-lock "$@"; fi
    rm -f "$folder/${owed}" "$folder/${unknown}"
  fi
  mv "$folder/.generation" "$folder/${current}"
  sync "$folder"
`;

export const dropGeneration: Script = sh`
  for leaf in .generation ${Object.values(generationLeaf)}; do rm -f "$folder/$leaf"; done
  prune
`;

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
