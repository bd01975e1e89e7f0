/** A VPN as Pulumi's resources: a site's gateway, and each tunnel as that gateway has it. */
import * as pulumi from "@pulumi/pulumi";
import { renderObject, type Site } from "../host/hostObject";
import type { GatewayPlan, TunnelPlan } from "./plan";

interface Common {
  readonly site: Site;
  readonly after: readonly pulumi.Resource[];
}

/** What strongSwan is told stands before its container does. */
export class VpnSite extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(gateway: GatewayPlan, { site, after }: Common, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:vpn:VpnSite", `${gateway.name}-site`, {}, options);
    this.ready = [renderObject(gateway.system, gateway.config, site, { parent: this, dependsOn: [...after] })];
    this.registerOutputs({ gateway: gateway.system });
  }
}

export class VpnTunnel extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(tunnel: TunnelPlan, { site, after }: Common, options?: pulumi.ComponentResourceOptions) {
    const name = `${tunnel.name}-at-${tunnel.gateway}`;
    super("flipflap:vpn:VpnTunnel", name, {}, options);
    this.ready = tunnel.objects.map((object) => renderObject(name, object, site, { parent: this, dependsOn: [...after] }));
    this.registerOutputs({});
  }
}
