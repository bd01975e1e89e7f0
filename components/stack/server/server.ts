/** A server: its facts, settings and images, each put back on destroy. */
import { remote } from "@pulumi/command";
import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { findImage, type ImageSource } from "../../../images/find";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { dockerProvider, sshConnection } from "../../host/resources/connection";
import type { Generation } from "../../host/resources/generation";
import { renderObject, type Site } from "../../host/resources/hostObject";
import { renderImage } from "../../host/resources/image";
import { shellCommand } from "../../host/script";
import type { ServerPlan } from "../../plan/plan";
import { factsScript } from "./scripts";

export interface ServerArgs {
  /** Where the project's files are: archives of images are named from there. */
  readonly root: string;
  readonly project: string;
  readonly plan: ServerPlan;
  readonly site: Site;
  readonly generation: Generation;
}

export class Server extends pulumi.ComponentResource {
  /** Kernel, tools and NICs, read once. */
  readonly facts: pulumi.Output<unknown>;
  readonly docker: docker.Provider;
  /** What must be there before networks and systems are. */
  readonly ready: pulumi.Resource[];
  private readonly images = new Map<string, { source: ImageSource; resource: pulumi.Resource }>();

  constructor(name: string, args: ServerArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:server:Server", name, {}, options);
    const { plan, site } = args;
    const claim = renderObject(name, declare(objectTypes.claim, "claim", { project: args.project }) as HostObject, site, { parent: this });
    const noted = args.generation.render({ parent: this, dependsOn: [claim] });
    const facts = new remote.Command(
      `${name}-facts`,
      {
        connection: sshConnection(site.server),
        create: shellCommand(site.server, ""),
        stdin: factsScript(plan.requirements, plan.routing, site.owner),
        addPreviousOutputInEnv: false,
      },
      { parent: this, dependsOn: [noted] },
    );
    this.facts = facts.stdout.apply((text) => JSON.parse(text) as unknown);
    this.docker = dockerProvider(site.server, this);
    const objects = plan.settings.map((object) => renderObject(name, object, site, { parent: this, dependsOn: [facts] }));
    this.ready = [facts, ...objects];
    // One after the other: docker (20.10) unpacks a layer that two of them share once, where they do not come at once.
    let before: pulumi.Resource = facts;
    for (const image of plan.images) {
      const source = findImage(args.root, image);
      before = renderImage(`${name}-image`, source, site, { parent: this, dependsOn: [before] });
      this.images.set(image, { source, resource: before });
    }
    this.registerOutputs({ facts: this.facts });
  }

  /** An image of the plan, and what a container of it depends on. */
  image(name: string): { source: ImageSource; resource: pulumi.Resource } {
    const found = this.images.get(name);
    if (found === undefined) throw new Error(`image ${name} is not in the plan of this server`);
    return found;
  }
}
