/** The network virtualization authority (RFC 7365): what the hub holds so that the NVEs of a network know of one another. */
import * as pulumi from "@pulumi/pulumi";
import { renderChain, type Site } from "../host/hostObject";
import type { NetworkPlan } from "../testbed/plan";

export interface NvaArgs {
  readonly plan: NetworkPlan;
  readonly site: Site;
  readonly after: readonly pulumi.Resource[];
}

export class Nva extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(name: string, args: NvaArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:nva:Nva", name, {}, options);
    this.ready = renderChain(name, args.plan.nva, args.site, { parent: this, dependsOn: [...args.after] });
    this.registerOutputs({});
  }
}
