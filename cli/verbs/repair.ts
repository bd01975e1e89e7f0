import type { ServerDeclaration } from "../../components/config/declaration";
import type { DeployedObject } from "../../components/host/objectType";
import { generation } from "../../components/host/objects/generation";
import { type Checked, checkServer } from "../../deploy/checks";
import { type Context, openContext } from "../../deploy/context";
import { count, ensureAgain, isLast, scriptsOf } from "../../deploy/ensure";
import { restoreNote } from "../../deploy/generation";
import { pulumiEnvironment } from "../../deploy/pulumi";
import { recover } from "../../deploy/recovery";
import { markCommands, refreshContainers, startStopped } from "../../deploy/remake";
import { readStack, type StackResource, urnName } from "../../deploy/state";
import { run } from "../../support/process";
import { step } from "../../support/progress";
import type { Verb } from "../verb";

/** What is sent by commands of this machine. */
const sentTypes = ["image", "sentFile"];

/** What is sent, and containers, are Pulumi's: what is gone from the server is made. */
async function makeByPulumi(
  context: Context,
  stack: string,
  resources: readonly StackResource[],
  objects: readonly DeployedObject[],
): Promise<void> {
  const namesOf = (...types: string[]): ReadonlySet<string> =>
    new Set(objects.flatMap((object) => (types.includes(object.type) ? [object.name] : [])));
  const [sent, containers] = [namesOf(...sentTypes), namesOf("container")];
  const targets = resources.flatMap(({ urn }) => (sent.has(urnName(urn)) || containers.has(urnName(urn)) ? ["--target", urn] : []));
  if (targets.length === 0) return;
  const { root } = context;
  const up = ["pulumi", "up", "--stack", stack, "--yes", "--skip-preview", "--non-interactive", ...targets];
  await step(
    `${stack}  ${count(objects)} made`,
    async () => {
      await markCommands(root, stack, sent);
      await refreshContainers(root, stack, containers);
      await run(up, { cwd: root, env: pulumiEnvironment(root) });
    },
    () => [...sent, ...containers].join(", "),
  );
}

async function repairServer(context: Context, server: ServerDeclaration, wrong: readonly Checked[]): Promise<void> {
  const deployed = await readStack(context.root, server.name);
  if (deployed === undefined) return;
  // How to make what another version declared, this one does not know: up does, by today's declaration.
  const names = new Set(wrong.flatMap(({ name, result }) => (result === "outdated" ? [] : [name])));
  const objects = deployed.objects.filter(({ name }) => names.has(name));
  await startStopped(context, server, wrong);
  const isPulumis = ({ type }: DeployedObject): boolean => type === "container" || sentTypes.includes(type);
  if (objects.some(({ type }) => type === generation.type)) await restoreNote(context, server);
  const scripts = scriptsOf(objects);
  await ensureAgain(
    context,
    server,
    scripts.filter((object) => !isLast(object)),
  );
  await startStopped(context, server, wrong, { alsoJoined: true });
  // Whatever becomes of it: what is told last may be what keeps a system closed.
  const made = await Promise.allSettled([makeByPulumi(context, server.name, deployed.resources, objects.filter(isPulumis))]);
  await ensureAgain(context, server, scripts.filter(isLast));
  for (const one of made) if (one.status === "rejected") throw one.reason;
}

export const repair: Verb = {
  name: "repair",
  words: "",
  summary: "mend what drift names, and nothing else; end what a killed up or down left half-done",
  details: `
Objects that scripts made are ensured again; images and containers are made by Pulumi where they are gone. Containers
with a stack's mark that its state does not know of are removed.

Where a Pulumi was killed, its lock and its left-over processes go first, and what it was making is taken away: up then
makes what is missing, down takes the rest. A Pulumi that is alive is left alone, and named.

A stack that is half made or half destroyed is named and not mended further: up or down is what it needs.

Exit code 0: all is as deployed afterwards, of stacks that are whole; 3: something is not (flipflap drift says what).`,
  options: {},
  takesTurn: () => true,
  run: async () => {
    const context = openContext();
    const { servers } = context.declaration;
    const wrongOn = async (server: ServerDeclaration): Promise<Checked[]> =>
      (await checkServer(context, server)).filter((checked) => checked.result !== "ok");
    await recover(context, servers, "repair");
    const before = await Promise.all(servers.map(wrongOn));
    // In a stack that is half made or half destroyed nothing can be as it should be yet.
    const halves = new Set(before.flat().flatMap(({ result, server }) => (result === "unmade" ? [server] : [])));
    const whole = servers.filter(({ name }) => !halves.has(name));
    const wrongOnWhole = async (): Promise<Checked[][]> => Promise.all(whole.map(wrongOn));
    let left = whole.map((server) => before[servers.indexOf(server)] ?? []);
    // Again where mending one thing has shown or shaken another.
    for (let round = 1; round <= 3 && left.flat().length > 0; round++) {
      await Promise.all(whole.map((server, i) => repairServer(context, server, left[i] ?? [])));
      left = await wrongOnWhole();
    }
    const after = left.flat();
    console.log(`${before.flat().filter(({ server }) => !halves.has(server)).length - after.length} mended, ${after.length} left`);
    for (const checked of after)
      console.log(
        `${checked.server}  ${checked.name}: ${checked.error ?? checked.result}${checked.result === "outdated" ? "; flipflap up makes it" : ""}`,
      );
    if (after.some(({ type }) => type === "secretFile")) console.log("A secret was made again; flipflap up hands it out to all servers.");
    for (const name of halves)
      console.log(`${name}: an up or destroy did not end; flipflap up makes the rest, flipflap down takes it away`);
    return after.length > 0 ? 3 : 0;
  },
};
