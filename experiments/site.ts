/**
 * Where is measured: the servers of what is deployed and its systems. The tools come from a container of ours on each
 * server; they enter the systems' network namespaces, so that no system's image needs them.
 */
import { type Declaration, findNetwork, type ServerDeclaration } from "../components/config/declaration";
import type { Network } from "../components/config/types.gen";
import { stackLabel } from "../components/host/objectType";
import { type Script, sh } from "../components/host/sh";
import { kindOf } from "../components/kinds/registry";
import { networkContexts } from "../components/plan/contexts";
import { planServer } from "../components/plan/plan";
import { isBare } from "../components/plan/systems";
import { sshCommand } from "../deploy/ssh";
import { findImage } from "../images/find";
import { run } from "../support/process";
import type { Cell } from "./cells";

/** The holder of the tools on each server. It has the stack's mark: one that a killed run left is a stray, which repair removes. */
export const holderContainer = "ff-bench";

/** Where a program of a measurement runs. */
export interface End {
  readonly server: ServerDeclaration;
  readonly name: string;
  readonly address: string;
  /** Absent: the server itself. */
  readonly system?: { readonly device: string; readonly namespace: "container" | "bare"; readonly holder: string };
}

export type Ends = { readonly from: End; readonly to: End } | { readonly impossible: string };

export class Site {
  /** Of the holders and of the systems' containers, by server and name. */
  private readonly pids = new Map<string, string>();

  constructor(
    readonly root: string,
    readonly declaration: Declaration,
  ) {}

  server(name: string): ServerDeclaration {
    const found = this.declaration.servers.find((server) => server.name === name);
    if (found === undefined) throw new Error(`no server ${name}`);
    return found;
  }

  /** As the login that is declared, which may not be root's. */
  ssh(server: string, command: string, timeoutSeconds?: number): Promise<string> {
    const declared = this.server(server);
    const words = declared.user === "root" ? command : sh`sudo -n sh -c ${command}`.text;
    return run(sshCommand(declared, words), { cwd: this.root, ...(timeoutSeconds !== undefined && { timeoutSeconds }) });
  }

  /** Starts the holders, after taking away what a killed run left. */
  async open(): Promise<void> {
    const { id } = findImage(this.root, "tools");
    await this.close();
    await Promise.all(
      this.declaration.servers.map(async ({ name }) => {
        const label = `${stackLabel}=${name}`;
        await this.ssh(name, sh`docker run -d --name ${holderContainer} --network host --label ${label} ${id} >/dev/null`.text);
        const listed = await this.ssh(
          name,
          sh`docker ps -q --filter label=${label} | xargs -r docker inspect -f '{{.Name}} {{.State.Pid}}'`.text,
        );
        for (const line of listed.trim().split("\n")) {
          const [container = "", pid = ""] = line.split(" ");
          this.pids.set(`${name}${container}`, pid);
        }
      }),
    );
  }

  async close(): Promise<void> {
    const remove = sh`if docker inspect ${holderContainer} >/dev/null 2>&1; then docker rm -f ${holderContainer} >/dev/null; fi`.text;
    await Promise.all(this.declaration.servers.map(({ name }) => this.ssh(name, remove)));
  }

  /** A system by its name, at its interface in a network (default: its first). */
  system(name: string, network?: string): End {
    for (const server of this.declaration.servers) {
      const plan = planServer(this.declaration, server).systems.find((s) => s.system.name === name);
      const iface = plan?.interfaces.find((i) => network === undefined || i.network === network);
      const address = iface?.addresses[0]?.split("/")[0];
      if (plan === undefined || iface === undefined || address === undefined) continue;
      const bare = isBare(plan);
      const holder = bare ? `ff-${name}` : plan.container;
      return { server, name, address, system: { device: iface.name, namespace: bare ? "bare" : "container", holder } };
    }
    throw new Error(`no system ${name}`);
  }

  itself(name: string): End {
    const server = this.server(name);
    return { server, name, address: server.underlay.ipv4.split("/")[0] ?? "" };
  }

  /** In an end's network namespace, by the tools of the holder. */
  exec(end: End, script: Script, timeoutSeconds?: number): Promise<string> {
    const pid = this.pids.get(`${end.server.name}/${holderContainer}`) ?? "";
    const { system } = end;
    const namespace =
      system === undefined
        ? []
        : [
            system.namespace === "bare"
              ? `--net=/run/netns/${system.holder}`
              : `--net=/proc/${this.pidOf(end.server.name, system.holder)}/ns/net`,
          ];
    return this.ssh(end.server.name, sh`nsenter -t ${pid} -m ${namespace} sh -c ${script.text}`.text, timeoutSeconds);
  }

  private pidOf(server: string, container: string): string {
    const pid = this.pids.get(`${server}/${container}`);
    if (pid === undefined) throw new Error(`${container} does not run on ${server}; flipflap status tells more`);
    return pid;
  }

  /** Server to server, the way that every path is compared with. */
  baseline(): { from: End; to: End } {
    const [to, from] = this.declaration.servers;
    if (to === undefined || from === undefined) throw new Error("a testbed with one server has no link to compare with");
    return { from: this.itself(from.name), to: this.itself(to.name) };
  }

  /** The systems between which a cell is measured. */
  ends({ network: name, placement }: Pick<Cell, "network" | "placement">): Ends {
    const network = findNetwork(this.declaration, name);
    if (network === undefined) return { impossible: `the testbed has no network "${name}"` };
    const found = this.pair(network, placement);
    if (found === undefined)
      return {
        impossible:
          placement === "across" ? "it has no two systems on two servers that reach one another" : "it has no two systems on one server",
      };
    return { from: this.system(found[0], name), to: this.system(found[1], name) };
  }

  private pair(network: Network, placement: Cell["placement"]): readonly [string, string] | undefined {
    for (const server of this.declaration.servers) {
      const context = networkContexts(this.declaration, server).get(network.name);
      if (context === undefined) continue;
      const here = context.members.filter((member) => member.server === server.name);
      if (placement === "same-server") {
        const [to, from] = here;
        if (to !== undefined && from !== undefined) return [from.system, to.system];
        continue;
      }
      for (const to of here)
        for (const from of context.members)
          if (from.server !== server.name && kindOf(network).reaches(context, from, to)) return [from.system, to.system];
    }
    return undefined;
  }
}
