/** Renders what a kind plans: host objects and containers, one after the other. */
import * as pulumi from "@pulumi/pulumi";
import { declare, type HostObject, ownerFolder } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { type ContainerFile, fileMode, renderContainer } from "../../host/resources/container";
import { renderObject, type Site } from "../../host/resources/hostObject";
import { type ContainerPlan, isContainer, type Part, type SecretText } from "../../kinds/parts";
import type { Server } from "../server";

/** Where parts go, and where their images and secrets come from. */
export interface PartsSite extends Site {
  readonly host: Server;
  readonly secret: (name: string) => pulumi.Output<string>;
}

interface PartsOptions {
  readonly parent: pulumi.Resource;
  readonly dependsOn: pulumi.Resource[];
}

function contentOf(text: SecretText, site: PartsSite): pulumi.Input<string> {
  if (text.every((piece) => typeof piece === "string")) return text.join("");
  return pulumi
    .all(text.map((piece) => (typeof piece === "string" ? piece : site.secret(piece.secret))))
    .apply((pieces) => pieces.join(""));
}

/** A planned file as a container takes it. */
export const fileOf = ({ path, content }: { readonly path: string; readonly content: SecretText }, site: PartsSite): ContainerFile => ({
  path,
  content: contentOf(content, site),
  mode: fileMode(content.some((piece) => typeof piece !== "string")),
});

function renderPlannedContainer(
  prefix: string,
  name: string,
  plan: ContainerPlan,
  site: PartsSite,
  options: PartsOptions,
): pulumi.Resource {
  const { source, resource } = site.host.image(plan.image);
  const after = { parent: options.parent, dependsOn: [...options.dependsOn, resource] };
  const { container, dockerNetwork, command } = plan;
  if (dockerNetwork !== undefined) {
    const holder = declare(objectTypes.overlayHolder, "holder", { container, dockerNetwork, command, imageId: source.id });
    return renderObject(prefix, holder as HostObject, site, after);
  }
  return renderContainer(
    name,
    {
      container,
      image: source,
      command,
      labels: {},
      capabilities: plan.capabilities,
      networkMode: "host",
      files: plan.files.map((file) => fileOf(file, site)),
      ...(plan.folders.length > 0 && {
        folders: plan.folders.map((folder) => ({
          server: folder.server.startsWith("/") ? folder.server : `${ownerFolder(site.owner)}/${folder.server}`,
          container: folder.container,
          readOnly: folder.isWritten !== true,
          mountsFollow: folder.mountsFollow ?? false,
        })),
      }),
    },
    site.host.docker,
    site,
    after,
  );
}

/** What the last of them stands for: the rest was made before it. */
export function renderParts(prefix: string, parts: readonly Part[], site: PartsSite, options: PartsOptions): pulumi.Resource[] {
  let before = options.dependsOn;
  let hasContainer = false;
  const made: pulumi.Resource[] = [];
  for (const part of parts) {
    const next = { parent: options.parent, dependsOn: before };
    // A second container has a name of its own.
    const name = isContainer(part) && hasContainer ? `${prefix}-${part.container}` : `${prefix}-container`;
    hasContainer ||= isContainer(part);
    const resource = isContainer(part) ? renderPlannedContainer(prefix, name, part, site, next) : renderObject(prefix, part, site, next);
    made.push(resource);
    before = [resource];
  }
  return made.length === 0 ? options.dependsOn : made;
}
