/**
 * What a stack's state calls unchanged and its server does not have (any more), after a power cut in the middle of an `up`, a
 * `docker image prune`, a hand: it is marked in the state, so that Pulumi makes it again in its order beside all that is new.
 */
import type { ServerDeclaration } from "../components/config/declaration";
import type { DeployedObject } from "../components/host/objectType";
import type { ContainerSpec } from "../components/host/objects/container";
import { generation } from "../components/host/objects/generation";
import { sh } from "../components/host/sh";
import { run } from "../support/process";
import { step } from "../support/progress";
import { type Checked, checkServer } from "./checks";
import { type Context } from "./context";
import { runScript } from "./ssh";
import { ensureAgain, isLast, scriptsOf } from "./ensure";
import { keepUnknown } from "./generation";
import { pulumiEnvironment } from "./pulumi";
import { exportStack, importStack, readStack, urnName } from "./state";
import { removeStrays } from "./strays";

/** Behind the command that made an object: a change of that runs the object's `ensure`, and leaves how it is deleted as it is. */
const mark = " # not as deployed";

const isCommand = (type: string): boolean => type === "command:remote:Command" || type === "command:local:Command";

/** Marks commands in the state, all where no names are given: the next `up` of Pulumi runs them again. */
export async function markCommands(root: string, stack: string, names?: ReadonlySet<string>): Promise<void> {
  const state = await exportStack(root, stack);
  if (state?.deployment?.resources === undefined || names?.size === 0) return;
  const marked = <T extends Readonly<Record<string, unknown>> | undefined>(properties: T): T =>
    typeof properties?.create !== "string" || properties.create.endsWith(mark)
      ? properties
      : { ...properties, create: `${properties.create}${mark}` };
  const resources = (state.deployment?.resources ?? []).map((resource) =>
    isCommand(resource.type) && names?.has(urnName(resource.urn)) !== false
      ? { ...resource, inputs: marked(resource.inputs), outputs: marked(resource.outputs) }
      : resource,
  );
  await importStack(root, stack, { ...state, deployment: { ...state.deployment, resources } });
}

/** Pulumi looks at containers itself: those that are gone go from its state. */
export async function refreshContainers(root: string, stack: string, names: ReadonlySet<string>): Promise<void> {
  const resources = (await readStack(root, stack))?.resources ?? [];
  const targets = resources.flatMap(({ urn }) => (names.has(urnName(urn)) ? ["--target", urn] : []));
  if (targets.length === 0) return;
  await run(["pulumi", "refresh", "--stack", stack, "--yes", "--skip-preview", "--non-interactive", ...targets], {
    cwd: root,
    env: pulumiEnvironment(root),
  });
}

/**
 * One that is in a network of docker's own starts when what made the network answers, which may want what is not there yet:
 * dockerd waits half a minute for a plugin, and all that asks for the container with it.
 */
const startScript = (containers: readonly string[], alsoJoined: boolean) => sh`
  for container in ${containers}; do
    networks=$(docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' "$container") || continue
    case $networks in "none " | "host ") ;; *) [ ${alsoJoined ? "yes" : "no"} = yes ] || continue ;; esac
    docker start "$container" || :
  done
`;

const stoppedIn = (checks: readonly Checked[]): string[] =>
  checks.flatMap(({ name, type, differences }) =>
    type === "container" && differences.length > 0 && differences.every(({ property }) => property === "running") ? [name] : [],
  );

/** Containers that only do not run: what is in them is somebody's, and stays. Gives the objects whose containers run now. */
export async function startStopped(
  context: Context,
  server: ServerDeclaration,
  checks: readonly Checked[],
  { alsoJoined = false } = {},
): Promise<ReadonlySet<string>> {
  const stopped = new Set(stoppedIn(checks));
  const objects = ((await readStack(context.root, server.name))?.objects ?? []).filter(({ name }) => stopped.has(name));
  if (objects.length === 0) return new Set();
  const containerOf = ({ spec }: DeployedObject): string => (spec as ContainerSpec).container;
  const { stdout } = await runScript(context, server, `${startScript(objects.map(containerOf), alsoJoined).text}\n`);
  const started = new Set(stdout.split("\n"));
  return new Set(objects.flatMap((object) => (started.has(containerOf(object)) ? [object.name] : [])));
}

const namesOf = (checks: readonly Checked[], isContainer: boolean): ReadonlySet<string> =>
  new Set(checks.flatMap(({ name, type }) => ((type === "container") === isContainer ? [name] : [])));

const wrongOf = (checks: readonly Checked[]): Checked[] =>
  checks.filter(({ type, result }) => type !== "server" && ["missing", "different", "failed", "outdated"].includes(result));

async function remakeOn(context: Context, server: ServerDeclaration): Promise<readonly Checked[]> {
  const checks = await checkServer(context, server);
  let wrong = wrongOf(checks);
  if (wrong.length === 0) return [];
  const isUnknown = wrong.some(({ type, result }) => type === generation.type && result === "different");
  const title = `${server.name}: ${wrong.length} of ${checks.length} objects are not as deployed, and are made again`;
  const work = async (): Promise<void> => {
    const state = isUnknown ? await exportStack(context.root, server.name) : undefined;
    if (state !== undefined) {
      // A later up than the state's was here: one that was cut off and its lock taken away by hand, or the state is an old copy.
      await removeStrays(context, server, state);
      await keepUnknown(context, server);
      wrong = wrongOf(await checkServer(context, server));
    }
    await markCommands(context.root, server.name, isUnknown ? undefined : namesOf(wrong, false));
    const started = new Set(await startStopped(context, server, wrong));
    if (stoppedIn(wrong).some((name) => !started.has(name))) {
      // What their network waits for, as it was deployed; what was declared since comes with the up.
      const names = namesOf(
        wrong.filter(({ result }) => result !== "outdated"),
        false,
      );
      const objects = ((await readStack(context.root, server.name))?.objects ?? []).filter(({ name }) => names.has(name));
      await ensureAgain(
        context,
        server,
        scriptsOf(objects).filter((object) => !isLast(object)),
      );
      for (const name of await startStopped(context, server, wrong, { alsoJoined: true })) started.add(name);
    }
    // A check that failed says nothing of a container: dockerd may be gone, and the containers not.
    const known = wrong.filter(({ name, result }) => result !== "failed" && !started.has(name));
    await refreshContainers(context.root, server.name, namesOf(known, true));
  };
  await step(
    title,
    work,
    () =>
      wrong
        .slice(0, 8)
        .map(({ name }) => name)
        .join(", ") + (wrong.length > 8 ? ", ..." : ""),
  );
  return wrong;
}

/** Gives the names of what is made again. */
export async function remakeWhatIsGone(context: Context, servers: readonly ServerDeclaration[]): Promise<ReadonlySet<string>> {
  const wrong = await Promise.all(servers.map((server) => remakeOn(context, server)));
  return new Set(wrong.flat().map(({ name }) => name));
}
