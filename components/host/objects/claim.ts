/** Whose a stack's name is on a server: two projects may have stacks of one name, and one server holds one of them. */
import { type ObjectType, ownerFolder } from "../objectType";
import { sh } from "../sh";

export interface ClaimSpec {
  /** The project, in words that its owner knows. */
  readonly project: string;
}

export const claim: ObjectType<ClaimSpec> = {
  type: "claim",
  identity: ({ project }) => [project],
  ensure: ({ project }, owner) => sh`
    mkdir -p "$folder"
    if [ -e "$folder/project" ] && [ "$(cat "$folder/project")" != ${project} ]; then
      fail "this server holds a stack "${owner.stack}" of another project ($(cat "$folder/project")): destroy it there, or name this stack otherwise; if that project is lost, remove $folder/project and what it made (marks flipflap:"${owner.stack}":)"
    fi
    printf '%s' ${project} >"$folder/.project"
    mv "$folder/.project" "$folder/project"
  `,
  remove: ({ project }) => sh`
    if [ "$(cat "$folder/project" 2>/dev/null)" = ${project} ]; then rm -f "$folder/project"; fi
    prune
  `,
  check: (_, owner) => sh`cat ${`${ownerFolder(owner)}/project`} 2>/dev/null || :`,
  wanted: ({ project }) => ({ project }),
  found: (output) => (output.trim() === "" ? undefined : { project: output.trim() }),
};
