/** docker:index/container:Container. */
import type { Plugin, Properties, ResourceType } from "../plugin";
import { Engine, EngineError } from "./engine";
import { tarOf } from "./tar";

interface ContainerInputs {
  readonly name: string;
  readonly image: string;
  readonly networkMode?: string;
  readonly restart?: string;
  readonly labels?: readonly { readonly label: string; readonly value: string }[];
  readonly capabilities?: { readonly adds?: readonly string[] };
  readonly devices?: readonly { readonly hostPath: string; readonly containerPath?: string; readonly permissions?: string }[];
  readonly command?: readonly string[];
  readonly envs?: readonly string[];
  readonly hostname?: string;
  readonly memory?: number;
  readonly memorySwap?: number;
  readonly logOpts?: Readonly<Record<string, string>>;
  readonly ulimits?: readonly { readonly name: string; readonly soft: number; readonly hard: number }[];
  readonly cpuShares?: number;
  readonly cpuSet?: string;
  readonly uploads?: readonly { readonly file: string; readonly content?: string; readonly permissions?: string }[];
  readonly mounts?: readonly {
    readonly type: string;
    readonly source?: string;
    readonly target: string;
    readonly readOnly?: boolean;
    readonly bindOptions?: { readonly propagation?: string };
  }[];
  readonly volumes?: readonly { readonly hostPath: string; readonly containerPath: string; readonly readOnly?: boolean }[];
}

interface Inspected {
  readonly Id: string;
  readonly Name: string;
  readonly Image: string;
  readonly State: { readonly Running: boolean; readonly ExitCode: number };
  readonly Config: { readonly Hostname: string; readonly Labels: Readonly<Record<string, string>> | null };
  readonly HostConfig: {
    readonly RestartPolicy: { readonly Name: string };
    readonly NetworkMode: string;
    readonly CapAdd: readonly string[] | null;
    readonly CapDrop: readonly string[] | null;
    readonly Devices:
      readonly { readonly PathOnHost: string; readonly PathInContainer: string; readonly CgroupPermissions: string }[] | null;
    readonly Mounts?: readonly {
      readonly Type: string;
      readonly Source?: string;
      readonly Target: string;
      readonly ReadOnly?: boolean;
      readonly BindOptions?: { readonly Propagation?: string };
    }[];
    readonly LogConfig: { readonly Config: Readonly<Record<string, string>> | null };
    readonly Ulimits: readonly { readonly Name: string; readonly Soft: number; readonly Hard: number }[] | null;
    readonly Memory: number;
    readonly MemorySwap: number;
    readonly CpuShares: number;
    readonly CpusetCpus: string;
  };
}

let engine: Engine | undefined;

function theEngine(): Engine {
  if (engine === undefined) throw new Error("docker: the provider has no host; give it host: ssh://...");
  return engine;
}

/** What the engine may change of a running container. */
function resources(inputs: ContainerInputs): Properties {
  const memory = (inputs.memory ?? 0) * 1024 * 1024;
  return {
    Memory: memory,
    ...(memory === 0 ? {} : { MemorySwap: (inputs.memorySwap ?? (inputs.memory ?? 0) * 2) * 1024 * 1024 }),
    CpuShares: inputs.cpuShares ?? 0,
    CpusetCpus: inputs.cpuSet ?? "",
    RestartPolicy: { Name: inputs.restart ?? "no" },
  };
}

function creation(inputs: ContainerInputs): Properties {
  return {
    Image: inputs.image,
    ...(inputs.command === undefined ? {} : { Cmd: inputs.command }),
    ...(inputs.envs === undefined ? {} : { Env: inputs.envs }),
    ...(inputs.hostname === undefined ? {} : { Hostname: inputs.hostname }),
    Labels: Object.fromEntries((inputs.labels ?? []).map(({ label, value }) => [label, value])),
    HostConfig: {
      ...resources(inputs),
      NetworkMode: inputs.networkMode ?? "default",
      CapAdd: inputs.capabilities?.adds ?? [],
      // As the vendor's does where no path inside and no permissions are named.
      Devices: (inputs.devices ?? []).map(({ hostPath, containerPath, permissions }) => ({
        PathOnHost: hostPath,
        PathInContainer: containerPath ?? hostPath,
        CgroupPermissions: permissions ?? "rwm",
      })),
      ...(inputs.logOpts === undefined ? {} : { LogConfig: { Config: inputs.logOpts } }),
      ...(inputs.ulimits === undefined
        ? {}
        : { Ulimits: inputs.ulimits.map(({ name, soft, hard }) => ({ Name: name, Soft: soft, Hard: hard })) }),
      Binds: (inputs.volumes ?? []).map((v) => `${v.hostPath}:${v.containerPath}:${v.readOnly === true ? "ro" : "rw"}`),
      Mounts: (inputs.mounts ?? []).map((m) => ({
        Type: m.type,
        Source: m.source,
        Target: m.target,
        ReadOnly: m.readOnly ?? false,
        ...(m.bindOptions?.propagation === undefined ? {} : { BindOptions: { Propagation: m.bindOptions.propagation } }),
      })),
    },
  };
}

async function inspect(id: string): Promise<Inspected | undefined> {
  try {
    return (await theEngine().call("GET", `/containers/${encodeURIComponent(id)}/json`)) as Inspected;
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined;
    throw error;
  }
}

