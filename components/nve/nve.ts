/** The network virtualization edge (RFC 7365): what a server needs to take part in a network. */
import * as pulumi from "@pulumi/pulumi";
import { renderChain, type Site } from "../host/hostObject";
import type { NetworkPlan } from "../testbed/plan";

export interface NveArgs {
  readonly plan: NetworkPlan;
  readonly site: Site;
  /** What must be there before: the server's settings. */
  readonly after: readonly pulumi.Resource[];
}

export class Nve extends pulumi.ComponentResource {
  /** What a system's attach depends on. */
  readonly ready: pulumi.Resource[];

  constructor(name: string, args: NveArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:nve:Nve", name, {}, options);
    const { plan, site, after } = args;
    this.ready = renderChain(name, plan.nve, site, { parent: this, dependsOn: [...after] });
    this.registerOutputs({ kind: plan.network.kind, mtuBytes: plan.mtuBytes });
  }
}
