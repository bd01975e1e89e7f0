/** Whose a stack's name is on a server: two projects may have stacks of one name, and one server holds one of them. */
import { type ObjectType, type Owner, ownerFolder } from "../objectType";
import { type Script, sh } from "../sh";

export interface ClaimSpec {
  /** The project, in words that its owner knows. */
  readonly project: string;
}

/**
 * Before a script that no object of the project's state asks for (recovery, repair): ends it where the stack's name is another
 * project's on this server. What has the stack's mark there is that project's.
 */
export const refuseOthers = (project: string, { stack }: Owner): Script => sh`
  holder=$(cat ${`${ownerFolder({ stack })}/project`} 2>/dev/null || :)
  case $holder in
    "" | ${project}) ;;
    *) printf '%s\n' "this server holds a stack "${stack}" of another project ($holder), which is left alone: destroy it from there, or rename the stack here (the name of its file Pulumi."${stack}".yaml); if that project is lost for ever, flipflap reclaim gives the server back, and flipflap adopt takes the stack over" >&2; exit 1 ;;
  esac
`;

export const claim: ObjectType<ClaimSpec> = {
  type: "claim",
  identity: ({ project }) => [project],
  ensure: ({ project }, owner) => sh`
    ${refuseOthers(project, owner)}
    mkdir -p "$folder"
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
