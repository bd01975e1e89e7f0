/** What the offline plugins have in common: a set of resources with a closed set of inputs. */
import { connect } from "node:net";
import * as grpc from "@grpc/grpc-js";
import * as provider from "@pulumi/pulumi/provider";

export type Properties = Record<string, unknown>;

/** The inputs that a resource takes: `true`, or the names inside an object or inside the objects of a list. */
export interface Inputs {
  readonly [name: string]: true | Inputs;
}

export interface ResourceType {
  readonly inputs: Inputs;
  /** What others set and `read` reads, where the program ignores changes of it: the engine hands it over as an input all the same. */
  readonly readBack?: Inputs;
  /** Inputs whose change replaces the resource, as the vendor's plugin does; all others update it. */
  readonly replacing: readonly string[] | "all";
  create(inputs: Properties, urn: string): Promise<{ id: string; outs: Properties }>;
  /** Undefined where the resource is gone. Without it the state stands for itself. */
  read?(id: string, state: Properties): Promise<Properties | undefined>;
  update?(id: string, olds: Properties, news: Properties): Promise<Properties>;
  delete?(id: string, state: Properties): Promise<void>;
}

export interface Plugin {
  readonly name: string;
  /** The SDK's version that it stands in for. */
  readonly version: string;
  readonly config: Inputs;
  readonly resources: Readonly<Record<string, ResourceType>>;
  configure?(config: Properties): void;
  stop?(): Promise<void>;
}

/** What the engine sends for a value that is not known yet in a preview. */
export const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";

function unsupported(value: unknown, allowed: true | Inputs, path: string): string[] {
  if (allowed === true || value === null || typeof value !== "object") return [];
  if (Array.isArray(value)) return value.flatMap((item, i) => unsupported(item, allowed, `${path}[${i}]`));
  return Object.entries(value).flatMap(([key, inner]) => {
    const at = path === "" ? key : `${path}.${key}`;
    const known = allowed[key];
    // Bridged plugins of the vendors note defaults here; a state of theirs may be taken over.
    if (key === "__defaults" || inner === undefined || inner === null) return [];
    return known === undefined ? [at] : unsupported(inner, known, at);
  });
}

/** The inputs that a resource of the plugin does not take, by name. */
export function unsupportedInputs(type: ResourceType, inputs: Properties): string[] {
  return unsupported(inputs, { ...type.inputs, ...type.readBack }, "");
}

function equal(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return (a ?? undefined) === (b ?? undefined);
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((key) => equal((a as Properties)[key], (b as Properties)[key]));
}

/** The inputs that differ between a state and new inputs. */
export function changedInputs(type: ResourceType, olds: Properties, news: Properties): string[] {
  return Object.keys({ ...type.inputs, ...type.readBack }).filter((key) => !equal(olds[key], news[key]));
}

const typeOf = (urn: string): string => (urn.split("::")[2] ?? "").split("$").at(-1) ?? "";

/** In the engine's words: check, diff, create, read, update, delete. */
export function asProvider(plugin: Plugin): provider.Provider {
  const of = (urn: string): ResourceType => {
    const type = plugin.resources[typeOf(urn)];
    if (type === undefined) throw new Error(`the offline plugin ${plugin.name} has no resource ${typeOf(urn)}; use the vendor's plugin`);
    return type;
  };
  return {
    version: plugin.version,
    schema: JSON.stringify({ name: plugin.name, version: plugin.version }),
    check: async (urn, _, news: Properties) => {
      const reason = `is not supported by the offline plugin ${plugin.name} (toolchain/plugins); use the vendor's plugin, or add it there`;
      const failures = unsupportedInputs(of(urn), news).map((property) => ({ property, reason: `${property} ${reason}` }));
      return { inputs: news, failures };
    },
    diff: async (_, urn, olds: Properties, news: Properties) => {
      const type = of(urn);
      const changed = changedInputs(type, olds, news);
      const replaces = type.replacing === "all" ? changed : changed.filter((key) => type.replacing.includes(key));
      return { changes: changed.length > 0, replaces, deleteBeforeReplace: false };
    },
    create: async (urn, inputs: Properties) => of(urn).create(inputs, urn),
    read: async (id, urn, state: Properties = {}) => {
      const type = of(urn);
      const props = type.read === undefined ? state : await type.read(id, state);
      if (props === undefined) return { id: "", props: {} };
      const inputs = Object.fromEntries(
        Object.keys({ ...type.inputs, ...type.readBack }).flatMap((key) => (props[key] === undefined ? [] : [[key, props[key]]])),
      );
      return { id, props, inputs };
    },
    update: async (id, urn, olds: Properties, news: Properties) => {
      const type = of(urn);
      if (type.update === undefined) throw new Error(`${typeOf(urn)} cannot be updated in place`);
      return { outs: await type.update(id, olds, news) };
    },
    delete: async (id, urn, state: Properties) => of(urn).delete?.(id, state),
    cancel: async () => plugin.stop?.(),
  };
}

interface Struct {
  toJavaScript(): Properties;
}
interface ConfigureCall {
  readonly request: { getArgs(): Struct | undefined };
}
type Implementation = Record<string, (call: ConfigureCall, callback: (error: Error | null, response?: unknown) => void) => void>;

/**
 * The SDK's provider server answers Configure by itself and tells the provider nothing (3.245). This
 * wraps its answer: the configuration reaches the plugin, and secrets come in plain (the engine marks
 * the outputs of the same names as secret again).
 */
function interceptConfigure(plugin: Plugin): void {
  const addService = grpc.Server.prototype.addService;
  grpc.Server.prototype.addService = function (this: grpc.Server, service, implementation): void {
    const own = implementation as unknown as Implementation;
    const answer = own.configure?.bind(own);
    own.configure = (call, callback) => {
      const config = call.request.getArgs()?.toJavaScript() ?? {};
      const wrong = unsupported(config, plugin.config, "").filter((key) => key !== "version");
      if (wrong.length > 0)
        return callback(new Error(`${plugin.name}: ${wrong.join(", ")}: not supported by the offline plugin; use the vendor's`));
      plugin.configure?.(config);
      return answer?.(call, (error, response) => {
        (response as { setAcceptsecrets(accept: boolean): void } | undefined)?.setAcceptsecrets(false);
        callback(error, response);
      });
    };
    addService.call(this, service, implementation);
  };
}

export async function serve(plugin: Plugin, args: string[]): Promise<void> {
  interceptConfigure(plugin);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => void Promise.resolve(plugin.stop?.()).finally(() => process.exit(0)));
  }
  const engine = process.ppid;
  const end = (): void => {
    clearInterval(looking);
    process.kill(process.pid, "SIGTERM");
  };
  // An engine that is killed says nothing: what it had begun would go on, unseen by the next one.
  const looking = setInterval(() => {
    if (process.ppid !== engine) end();
  }, 100).unref();
  // One that was killed before we knew who it is does not answer.
  const [host = "", port] = args.at(-1)?.split(":") ?? [];
  if (port !== undefined) {
    const asked = connect({ host, port: Number(port) }, () => asked.destroy()).on("error", end);
  }
  await provider.main(asProvider(plugin), args);
}
