/** An image on a server: loaded over SSH from the archive in this machine's cache. */
import { local } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { ImageSource } from "../../../images/find";
import { stackLabel } from "../objectType";
import { isPreloaded, removeImage, shortId } from "../preloaded";
import { lockedScript, shellCommand } from "../script";
import { type Script, sh } from "../sh";
import { sshConfigPath } from "../sshConfig";
import type { Site } from "./hostObject";

/** Notes that the image is ours, before it comes: one that was there already is somebody's, and stays. */
function markScript(image: ImageSource, { owner }: Site): string {
  return lockedScript(owner, sh`save ${saved(image)} ${image.tag}`);
}

/** Takes away our name for it, and with the last name the image. */
const removal = (image: ImageSource, { owner }: Site): Script => sh`
  ${removeImage}
  if [ -e "$folder/saved/"${saved(image)} ]; then
    # One that a container of others stands on is theirs now; one of ours goes first.
    if [ ${isPreloaded(image)} ]; then
      forget ${saved(image)}
    elif ! docker image inspect ${image.id} >/dev/null 2>&1 || [ -n "$(docker ps -a -q --filter ancestor=${image.id})" ]; then
      if [ -z "$(docker ps -a -q --filter ancestor=${image.id} --filter label=${`${stackLabel}=${owner.stack}`})" ]; then forget ${saved(image)}; fi
    else
      remove_image ${image.id} ${image.tag}
      forget ${saved(image)}
    fi
  fi
`;

const saved = (image: ImageSource): string => `image.${shortId(image)}`;

/**
 * The tag in `create` is what decides: same tag, same content. The archive is found by the script itself,
 * so that nothing of this machine's folders gets into the state.
 */
export function renderImage(
  prefix: string,
  image: ImageSource,
  site: Site,
  options: { parent: pulumi.Resource; dependsOn: pulumi.Resource[] },
): local.Command {
  const ssh = sh`ssh -F ${sshConfigPath} ${site.server.name}`;
  const send = sh`node_modules/.bin/tsx components/host/sendImage.ts ${image.name} ${site.server.name}`;
  const onServer = (script: string) => sh`printf %s ${script} | ${ssh} ${shellCommand(site.server, "")}`;
  const name = `${prefix}-${image.name.replaceAll(/[^A-Za-z0-9-]+/g, "-")}`;
  site.deployed.add({ type: "image", name, spec: { imageId: image.id }, identity: [image.id], remove: removal(image, site) });
  return new local.Command(
    name,
    {
      create: sh`${ssh} docker image inspect ${image.id} >/dev/null 2>&1 || { ${onServer(markScript(image, site))} && ${send}; }`.text,
      delete: onServer(lockedScript(site.owner, removal(image, site))).text,
      triggers: [image.id],
      addPreviousOutputInEnv: false,
    },
    { ...options, deleteBeforeReplace: false },
  );
}
