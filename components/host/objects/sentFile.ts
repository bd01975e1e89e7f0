/** A file of the project on a server, known by its content's hash. A local command sends it. */
import type { CheckableType } from "../objectType";
import { type Script, sh } from "../sh";

export interface SentFileSpec {
  /** On the server; the hash is in the name, so that an old one and a new one stand beside each other. */
  readonly to: string;
  /** SHA-256. */
  readonly hash: string;
}

/** As it is planned. */
export interface SentFile extends SentFileSpec {
  /** Of the resource. */
  readonly name: string;
  /** Relative to the project. */
  readonly path: string;
}

/** From its input, compressed. */
export const receive = ({ to, hash }: SentFileSpec, name: string): Script => sh`
  set -eu
  file=${to}
  mkdir -p "\${file%/*}"
  gzip -dc >"$file.new"
  sum=$(sha256sum <"$file.new")
  if [ "\${sum%% *}" != ${hash} ]; then rm -f "$file.new"; echo ${`${name} is not what it was when it was read: run this again`} >&2; exit 1; fi
  mv "$file.new" "$file"
`;

/** The folder goes with the last of them. */
export const dropSentFile = ({ to }: SentFileSpec): Script => sh`
  rm -f ${to} ${to}.new
  rmdir ${to.slice(0, to.lastIndexOf("/"))} 2>/dev/null || :
`;

export const sentFile: CheckableType<SentFileSpec> = {
  type: "sentFile",
  check: ({ to }) => sh`if [ -e ${to} ]; then sha256sum <${to}; fi`,
  wanted: ({ hash }) => ({ hash }),
  found: (output) => (output.trim() === "" ? undefined : { hash: output.trim().split(" ")[0] ?? "" }),
};
