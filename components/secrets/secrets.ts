/** Secrets that arise at `up` on the hub; other stacks read them from the hub's outputs. */
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { type Declaration, firstHub, type ServerDeclaration } from "../config/declaration";
import type { Secret } from "../config/types.gen";
import { secretResource } from "../net/names";

export interface SecretsArgs {
  readonly declaration: Declaration;
  readonly server: ServerDeclaration;
  /** Every secret of the testbed. */
  readonly all: readonly Secret[];
  /** Names of the secrets that this server uses. */
  readonly used: readonly string[];
}

export class Secrets extends pulumi.ComponentResource {
  /** On the hub: all of them, for its outputs. */
  readonly values: Readonly<Record<string, pulumi.Output<string>>>;

  constructor(name: string, args: SecretsArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:secrets:Secrets", name, {}, options);
    const hub = firstHub(args.declaration);
    if (hub === undefined || hub.name === args.server.name) {
      const made = args.all.map(({ name: secret, length }) => {
        const password = new random.RandomPassword(
          secretResource(args.server.name, secret),
          { length: length ?? 32, special: false },
          { parent: this },
        );
        return [secret, password.result] as const;
      });
      this.values = Object.fromEntries(made);
    } else this.values = args.used.length === 0 ? {} : this.fromHub(name, hub.name, args.used);
    this.registerOutputs({});
  }

  private fromHub(name: string, hub: string, used: readonly string[]): Record<string, pulumi.Output<string>> {
    const reference = new pulumi.StackReference(`${name}-${hub}`, { name: `organization/${pulumi.getProject()}/${hub}` }, { parent: this });
    const of = (secret: string): pulumi.Output<string> =>
      reference.getOutput("secrets").apply((all: Record<string, string> | undefined) => {
        const value = all?.[secret];
        if (value === undefined)
          throw new Error(`secrets.${secret}: arises on the hub, and stack ${hub} has not made it yet; run: pulumi up -s ${hub}`);
        return value;
      });
    return Object.fromEntries(used.map((secret) => [secret, pulumi.secret(of(secret))]));
  }
}
