/** Images that somebody wanted on a server before anything stands there: they stay until they are pruned, whatever comes and goes. */
import type { ImageSource } from "../../images/find";
import { dockerAnswers } from "./objects/generation";
import { type Script, sh } from "./sh";

/** No stack is called so. */
const folder = "/var/lib/flipflap/.preloaded";

export const shortId = ({ id }: Pick<ImageSource, "id">): string => id.replace("sha256:", "").slice(0, 12);

/** A word for `[`. */
export const isPreloaded = (image: ImageSource): Script => sh`-e ${`${folder}/${shortId(image)}`}`;

/** Takes away our name for an image, and with the last name the image: not a name that is another image's by now: remove_image ID NAME */
export const removeImage: Script = sh`
  remove_image() {
    if [ -n "$2" ] && [ "$(docker image inspect -f '{{.Id}}' "$2" 2>/dev/null)" = "$1" ]; then docker image rm "$2" >/dev/null
    elif [ "$(docker image inspect -f '{{len .RepoTags}}' "$1" 2>/dev/null)" = 0 ]; then docker image rm "$1" >/dev/null
    fi
  }
`;

/** Before the image comes; prints "send" where it is not there, "kept" where we brought it, and "theirs" where it came without us. */
export const keepScript = (image: ImageSource): Script => sh`
  set -e
  ${dockerAnswers}
  what=send
  if docker image inspect ${image.id} >/dev/null 2>&1; then
    what=kept
    if [ ! ${isPreloaded(image)} ] && ! ls /var/lib/flipflap/*/saved/image.${shortId(image)} >/dev/null 2>&1; then what=theirs; fi
  fi
  if [ "$what" != theirs ]; then
    mkdir -p ${folder}
    printf '%s' ${image.tag} >${`${folder}/.new`}
    sync ${`${folder}/.new`}
    mv ${`${folder}/.new`} ${`${folder}/${shortId(image)}`}
  fi
  echo "$what"
`;

/** A line each image there: its ID, and whether it was preloaded. */
export const listScript = sh`
  ${dockerAnswers}
  docker images -q --no-trunc | sort -u | while read -r id; do
    short=$(printf %s "\${id#sha256:}" | cut -c 1-12)
    if [ -e ${folder}/"$short" ]; then echo "$id preloaded"; else echo "$id there"; fi
  done
`;

/** Takes away what was preloaded, but for what a container or a stack stands on; a line each. */
export const pruneScript = sh`
  set -e
  ${dockerAnswers}
  ${removeImage}
  for mark in ${folder}/*; do
    [ -e "$mark" ] || continue
    tag=$(cat "$mark")
    id=$(docker image inspect -f '{{.Id}}' "$(basename "$mark")" 2>/dev/null) || id=
    if [ -n "$id" ] && [ -n "$(docker ps -a -q --filter ancestor="$id")" ]; then
      echo "used \${tag:-$id}"
      continue
    fi
    if [ -z "$id" ]; then :
    elif ls /var/lib/flipflap/*/saved/image."$(basename "$mark")" >/dev/null 2>&1; then
      # Loaded by a stack before: it goes with the stack.
      echo "left \${tag:-$id}"
    elif remove_image "$id" "$tag"; then
      echo "gone \${tag:-$id}"
    else
      echo "failed \${tag:-$id}"
      continue
    fi
    rm "$mark"
  done
  rm -f ${folder}/.new
  [ ! -d ${folder} ] || rmdir --ignore-fail-on-non-empty ${folder}
  [ ! -d /var/lib/flipflap ] || rmdir --ignore-fail-on-non-empty /var/lib/flipflap
`;
