/** A folder of ours, below the stack's own; goes with what is in it. */
import { type ObjectType, ownerFolder } from "../objectType";
import { sh } from "../sh";

export interface FolderSpec {
  readonly folder: string;
}

export const folder: ObjectType<FolderSpec> = {
  type: "folder",
  identity: (spec) => [spec.folder],
  ensure: (spec, owner) => sh`mkdir -p ${`${ownerFolder(owner)}/${spec.folder}`}`,
  remove: (spec, owner) => sh`
    rm -rf ${`${ownerFolder(owner)}/${spec.folder}`}
    prune
  `,
  check: (spec, owner) => sh`if [ -d ${`${ownerFolder(owner)}/${spec.folder}`} ]; then echo present; fi`,
  wanted: () => ({ present: true }),
  found: (output) => (output.trim() === "present" ? { present: true } : undefined),
};
