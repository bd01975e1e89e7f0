/** What every verb works on: the project, its declaration, its servers. */
import type { Declaration, ServerDeclaration } from "../components/config/declaration";
import { writeSshConfig } from "../components/host/sshConfig";
import { hasNamespaces } from "../components/kinds/registry";
import { systemContainer } from "../components/net/names";
import { checkedDeclaration } from "../components/plan/check";
import { readLabState } from "../lab/state";
import { projectRoot } from "../support/project";
import { UsageError } from "../support/usageError";

export interface Context {
  readonly root: string;
  readonly declaration: Declaration;
}

/** The running testbed's declaration; a lab that is off is a fault. */
export function openContext(asked?: string): Context {
  const root = projectRoot();
  const declaration = checkedDeclaration(root, readLabState(root), true, asked);
  writeSshConfig(root, declaration);
  return { root, declaration };
}

/** Before a command in a namespace. */
export const intoNamespace = ({ server, container }: FoundSystem): string[] => [
  ...(server.user === "root" ? [] : ["sudo", "-n"]),
  ...["ip", "netns", "exec", container],
];

export interface FoundSystem {
  readonly server: ServerDeclaration;
  readonly system: Declaration["testbed"]["systems"][number];
  /** Of its container, or its namespace. */
  readonly container: string;
  /** A namespace: the server's own programs run in it. */
  readonly isBare: boolean;
}

export function findSystem(context: Context, name: string | undefined): FoundSystem {
  const { testbed, servers } = context.declaration;
  const system = testbed.systems.find((candidate) => candidate.name === name);
  const server = servers.find((candidate) => candidate.name === system?.server);
  if (system === undefined || server === undefined) {
    const known = testbed.systems.map((candidate) => candidate.name).join(", ");
    throw new UsageError(name === undefined ? `name a system: ${known}` : `there is no system "${name}"; there are ${known}`);
  }
  const isBare = testbed.networks.some((network) => network.name === system.networks[0]?.name && hasNamespaces(network));
  return { server, system, container: systemContainer(system.name), isBare };
}
