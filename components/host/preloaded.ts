/** Images that somebody wanted on a server before anything stands there: they stay until they are pruned, whatever comes and goes. */
import type { ImageSource } from "../../images/find";
import { type Script, sh } from "./sh";

/** No stack is called so. */
const folder = "/var/lib/flipflap/.preloaded";

export const shortId = ({ id }: Pick<ImageSource, "id">): string => id.replace("sha256:", "").slice(0, 12);

/** A word for `[`. */
export const isPreloaded = (image: ImageSource): Script => sh`-e ${`${folder}/${shortId(image)}`}`;

/** Before the image comes; prints what is to be done: "send", or nothing where it is there: "kept", and "theirs" where it came without us. */
export const keepScript = (image: ImageSource): Script => sh`
  set -e
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

/** A line each image of flipflap there: how it came, and its name. */
export const listScript = sh`
  set -e
  docker images --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' --filter reference='flipflap/*' | while read -r id tag; do
    short=$(printf %s "\${id#sha256:}" | cut -c 1-12)
    if [ -e ${folder}/"$short" ]; then echo "preloaded $tag"; else echo "there $tag"; fi
  done
`;

/** Takes away what was preloaded, but for what a container or a stack stands on; a line each. */
export const pruneScript = sh`
  set -e
  for mark in ${folder}/*; do
    [ -e "$mark" ] || continue
    id=$(basename "$mark") tag=$(cat "$mark")
    if ! docker image inspect "$id" >/dev/null 2>&1; then
      rm "$mark"
    elif [ -n "$(docker ps -a -q --filter ancestor="$id")" ]; then
      echo "used $tag"
    elif ls /var/lib/flipflap/*/saved/image."$id" >/dev/null 2>&1; then
      # Loaded by a stack before: it goes with the stack.
      rm "$mark"
      echo "left $tag"
    else
      docker image rm "\${tag:-$id}" >/dev/null
      rm "$mark"
      echo "gone $tag"
    fi
  done
  rm -f ${folder}/.new
  [ ! -d ${folder} ] || rmdir --ignore-fail-on-non-empty ${folder}
  [ ! -d /var/lib/flipflap ] || rmdir --ignore-fail-on-non-empty /var/lib/flipflap
`;
