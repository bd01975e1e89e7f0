/** Secrets that arise at `up` on the hub; other stacks read them from the hub's outputs. */
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import type { Declaration, ServerDeclaration } from "../config/declaration";

export interface SecretsArgs {
  readonly declaration: Declaration;
  readonly server: ServerDeclaration;
  /** Names of the secrets that this server's systems use. */
  readonly used: readonly string[];
}

export class Secrets extends pulumi.ComponentResource {
  /** On the hub: all of them, for its outputs. */
  readonly values: Readonly<Record<string, pulumi.Output<string>>>;

  constructor(name: string, args: SecretsArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:secrets:Secrets", name, {}, options);
    const declared = args.declaration.testbed.secrets ?? [];
    const hub = args.declaration.servers.find((server) => server.hub);
    if (hub === undefined || hub.name === args.server.name) {
      const made = declared.map(({ name: secret, length }) => {
        const password = new random.RandomPassword(`${name}-${secret}`, { length: length ?? 32, special: false }, { parent: this });
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
