/** A VPN site as Pulumi's resources: what its gateway is told, before its container is there, and its tunnels, after. */
import * as pulumi from "@pulumi/pulumi";
import type { GatewayPlan } from "../../capabilities/vpn/plan";
import { renderObject, type Site } from "../../host/resources/hostObject";

export interface VpnSiteArgs {
  readonly plan: GatewayPlan;
  readonly site: Site;
  readonly after: readonly pulumi.Resource[];
}

export class VpnSite extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(
    private readonly args: VpnSiteArgs,
    options?: pulumi.ComponentResourceOptions,
  ) {
    super("flipflap:vpn:VpnSite", `${args.plan.name}-site`, {}, options);
    this.ready = [this.render(args.plan.config, args.after)];
    this.registerOutputs({ gateway: args.plan.system });
  }

  /** Once all gateways of the server can speak. */
  establish(after: readonly pulumi.Resource[]): void {
    this.render(this.args.plan.tunnels, after);
  }

  private render(object: GatewayPlan["config"], after: readonly pulumi.Resource[]): pulumi.Resource {
    return renderObject(this.args.plan.system, object, this.args.site, { parent: this, dependsOn: [...after] });
  }
}
