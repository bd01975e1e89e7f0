/** What a capability makes of a system, as Pulumi's resources: what comes before its container is there, and what after. */
import * as pulumi from "@pulumi/pulumi";
import type { SystemAddition } from "../../capabilities/capability";
import type { HostObject } from "../../host/objectType";
import { renderObject, type Site } from "../../host/resources/hostObject";

export interface AdditionArgs {
  readonly plan: SystemAddition;
  readonly site: Site;
  readonly after: readonly pulumi.Resource[];
}

export class Addition extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(
    private readonly args: AdditionArgs,
    options?: pulumi.ComponentResourceOptions,
  ) {
    super(args.plan.component.type, args.plan.component.name, {}, options);
    this.ready = [this.render(args.plan.before, args.after)];
    this.registerOutputs({ system: args.plan.system });
  }

  /** Once all systems of the server can speak. */
  establish(after: readonly pulumi.Resource[]): void {
    this.render(this.args.plan.after, after);
  }

  private render(object: HostObject, after: readonly pulumi.Resource[]): pulumi.Resource {
    return renderObject(this.args.plan.system, object, this.args.site, { parent: this, dependsOn: [...after] });
  }
}
