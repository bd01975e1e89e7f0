/** The attach agent of a server (agent/): a container that joins containers to networks, now and after each restart. */
import * as pulumi from "@pulumi/pulumi";
import { specsFolder, statusFolder } from "../../host/objects/agentFolders";
import { bpffs } from "../../host/objects/programs";
import { renderContainer } from "../../host/resources/container";
import { renderObject } from "../../host/resources/hostObject";
import { renderSentFile } from "../../host/resources/sentFile";
import { deviceGroup, ownContainers } from "../../net/names";
import type { ServerPlan } from "../../plan/plan";
import { fileOf, type PartsSite } from "../parts";
import type { Server } from "../server";

export interface AgentArgs {
  readonly plan: ServerPlan;
  readonly server: Server;
  readonly site: PartsSite;
  /** What the kinds' files come from: the authorities, where this server has them. */
  readonly after: readonly pulumi.Resource[];
}

export class Agent extends pulumi.ComponentResource {
  readonly ready: pulumi.Resource[];

  constructor(name: string, args: AgentArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:agent:Agent", name, {}, options);
    const { plan, server, site } = args;
    const folders = renderObject(name, plan.agentFolders, site, { parent: this, dependsOn: [...server.ready, ...args.after] });
    const needed = plan.kinds.flatMap(({ shared }) => shared.agent ?? []);
    const objects = [...needed.flatMap((need) => need.parts), ...[...plan.additions.values()].flatMap(({ agent = [] }) => agent)];
    const sent = [...plan.additions.values()].flatMap(({ files = [] }) =>
      files.map((file) => renderSentFile(name, file, site, { parent: this, dependsOn: [folders] })),
    );
    const parts = objects.map((part) => renderObject(name, part, site, { parent: this, dependsOn: [folders, ...sent] }));
    const files = needed.flatMap((need) => need.files.map((file) => fileOf(file, site)));
    const { source, resource } = server.image("agent");
    const container = renderContainer(
      `${name}-container`,
      {
        container: ownContainers.agent,
        image: source,
        command: ["/agent", "run", "-stack", site.owner.stack, "-device-group", String(deviceGroup(site.owner.stack))],
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
          // Mounted later, too: a server without systemd has none after a power cut until repair.
          { server: bpffs, container: bpffs, mountsFollow: true },
        ],
        ...(files.length > 0 && { files }),
      },
      server.docker,
      site,
      { parent: this, dependsOn: [folders, ...parts, resource] },
    );
    this.ready = [container];
    this.registerOutputs({});
  }
}
