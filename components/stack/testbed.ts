/** This stack's part of a testbed: one server with all that it holds. */
import * as pulumi from "@pulumi/pulumi";
import { type Declaration, declarationHash, findServer, firstHub, kept } from "../config/declaration";
import { Generation } from "../host/resources/generation";
import { renderObject, type Site } from "../host/resources/hostObject";
import { planServer, type ServerPlan } from "../plan/plan";
import { secretsOf } from "../plan/secrets";
import { Agent } from "./agent";
import { Nva } from "./nva";
import { Nve } from "./nve";
import type { PartsSite } from "./parts";
import { Secrets } from "./secrets";
import { Server } from "./server";
import { TenantSystem } from "./tenantSystem";

export interface TestbedArgs {
  readonly root: string;
  /** Whose the stack is, beside its name. */
  readonly project: string;
  readonly declaration: Declaration;
}

export class Testbed extends pulumi.ComponentResource {
  /** What the stack shows: the systems and their addresses. */
  readonly systems: Readonly<Record<string, readonly string[]>>;
  /** What arose on the hub, for the other stacks; undefined where nothing did. */
  readonly secrets: pulumi.Output<Record<string, string>> | undefined;

  constructor(stack: string, args: TestbedArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:testbed:Testbed", stack, {}, options);
    const { declaration, root, project } = args;
    const declared = findServer(declaration, stack);
    if (declared === undefined) throw new Error(`stack ${stack} has no file Pulumi.${stack}.yaml`);
    const plan = planServer(declaration, declared);
    const owner = { stack };
    const generation = new Generation(declared, owner, project);
    const site: Site = { server: declared, owner, deployed: generation };
    const parent = { parent: this };

    const all = secretsOf(declaration);
    const secrets = new Secrets(`${stack}-secrets`, { declaration, server: declared, all, used: plan.secrets }, parent);
    const secret = (name: string): pulumi.Output<string> => secrets.values[name] ?? pulumi.output("");

    const server = new Server(stack, { root, project, plan, site, generation }, parent);
    const partsSite = { ...site, host: server, secret };
    const authorities = this.authorities(plan, partsSite, server.ready);
    const made = [...authorities.values()].flat();
    secrets.readFiles(site, made);
    const agent = new Agent(`${stack}-agent`, { plan, server, site: partsSite, after: made }, parent);
    const ready = this.networks(plan, partsSite, authorities, server.ready, agent.ready);
    const systems = plan.systems.map((system) => {
      const networks = system.members.flatMap((member) => ready.get(member.network) ?? []);
      const after = [...agent.ready, ...new Set(networks)];
      return new TenantSystem(system.system.name, { plan: system, server, site: partsSite, secret, after }, parent);
    });
    const attached = renderObject(stack, plan.attached, site, { parent: this, dependsOn: systems.flatMap((system) => system.ready) });
    for (const { kind, shared } of plan.kinds)
      if (shared.parting !== undefined) renderObject(`${kind}_edge`, shared.parting, site, { parent: this, dependsOn: [attached] });
    for (const [name, { settled = [] }] of plan.additions)
      for (const object of settled) renderObject(`${name}_settled`, object, site, { parent: this, dependsOn: [attached] });
    for (const { addition } of systems) addition?.establish([attached]);
    generation.seal();

    this.systems = Object.fromEntries(plan.systems.map((s) => [s.system.name, s.interfaces.flatMap((i) => i.addresses)]));
    this.secrets =
      firstHub(declaration) === declared && Object.keys(secrets.values).length > 0 ? pulumi.secret(pulumi.all(secrets.values)) : undefined;
    // For the CLI, which reads the state: a stack's own outputs are for people.
    this.registerOutputs({
      objects: generation.objects,
      testbed: declaration.name,
      declaration: declarationHash(declaration),
      // A text: a state does not keep the order of keys.
      deployed: JSON.stringify(kept(declaration)),
      isLab: declared.isLab,
    });
  }

  /** What the edges wait for, by their kinds. */
  private authorities(plan: ServerPlan, site: PartsSite, after: readonly pulumi.Resource[]): Map<string, pulumi.Resource[]> {
    const made = new Map<string, pulumi.Resource[]>();
    for (const { kind, shared } of plan.kinds) {
      if (shared.authority === undefined) continue;
      made.set(kind, new Nva(`${kind}_nva`, { ...shared.authority, site, after }, { parent: this }).ready);
    }
    for (const [name, { authority }] of plan.additions)
      if (authority !== undefined) made.set(name, new Nva(`${name}_nva`, { ...authority, site, after }, { parent: this }).ready);
    return made;
  }

  /** What a system waits for, by the names of its networks. The underscore: no name of a user has one. */
  private networks(
    plan: ServerPlan,
    site: PartsSite,
    authorities: ReadonlyMap<string, pulumi.Resource[]>,
    after: readonly pulumi.Resource[],
    agent: readonly pulumi.Resource[],
  ): Map<string, pulumi.Resource[]> {
    const parent = { parent: this };
    const ready = new Map<string, pulumi.Resource[]>();
    for (const { kind, shared } of plan.kinds) {
      const { edge, joints, settled } = shared;
      // What the agent does for a kind on the server comes before what needs it.
      const nva = [...(authorities.get(kind) ?? after), ...(shared.agent === undefined ? [] : agent)];
      const shore = edge.length === 0 ? nva : new Nve(`${kind}_edge`, { parts: edge, site, after: nva }, parent).ready;
      const own = plan.networks.filter(({ network }) => network.kind === kind);
      for (const { network, nve } of own) ready.set(network.name, new Nve(network.name, { parts: nve, site, after: shore }, parent).ready);
      if (joints.length > 0) {
        const made = new Nve(
          `${kind}_routing`,
          { parts: joints, site, after: own.flatMap(({ network }) => ready.get(network.name) ?? []) },
          parent,
        );
        for (const { network } of own) ready.set(network.name, made.ready);
      }
      for (const object of settled) renderObject(`${kind}_edge`, object, site, { parent: this, dependsOn: [...shore, ...agent] });
    }
    return ready;
  }
}
