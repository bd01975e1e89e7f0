import { objectType } from "../../components/host/objects";
import { type DeployedObject, type ObjectType } from "../../components/host/objectType";
import { objectScript, shellCommand } from "../../components/host/script";
import { step } from "../../support/progress";
import { run } from "../../support/process";
import { type Checked, checkServer } from "../checks";
import { type Context, openContext, sshCommand } from "../context";
import { pulumiEnvironment, readStack, type StackResource, urnName } from "../pulumi";
import { recover } from "../recovery";
import type { Verb } from "../verb";

/** Scripts of the object are run again: they converge from whatever is there. */
async function ensureAgain(context: Context, stack: string, object: DeployedObject): Promise<void> {
  const server = context.declaration.servers.find((candidate) => candidate.name === stack);
  if (server === undefined) return;
  const type = objectType(object.type) as ObjectType<unknown>;
  await run(sshCommand(server, shellCommand(server, "ensure")), { cwd: context.root, stdin: objectScript({ ...object, type }, { stack }) });
}

/** A container is Pulumi's: its state is read anew, then what is missing is made. */
async function makeContainer(context: Context, stack: string, resources: readonly StackResource[], name: string): Promise<void> {
  const urn = resources.find((resource) => urnName(resource.urn) === name)?.urn;
  if (urn === undefined) return;
  const options = ["--stack", stack, "--yes", "--skip-preview", "--non-interactive", "--target", urn];
  const env = pulumiEnvironment(context.root);
  await run(["pulumi", "refresh", ...options], { cwd: context.root, env });
  await run(["pulumi", "up", ...options], { cwd: context.root, env });
}

async function repairServer(context: Context, stack: string, wrong: readonly Checked[]): Promise<void> {
  const deployed = await readStack(context.root, stack);
  for (const checked of wrong) {
    const object = deployed?.objects.find((candidate) => candidate.name === checked.name);
    if (deployed === undefined || object === undefined) continue;
    await step(`${stack}  ${object.name}`, () =>
      object.type === "container" ? makeContainer(context, stack, deployed.resources, object.name) : ensureAgain(context, stack, object),
    );
  }
}

export const repair: Verb = {
  name: "repair",
  words: "",
  summary: "mend what drift names, and nothing else; end what a killed up or down left half-done",
  details: `
Objects that scripts made are ensured again; containers are read anew by Pulumi and made where they are gone. Containers
with a stack's mark that its state does not know of are removed.

Where a Pulumi was killed, its lock and its left-over processes go first, and what it was making is taken away: up then
makes what is missing, down takes the rest. A Pulumi that is alive is left alone, and named.

A stack that is half made or half destroyed is named and not mended further: up or down is what it needs.

Exit code 0: all is as deployed afterwards, of stacks that are whole; 3: something is not (flipflap drift says what).`,
  options: {},
  run: async () => {
    const context = openContext();
    const wrongOn = async (name: string): Promise<Checked[]> => {
      const server = context.declaration.servers.find((candidate) => candidate.name === name);
      const checks = server === undefined ? [] : await checkServer(context, server);
      return checks.filter((checked) => checked.result !== "ok");
    };
    await recover(context, context.declaration.servers, true);
    const names = context.declaration.servers.map((server) => server.name);
    const before = await Promise.all(names.map(wrongOn));
    // In a stack that is half made or half destroyed nothing can be as it should be yet.
    const halves = new Set(before.flat().flatMap(({ result, server }) => (result === "unmade" ? [server] : [])));
    const whole = names.filter((name) => !halves.has(name));
    const wrongOnWhole = async (): Promise<Checked[][]> => Promise.all(whole.map(wrongOn));
    let left = whole.map((name) => before[names.indexOf(name)] ?? []);
    // Again where mending one thing has shown or shaken another.
    for (let round = 1; round <= 3 && left.flat().length > 0; round++) {
      await Promise.all(whole.map((name, i) => repairServer(context, name, left[i] ?? [])));
      left = await wrongOnWhole();
    }
    const after = left.flat();
    console.log(`${before.flat().filter(({ server }) => !halves.has(server)).length - after.length} mended, ${after.length} left`);
    for (const checked of after) console.log(`${checked.server}  ${checked.name}: ${checked.error ?? checked.result}`);
    for (const name of halves)
      console.log(`${name}: an up or destroy did not end; flipflap up makes the rest, flipflap down takes it away`);
    return after.length > 0 ? 3 : 0;
  },
};
