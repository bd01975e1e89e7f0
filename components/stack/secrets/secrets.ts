/** Secrets that arise at `up` on the hub; other stacks read them from the hub's outputs. */
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";
import { type Declaration, firstHub, type ServerDeclaration } from "../../config/declaration";
import { declare, type HostObject } from "../../host/objectType";
import { objectTypes } from "../../host/objects";
import { renderObject, type Site } from "../../host/resources/hostObject";
import type { KindSecret } from "../../kinds/parts";
import { secretPrefix, secretResource } from "../../net/names";

const { secretFile } = objectTypes;

export interface SecretsArgs {
  readonly declaration: Declaration;
  readonly server: ServerDeclaration;
  /** Every secret of the testbed. */
  readonly all: readonly KindSecret[];
  /** Names of the secrets that this server uses. */
  readonly used: readonly string[];
}

export class Secrets extends pulumi.ComponentResource {
  /** On the hub: all of them, for its outputs. */
  readonly values: Record<string, pulumi.Output<string>> = {};
  private readonly files: readonly Extract<KindSecret, { file: string }>[];

  constructor(name: string, args: SecretsArgs, options?: pulumi.ComponentResourceOptions) {
    super("flipflap:secrets:Secrets", name, {}, options);
    const hub = firstHub(args.declaration);
    const isHub = hub === undefined || hub.name === args.server.name;
    this.files = isHub ? args.all.filter((secret) => "file" in secret) : [];
    if (isHub) {
      for (const secret of args.all) if (!("file" in secret)) this.values[secret.name] = this.password(args.server.name, secret);
    } else if (args.used.length > 0) Object.assign(this.values, this.fromHub(name, hub.name, args.used));
    this.registerOutputs({});
  }

  private password(stack: string, { name, length }: Extract<KindSecret, { length?: number }>): pulumi.Output<string> {
    const made = new random.RandomPassword(secretResource(stack, name), { length: length ?? 32, special: false }, { parent: this });
    return made.result;
  }

  /** Those that parts of an authority have made as files. */
  readFiles(site: Site, after: readonly pulumi.Resource[]): void {
    for (const { name, file } of this.files) {
      const object = declare(secretFile, name, { file }) as HostObject;
      const read = renderObject(secretPrefix(site.server.name), object, site, { parent: this, dependsOn: [...after] }, { isSecret: true });
      this.values[name] = read.stdout;
    }
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
