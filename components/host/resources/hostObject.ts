/** Renders host objects as remote commands. */
import { remote } from "@pulumi/command";
import type * as pulumi from "@pulumi/pulumi";
import type { ServerDeclaration } from "../../config/declaration";
import type { DeployedObject, HostObject, Owner } from "../objectType";
import type { GenerationEntry } from "../objects/generation";
import { objectScript, shellCommand } from "../script";
import { sshConnection } from "./connection";

/** Where a component's objects go: the server, its owner mark, and what was made so far, for the stack's outputs. */
export interface Site {
  readonly server: ServerDeclaration;
  readonly owner: Owner;
  readonly deployed: DeployedList;
}

export type Deployed = DeployedObject & GenerationEntry;

export interface DeployedList {
  add(object: Deployed): void;
}

/** One resource for one kernel object or atomic table. */
export function renderObject(
  prefix: string,
  object: HostObject,
  site: Site,
  options: { parent: pulumi.Resource; dependsOn?: pulumi.Input<pulumi.Input<pulumi.Resource>[]> },
  /** What it prints is a secret. */
  { isSecret = false } = {},
): remote.Command {
  const name = `${prefix}-${object.name}`;
  const named = { ...object, name };
  const remove = object.type.remove(object.spec, site.owner, name);
  site.deployed.add({ type: object.type.type, name, spec: object.spec, identity: object.type.identity(object.spec), remove });
  return new remote.Command(
    name,
    {
      connection: sshConnection(site.server),
      // The first create undoes what it half did: it leaves no state, so nothing else ever would.
      create: shellCommand(site.server, "first"),
      update: shellCommand(site.server, "ensure"),
      delete: shellCommand(site.server, "remove"),
      stdin: objectScript(named, site.owner),
      triggers: [...object.type.identity(object.spec)],
      addPreviousOutputInEnv: false,
      ...(isSecret && { logging: remote.Logging.None }),
    },
    // A replace is otherwise create before delete, and the old remove takes away what the new ensure just made.
    {
      ...options,
      deleteBeforeReplace: object.type.createBeforeDelete !== true,
      ...(isSecret && { additionalSecretOutputs: ["stdout"] }),
    },
  );
}
