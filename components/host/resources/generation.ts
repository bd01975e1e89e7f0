/** Collects what a stack holds while its components are built, and renders the file that says so, which is made before all of it. */
import { gzipSync } from "node:zlib";
import { remote } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { ServerDeclaration } from "../../config/declaration";
import type { DeployedObject, Owner } from "../objectType";
import { claim } from "../objects/claim";
import { dropGeneration, generation, generationFile, generationName, type GenerationEntry, putGeneration } from "../objects/generation";
import { shellCommand, verbScript } from "../script";
import { sshConnection } from "./connection";
import type { Deployed, DeployedList } from "./hostObject";

export class Generation implements DeployedList {
  readonly objects: DeployedObject[] = [];
  private readonly entries: GenerationEntry[] = [];
  private whole: (() => void) | undefined;

  constructor(
    private readonly server: ServerDeclaration,
    private readonly owner: Owner,
    private readonly project: string,
  ) {}

  add({ type, name, spec, identity, remove }: Deployed): void {
    this.objects.push({ type, name, spec });
    // Who claims the server is known until the last object is gone.
    if (type !== claim.type) this.entries.push({ type, name, identity, remove });
  }

  /** What all of the stack but its claim comes after. Its text is known when the last component is built. */
  render(options: { parent: pulumi.Resource; dependsOn: pulumi.Resource[] }): remote.Command {
    const name = generationName(this.owner.stack);
    const text = new Promise<string>((resolve) => {
      this.whole = () => {
        const { text, hash } = generationFile(this.entries, this.owner);
        this.objects.push({ type: generation.type, name, spec: { hash } });
        const put = putGeneration(gzipSync(text, { level: 9 }).toString("base64"), this.project, this.owner);
        resolve(verbScript(put, dropGeneration(hash, this.project), this.owner));
      };
    });
    return new remote.Command(
      name,
      {
        connection: sshConnection(this.server),
        // Where it fails nothing is undone: an older note may be there, of what no state knows.
        create: shellCommand(this.server, "ensure"),
        update: shellCommand(this.server, "ensure"),
        delete: shellCommand(this.server, "remove"),
        // No secret: but its difference says nothing to people.
        stdin: pulumi.secret(text),
        addPreviousOutputInEnv: false,
      },
      options,
    );
  }

  /** All components are built. */
  seal(): void {
    this.whole?.();
  }
}