async function remove(id: string): Promise<void> {
  try {
    await theEngine().call("DELETE", `/containers/${id}?force=true&v=true`);
  } catch (error) {
    // Gone, or going.
    if (!(error instanceof EngineError && (error.status === 404 || error.status === 409))) throw error;
  }
}

async function create(inputs: ContainerInputs): Promise<string> {
  const { Id } = (await theEngine().call("POST", `/containers/create?name=${encodeURIComponent(inputs.name)}`, creation(inputs))) as {
    Id: string;
  };
  try {
    for (const { file, content, permissions } of inputs.uploads ?? []) {
      await theEngine().call(
        "PUT",
        `/containers/${Id}/archive?path=/`,
        tarOf(file, content ?? "", Number.parseInt(permissions ?? "0644", 8)),
      );
    }
    await theEngine().call("POST", `/containers/${Id}/start`);
    return Id;
  } catch (error) {
    // A create that fails leaves no state, so nothing would ever take the container away.
    await remove(Id);
    throw error;
  }
}

const mebibyte = 1024 * 1024;

/** What is not said, and nothing, are one for the vendor's plugin. */
const orUndefined = <T>(list: readonly T[] | null | undefined): readonly T[] | undefined =>
  list === null || list === undefined || list.length === 0 ? undefined : list;

/**
 * All that the vendor's plugin (4.10) reads of `docker inspect` and compares with the program, whoever has set it: the daemon
 * sets some by itself. What it computes where the program says nothing, and what it never reads, stays as the state has it.
 */
function readBack({ Name, Image, HostConfig: host }: Inspected, state: Properties): Properties {
  const caps = { adds: orUndefined(host.CapAdd), drops: orUndefined(host.CapDrop) };
  const { Config: logOpts } = host.LogConfig;
  const read: Properties = {
    name: Name.replace(/^\//, ""),
    image: Image,
    restart: host.RestartPolicy.Name,
    networkMode: host.NetworkMode,
    capabilities: caps.adds === undefined && caps.drops === undefined ? state.capabilities : caps,
    devices: orUndefined(host.Devices)?.map((d) => ({
      hostPath: d.PathOnHost,
      containerPath: d.PathInContainer,
      permissions: d.CgroupPermissions,
    })),
    mounts: orUndefined(host.Mounts)?.map((m) => ({
      type: m.Type,
      source: m.Source,
      target: m.Target,
      readOnly: m.ReadOnly ?? false,
      ...(m.BindOptions !== undefined && { bindOptions: { propagation: m.BindOptions.Propagation } }),
    })),
    logOpts: Object.keys(logOpts ?? {}).length === 0 ? undefined : logOpts,
    ulimits: orUndefined(host.Ulimits)?.map((u) => ({ name: u.Name, soft: u.Soft, hard: u.Hard })),
    memory: host.Memory / mebibyte || undefined,
    memorySwap: host.MemorySwap > 0 ? host.MemorySwap / mebibyte : host.MemorySwap || undefined,
    cpuShares: host.CpuShares || undefined,
    cpuSet: host.CpusetCpus || undefined,
  };
  return read;
}

const container: ResourceType = {
  inputs: {
    name: true,
    image: true,
    networkMode: true,
    restart: true,
    labels: { label: true, value: true },
    capabilities: { adds: true },
    devices: { hostPath: true, containerPath: true, permissions: true },
    command: true,
    envs: true,
    hostname: true,
    memory: true,
    memorySwap: true,
    cpuShares: true,
    cpuSet: true,
    uploads: { file: true, content: true, permissions: true },
    volumes: { hostPath: true, containerPath: true, readOnly: true },
    mounts: { type: true, source: true, target: true, readOnly: true, bindOptions: { propagation: true } },
  },
  readBack: { logOpts: true, ulimits: true },
  replacing: [
    "name",
    "image",
    "networkMode",
    "labels",
    "capabilities",
    "devices",
    "command",
    "envs",
    "hostname",
    "uploads",
    "volumes",
    "mounts",
    "logOpts",
    "ulimits",
  ],
  create: async (inputs) => ({ id: await create(inputs as unknown as ContainerInputs), outs: { ...inputs } }),
  read: async (id, state) => {
    const found = await inspect(id);
    if (found === undefined) return undefined;
    if (!found.State.Running) {
      // As the vendor's does for a container that must run: away with it, so that `up` makes it anew.
      await remove(id);
      return undefined;
    }
    // The wire has no word for what is undefined: such a property goes, inside others too.
    return JSON.parse(JSON.stringify({ ...state, ...readBack(found, state) })) as Properties;
  },
  update: async (id, _, news) => {
    await theEngine().call("POST", `/containers/${id}/update`, resources(news as unknown as ContainerInputs));
    return { ...news };
  },
  delete: (id) => remove(id),
};

export const dockerPlugin: Plugin = {
  name: "docker",
  version: "5.2.0",
  config: { host: true, sshOpts: true },
  resources: { "docker:index/container:Container": container },
  configure: (config) => {
    // The engine hands over a provider's configuration as text, lists as JSON.
    const options =
      typeof config.sshOpts === "string" ? (JSON.parse(config.sshOpts) as string[]) : ((config.sshOpts as string[] | undefined) ?? []);
    if (typeof config.host === "string") engine = new Engine(config.host, options);
  },
  stop: async () => engine?.close(),
};
