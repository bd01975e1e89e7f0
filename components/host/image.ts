/** An image on a server: loaded over SSH from the archive in this machine's cache. */
import { local } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { ImageSource } from "../../images/find";
import type { Site } from "./hostObject";
import { sh } from "./sh";
import { sshConfigPath } from "./sshConfig";

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
  return new local.Command(
    `${prefix}-${image.name.replaceAll(/[^A-Za-z0-9-]+/g, "-")}`,
    {
      create:
        sh`${ssh} docker image inspect ${image.id} >/dev/null 2>&1 || node_modules/.bin/tsx images/archive.ts ${image.name} | ${ssh} docker load -q`
          .text,
      delete: sh`if ${ssh} docker image inspect ${image.id} >/dev/null 2>&1; then ${ssh} docker image rm ${image.id} >/dev/null; fi`.text,
      triggers: [image.id],
      addPreviousOutputInEnv: false,
    },
    { ...options, deleteBeforeReplace: false },
  );
}
