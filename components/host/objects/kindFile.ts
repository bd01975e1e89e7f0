/** Files that kinds have for the agent, beside the systems' plans. It sees a file whole or not at all. */
import type { Owner } from "../objectType";
import { type Script, sh } from "../sh";
import { specsFolder } from "./agentFolders";

const folder = (owner: Owner): string => `${specsFolder(owner)}/kinds`;

export const kindFile = (owner: Owner, leaf: string): string => `${folder(owner)}/${leaf}`;

export const putKindFile = (owner: Owner, leaf: string, text: string): Script => sh`
  file=${kindFile(owner, leaf)}
  mkdir -p "\${file%/*}"
  printf '%s\n' ${text} >"$file.new"
  mv "$file.new" "$file"
`;

/** The folder goes with the last of them. */
export const dropKindFile = (owner: Owner, leaf: string): Script => sh`
  rm -f ${kindFile(owner, leaf)}
  rmdir ${folder(owner)} 2>/dev/null || :
`;
