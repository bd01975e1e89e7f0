/** The network virtualization authority (RFC 7365): what a hub holds so that the edges know of one another. */
import * as pulumi from "@pulumi/pulumi";
import type { Part } from "../../kinds/parts";
import { type PartsSite, renderParts } from "../parts";

export interface NvaArgs {
  /** The kind's word for it: RouteServer. */
  readonly component: string;
  readonly parts: readonly Part[];
  readonly site: PartsSite;
  readonly after: readonly pulumi.Resource[];
}

export class Nva extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(name: string, args: NvaArgs, options?: pulumi.ComponentResourceOptions) {
    super(`flipflap:nva:${args.component}`, name, {}, options);
    this.ready = renderParts(name, args.parts, args.site, { parent: this, dependsOn: [...args.after] });
    this.registerOutputs({});
  }
}
