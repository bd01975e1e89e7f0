/** This stack's part of a testbed: one server with all that it holds. */
import * as pulumi from "@pulumi/pulumi";
import { Agent } from "../agent";
import { type Declaration, findServer } from "../config/declaration";
import { renderObject, type Site } from "../host/hostObject";
import type { DeployedObject } from "../host/objectType";
import { Nva } from "../nva";
import { Nve } from "../nve";
import { Secrets } from "../secrets";
import { Server } from "../server";
import { TenantSystem } from "../tenantSystem";
import { planServer } from "./plan";

export interface TestbedArgs {
  readonly root: string;
  readonly declaration: Declaration;
}

export class Testbed extends pulumi.ComponentResource {
  /** What the stack shows: the systems and their addresses. */
  readonly systems: Readonly<Record<string, readonly string[]>>;
  /** What arose on the hub, for the other stacks; undefined where nothing did. */
  readonly secrets: pulumi.Output<Record<string, string>> | undefined;

  constructor(stack: string, args: TestbedArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:testbed:Testbed", stack, {}, options);
    const { declaration, root } = args;
    const declared = findServer(declaration, stack);
    if (declared === undefined) throw new Error(`stack ${stack} has no file Pulumi.${stack}.yaml`);
    const plan = planServer(declaration, declared);
    const objects: DeployedObject[] = [];
    const site: Site = { server: declared, owner: { stack }, deployed: { add: (object) => objects.push(object) } };
    const parent = { parent: this };

    const used = plan.systems.flatMap(({ system }) => (system.files ?? []).flatMap((file) => file.secret ?? []));
    const secrets = new Secrets(`${stack}-secrets`, { declaration, server: declared, used: [...new Set(used)] }, parent);
    const secret = (name: string): pulumi.Output<string> => secrets.values[name] ?? pulumi.output("");

    const server = new Server(stack, { root, plan, site }, parent);
    const agent = new Agent(`${stack}-agent`, { plan, server, site }, parent);
    const ready = new Map<string, pulumi.Resource[]>();
    for (const network of plan.networks) {
      const name = network.network.name;
      const nva = network.nva.length === 0 ? [] : new Nva(`${name}-nva`, { plan: network, site, after: server.ready }, parent).ready;
      ready.set(name, new Nve(name, { plan: network, site, after: [...server.ready, ...nva] }, parent).ready);
    }
    const systems = plan.systems.map((system) => {
      const networks = system.members.flatMap((member) => ready.get(member.network) ?? []);
      return new TenantSystem(system.system.name, { plan: system, server, site, secret, after: [...agent.ready, ...networks] }, parent);
    });
    renderObject(stack, plan.attached, site, { parent: this, dependsOn: systems.flatMap((system) => system.ready) });

    this.systems = Object.fromEntries(plan.systems.map((s) => [s.system.name, s.attach.spec.interfaces.flatMap((i) => i.addresses)]));
    this.secrets = declared.hub && Object.keys(secrets.values).length > 0 ? pulumi.secret(pulumi.all(secrets.values)) : undefined;
    // For the CLI, which reads the state: a stack's own outputs are for people.
    this.registerOutputs({ objects, testbed: declaration.name });
  }
}
