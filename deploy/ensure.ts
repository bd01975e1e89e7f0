/** Objects that a stack's state knows, made again by their own scripts. */
import { objectType } from "../components/capabilities/registry";
import type { ServerDeclaration } from "../components/config/declaration";
import type { DeployedObject, ObjectType } from "../components/host/objectType";
import { objectScript } from "../components/host/script";
import { step } from "../support/progress";
import { batchScript, readBatch } from "./batch";
import { type Context } from "./context";
import { runScript } from "./ssh";

export const count = (objects: readonly unknown[]): string => (objects.length === 1 ? "1 object" : `${objects.length} objects`);

/** Those with a script. A secret's new content goes to the other stacks too: an `up` of all hands it out. */
export const scriptsOf = (objects: readonly DeployedObject[]): DeployedObject[] =>
  objects.filter(({ type }) => "ensure" in objectType(type) && type !== "secretFile");

/** Those that wait for what containers do come last. */
export const isLast = ({ type }: DeployedObject): boolean => (objectType(type) as ObjectType<unknown>).waits === true;

/** The objects' scripts are run again, over one connection: they converge from whatever is there. */
export async function ensureAgain(context: Context, server: ServerDeclaration, objects: readonly DeployedObject[]): Promise<void> {
  if (objects.length === 0) return;
  const texts = objects.map((object) => {
    const type = objectType(object.type) as ObjectType<unknown>;
    return `set -- ensure\n${objectScript({ ...object, type }, { stack: server.name })}`;
  });
  await step(
    `${server.name}  ${count(objects)} ensured`,
    async () => readBatch((await runScript(context, server, `${batchScript(texts)}\n`, 300)).stdout),
    (answers) =>
      objects
        .map(({ name }, i) => {
          const answer = answers.get(i);
          return answer?.code === 0 ? name : `${name} failed: ${answer?.text.trim() || "no answer"}`;
        })
        .join(", "),
  );
}
