/** The attach agent of a server (agent/): a container that joins containers to networks, now and after each restart. */
import * as pulumi from "@pulumi/pulumi";
import { renderContainer } from "../host/container";
import { renderObject, type Site } from "../host/hostObject";
import { specsFolder, statusFolder } from "../host/objects/agentFolders";
import { ownContainers } from "../net/names";
import type { Server } from "../server";
import type { ServerPlan } from "../testbed/plan";

export interface AgentArgs {
  readonly plan: ServerPlan;
  readonly server: Server;
  readonly site: Site;
}

export class Agent extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(name: string, args: AgentArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:agent:Agent", name, {}, options);
    const { plan, server, site } = args;
    const folders = renderObject(name, plan.agentFolders, site, { parent: this, dependsOn: server.ready });
    const { source, resource } = server.image("agent");
    const container = renderContainer(
      `${name}-container`,
      {
        container: ownContainers.agent,
        image: source,
        command: ["/agent", "run", "-stack", site.owner.stack],
        labels: {},
        // Links and routes; entering namespaces; reading those of processes that are not its own.
        capabilities: ["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"],
        networkMode: "host",
        folders: [
          { server: specsFolder(site.owner), container: "/specs", readOnly: true },
          { server: statusFolder(site.owner), container: "/status" },
          // The container's own /proc is read-only where sysctls are.
          { server: "/proc", container: "/host/proc" },
          { server: "/var/run/docker.sock", container: "/var/run/docker.sock" },
        ],
      },
      server.docker,
      site,
      { parent: this, dependsOn: [folders, resource] },
    );
    this.ready = [container];
    this.registerOutputs({});
  }
}
