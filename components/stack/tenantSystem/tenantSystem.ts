/** A tenant system: a container, joined to its networks by the server's agent, or a namespace. */
import * as pulumi from "@pulumi/pulumi";
import type { File } from "../../config/types.gen";
import { ownerFolder } from "../../host/objectType";
import { fileMode, renderContainer } from "../../host/resources/container";
import { renderObject } from "../../host/resources/hostObject";
import { type ContainerSystem, imageOf, isBare, type SystemPlan } from "../../plan/systems";
import { fileOf, type PartsSite } from "../parts";
import type { Server } from "../server";
import { Addition } from "../systemAddition";

export interface TenantSystemArgs {
  readonly plan: SystemPlan;
  readonly server: Server;
  readonly site: PartsSite;
  /** The networks' NVEs and the agent. */
  readonly after: readonly pulumi.Resource[];
  readonly secret: (name: string) => pulumi.Output<string>;
}

export class TenantSystem extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];
  /** Of a capability, where it has a part in one. */
  readonly addition: Addition | undefined;

  constructor(name: string, args: TenantSystemArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:tenantSystem:TenantSystem", name, {}, options);
    const { plan, site, after } = args;
    const addition = isBare(plan) ? undefined : plan.addition;
    this.addition = addition && new Addition({ plan: addition, site, after }, { parent: this });
    if (isBare(plan)) {
      this.ready = [renderObject(name, plan.namespace, site, { parent: this, dependsOn: [...args.after] })];
      this.registerOutputs({});
    } else {
      this.ready = [this.container(name, plan, args)];
      this.registerOutputs({ container: plan.container });
    }
  }

  private container(name: string, plan: ContainerSystem, { server, site, after, secret }: TenantSystemArgs): pulumi.Resource {
    const { system, addition } = plan;
    // The agent limits processes.
    const { processes: _, ...limits } = system.limits ?? {};
    // The plan comes first: the agent attaches the container the moment it starts.
    const attach = renderObject(name, plan.attach, site, { parent: this, dependsOn: [...after] });
    const { source, resource } = server.image(imageOf(plan));
    const content = (file: File): pulumi.Input<string> => (file.secret === undefined ? (file.content ?? "") : secret(file.secret));
    const files = [
      ...(system.files ?? []).map((file) => ({
        path: file.path,
        content: content(file),
        mode: file.mode ?? fileMode(file.secret !== undefined),
      })),
      ...(addition?.files ?? []).map((file) => fileOf(file, site)),
    ];
    return renderContainer(
      `${name}-container`,
      {
        container: plan.container,
        image: source,
        networkMode: "none",
        isStartedElsewhere: plan.startedByAgent,
        hostname: system.name,
        capabilities: [...new Set([...(system.capabilities ?? ["NET_ADMIN", "NET_RAW"]), ...(addition?.capabilities ?? [])])],
        labels: {
          ...system.labels,
          "flipflap.system": system.name,
          "flipflap.tenant": system.tenant,
          // Docker numbers interfaces on for as long as a container lives: other networks of docker's take a new container.
          ...(plan.dockerNetworks.length > 0 && { "flipflap.docker-networks": plan.dockerNetworks.join(" ") }),
        },
        ...(system.command && { command: system.command }),
        ...(system.env && { environment: system.env as Record<string, string> }),
        ...limits,
        ...(files.length > 0 && { files }),
        ...(addition !== undefined && {
          command: addition.command,
          devices: addition.devices,
          folders: [{ ...addition.folder, server: `${ownerFolder(site.owner)}/${addition.folder.server}`, readOnly: true }],
        }),
      },
      server.docker,
      site,
      { parent: this, dependsOn: [attach, resource, ...(this.addition?.ready ?? [])] },
    );
  }
}
