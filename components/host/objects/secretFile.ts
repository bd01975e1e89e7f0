/** A secret that an authority on the hub has made as a file: printed for the other stacks. A note on the hub tells which content was handed out. */
import { type ObjectType, ownerFolder } from "../objectType";
import { sh } from "../sh";

export interface SecretFileSpec {
  /** Below the stack's folder. */
  readonly file: string;
}

const note = (file: string): string => `read.${file.replaceAll("/", "-")}`;

export const secretFile: ObjectType<SecretFileSpec> = {
  type: "secretFile",
  identity: ({ file }) => [file],
  ensure: ({ file }) => sh`
    [ -s "$folder/"${file} ] || fail ${`${file}: what makes this secret has not made it; flipflap up makes it again`}
    mkdir -p "$folder/saved"
    sha256sum <"$folder/"${file} >"$folder/saved/"${note(file)}
    cat "$folder/"${file}
  `,
  remove: ({ file }) => sh`forget ${note(file)}`,
  check: ({ file }, owner) => sh`
    if [ -e ${`${ownerFolder(owner)}/saved/${note(file)}`} ]; then
      if [ "$(sha256sum <${`${ownerFolder(owner)}/${file}`} 2>/dev/null)" = "$(cat ${`${ownerFolder(owner)}/saved/${note(file)}`})" ]; then echo current; else echo "an older one"; fi
    fi
  `,
  wanted: () => ({ handedOut: "current" }),
  found: (output) => (output.trim() === "" ? undefined : { handedOut: output.trim() }),
};
