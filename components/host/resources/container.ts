/** Containers of ours on a server. */
import * as docker from "@pulumi/docker";
import type * as pulumi from "@pulumi/pulumi";
import type { ImageSource } from "../../../images/find";
import { stackLabel } from "../objectType";
import type { ContainerSpec } from "../objects/container";
import { containersVariable } from "../objects/generation";
import { type Script, sh } from "../sh";
import type { Site } from "./hostObject";

interface Folder {
  readonly server: string;
  readonly container: string;
  readonly readOnly?: boolean;
  readonly mountsFollow?: boolean;
}

export interface ContainerFile {
  readonly path: string;
  readonly content: pulumi.Input<string>;
  /** In octal. */
  readonly mode: string;
}

/** Root's alone where it holds a secret. */
export const fileMode = (isSecret: boolean): string => (isSecret ? "0600" : "0644");

export interface ContainerArgs {
  readonly container: string;
  readonly image: ImageSource;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  /** Without CAP_. */
  readonly capabilities: readonly string[];
  /** Or a network of docker's. */
  readonly networkMode: string;
  /** Something else starts it after each stop. */
  readonly isStartedElsewhere?: boolean;
  readonly hostname?: string;
  readonly memoryMiB?: number;
  readonly cpuShares?: number;
  readonly cpuSet?: string;
  readonly files?: readonly ContainerFile[];
  readonly folders?: readonly Folder[];
  /** Of the server, under the same name inside. */
  readonly devices?: readonly string[];
}

function containerSpec({ container, image, memoryMiB, cpuShares, cpuSet }: ContainerArgs): ContainerSpec {
  return {
    container,
    imageId: image.id,
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
    ...(cpuShares === undefined ? {} : { cpuShares }),
    ...(cpuSet === undefined ? {} : { cpuSet }),
  };
}

function foldersOf(folders: readonly Folder[]): Pick<docker.ContainerArgs, "volumes" | "mounts"> {
  const [following, plain] = [folders.filter((f) => f.mountsFollow === true), folders.filter((f) => f.mountsFollow !== true)];
  return {
    ...(plain.length > 0 && {
      volumes: plain.map((f) => ({ hostPath: f.server, containerPath: f.container, readOnly: f.readOnly ?? false })),
    }),
    ...(following.length > 0 && {
      mounts: following.map((f) => ({
        type: "bind",
        source: f.server,
        target: f.container,
        readOnly: f.readOnly ?? false,
        bindOptions: { propagation: "rslave" },
      })),
    }),
  };
}

const removal = (container: string): Script => sh`
  case $${containersVariable} in *${` ${container} `}*) docker rm -f -v ${container} >/dev/null ;; esac
`;

export function renderContainer(
  name: string,
  args: ContainerArgs,
  provider: docker.Provider,
  site: Site,
  options: { parent: pulumi.Resource; dependsOn: pulumi.Resource[] },
): docker.Container {
  site.deployed.add({ type: "container", name, spec: containerSpec(args), identity: [], remove: removal(args.container) });
  const labels = { ...args.labels, [stackLabel]: site.owner.stack };
  return new docker.Container(
    name,
    {
      name: args.container,
      image: args.image.id,
      networkMode: args.networkMode,
      // Not unless-stopped: docker 20.10, started again after a crash, stops what survived and counts that as the user's will.
      restart: args.isStartedElsewhere === true ? "no" : "always",
      labels: Object.entries(labels).map(([label, value]) => ({ label, value })),
      // The vendor's provider (4.10) takes an empty list for a difference from what it reads.
      ...(args.capabilities.length > 0 && { capabilities: { adds: args.capabilities.map((capability) => `CAP_${capability}`) } }),
      ...(args.command === undefined ? {} : { command: [...args.command] }),
      ...(args.environment === undefined ? {} : { envs: Object.entries(args.environment).map(([key, value]) => `${key}=${value}`) }),
      ...(args.hostname === undefined ? {} : { hostname: args.hostname }),
      // Docker takes twice the memory for memory and swap where nothing is said; said, it is no difference.
      ...(args.memoryMiB === undefined ? {} : { memory: args.memoryMiB, memorySwap: args.memoryMiB * 2 }),
      ...(args.cpuShares === undefined ? {} : { cpuShares: args.cpuShares }),
      ...(args.cpuSet === undefined ? {} : { cpuSet: args.cpuSet }),
      ...(args.files === undefined
        ? {}
        : { uploads: args.files.map(({ path, content, mode }) => ({ file: path, content, permissions: mode })) }),
      ...(args.devices === undefined
        ? {}
        : { devices: args.devices.map((device) => ({ hostPath: device, containerPath: device, permissions: "rwm" })) }),
      ...foldersOf(args.folders ?? []),
    },
    // Two containers cannot have one name. What a daemon sets of its own accord (daemon.json) is read back, and is its affair.
    { ...options, provider, deleteBeforeReplace: true, ignoreChanges: ["logOpts", "logDriver", "ulimits"] },
  );
}
