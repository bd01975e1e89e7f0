/** All checks of a server over one connection. */
import { objectType } from "../components/capabilities/registry";
import type { ServerDeclaration } from "../components/config/declaration";
import { compare, type DeployedObject, type Difference, type Owner, stackLabel } from "../components/host/objectType";
import { listExperimentRules } from "../components/host/objects/experimentRules";
import { prelude } from "../components/host/script";
import { type Script, sh } from "../components/host/sh";
import { batchScript, readBatch } from "./batch";
import { type Context } from "./context";
import { runScript, sshTrouble } from "./ssh";
import { readStack } from "./state";

export interface Checked {
  readonly server: string;
  readonly type: string;
  readonly name: string;
  /** Empty where all is as declared. */
  readonly result: "ok" | "missing" | "different" | "failed" | "stray" | "unmade" | "outdated";
  readonly differences: readonly Difference[];
  readonly error?: string;
}

/** Undefined where another version of flipflap deployed an object with a declaration that this one does not read. */
function ifRead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** The checks of all objects: each text once, and which of them is an object's. */
function checksOf(objects: readonly DeployedObject[], owner: Owner): { texts: string[]; indexOf: number[] } {
  const indexes = new Map<string, number>();
  const indexOf = objects.map((object) => {
    const text = ifRead(() => objectType(object.type).check(object.spec, owner, object.name).text);
    if (text === undefined) return outdated;
    const index = indexes.get(text) ?? indexes.size;
    indexes.set(text, index);
    return index;
  });
  return { texts: [...indexes.keys()], indexOf };
}

const outdated = -1;

export function checksScript(objects: readonly DeployedObject[], stack: string): string {
  const owner = { stack };
  const { texts } = checksOf(objects, owner);
  return [
    prelude(owner, ...texts).text,
    "set +e",
    batchScript(texts),
    `echo '${straysTitle}'`,
    listContainers(stack).text,
    listExperimentRules.text,
    "",
  ].join("\n");
}

const straysTitle = "<<<flipflap containers>>>";

/** Containers that have the stack's mark: id and name. */
const listContainers = (stack: string): Script =>
  sh`docker ps -a --no-trunc --filter label=${`${stackLabel}=${stack}`} --format '{{.ID}} {{.Names}}'`;

function readStrays(server: string, known: ReadonlySet<string>, printed: string): Checked[] {
  const lines = (printed.split(`${straysTitle}\n`)[1] ?? "").split("\n").filter(Boolean);
  return lines.flatMap((line): Checked[] => {
    const [id = "", name] = line.split(" ");
    if (name === undefined) return [{ server, type: "filter", name: id, result: "stray", differences: [] }];
    return known.has(id) ? [] : [{ server, type: "container", name, result: "stray", differences: [] }];
  });
}

export function readChecks(server: string, objects: readonly DeployedObject[], printed: string): Checked[] {
  const outputs = readBatch(printed);
  const { indexOf } = checksOf(objects, { stack: server });
  return objects.map((object, i): Checked => {
    const base = { server, type: object.type, name: object.name };
    const wanted = ifRead(() => objectType(object.type).wanted(object.spec, { stack: server }));
    if (indexOf[i] === outdated || wanted === undefined) return { ...base, result: "outdated", differences: [] };
    const output = outputs.get(indexOf[i] ?? -1);
    if (output === undefined || output.code !== 0) {
      return { ...base, result: "failed", differences: [], error: output?.text.trim() || "the check gave no answer" };
    }
    const type = objectType(object.type);
    try {
      const differences = compare(wanted, type.found(output.text, object.spec));
      if (differences === "missing") return { ...base, result: "missing", differences: [] };
      return { ...base, result: differences.length === 0 ? "ok" : "different", differences };
    } catch (error) {
      return { ...base, result: "failed", differences: [], error: `unreadable: ${(error as Error).message}` };
    }
  });
}

export async function checkServer(context: Context, server: ServerDeclaration): Promise<Checked[]> {
  const stack = await readStack(context.root, server.name);
  if (stack === undefined || stack.resources.length === 0) return [];
  const finished = await runScript(context, server, checksScript(stack.objects, server.name));
  if (finished.code === 255) {
    return [
      {
        server: server.name,
        type: "server",
        name: server.name,
        result: "failed",
        differences: [],
        error: sshTrouble(server, finished),
      },
    ];
  }
  const known = new Set(stack.resources.flatMap(({ id }) => id ?? []));
  return [
    ...readChecks(server.name, stack.objects, finished.stdout),
    ...stack.unmade.map((name): Checked => ({ server: server.name, type: "object", name, result: "unmade", differences: [] })),
    ...readStrays(server.name, known, finished.stdout),
  ];
}

export async function checkServers(context: Context): Promise<Checked[]> {
  return (await Promise.all(context.declaration.servers.map((server) => checkServer(context, server)))).flat();
}
