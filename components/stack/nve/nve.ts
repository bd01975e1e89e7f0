/** The network virtualization edge (RFC 7365): what a server needs to take part in a network, or in the networks of a kind. */
import * as pulumi from "@pulumi/pulumi";
import type { Part } from "../../kinds/parts";
import { type PartsSite, renderParts } from "../parts";

export interface NveArgs {
  readonly parts: readonly Part[];
  readonly site: PartsSite;
  /** What must be there before: the server's settings. */
  readonly after: readonly pulumi.Resource[];
}

export class Nve extends pulumi.ComponentResource {
  /** What a system's attach depends on. */
  readonly ready: pulumi.Resource[];

  constructor(name: string, args: NveArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:nve:Nve", name, {}, options);
    this.ready = renderParts(name, args.parts, args.site, { parent: this, dependsOn: [...args.after] });
    this.registerOutputs({});
  }
}
