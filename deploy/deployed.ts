/**
 * What runs, as the stacks' states have it: verbs that look, measure or enter work on this, whatever the files say by now. How a
 * server is reached is the files' word.
 */
import { type Declaration, declarationHash, type ServerDeclaration } from "../components/config/declaration";
import { writeSshConfig } from "../components/host/sshConfig";
import { type Context, openContext } from "./context";
import { readStack } from "./state";

export interface DeployedContext extends Context {
  /** Servers whose stack has something else than what the files declare now. */
  readonly changed: readonly string[];
  /** The stacks were brought up from different declarations. */
  readonly isMixed: boolean;
}

interface OwnDeployed {
  readonly server: string;
  readonly hash: string | undefined;
  /** Undefined of a stack that was brought up before states had it. */
  readonly declaration: Declaration | undefined;
}

function byName<T extends { readonly name: string }>(lists: readonly (readonly T[])[]): T[] {
  return [...new Map(lists.flat().map((one) => [one.name, one])).values()];
}

/** Each server's systems as its own stack has them; the first stack has the word on what they share. */
export function mergeDeployed(
  declared: Declaration,
  deployed: readonly { readonly server: string; readonly declaration: Declaration }[],
): Declaration {
  const all = deployed.map(({ declaration }) => declaration);
  const [first] = all;
  if (first === undefined) return declared;
  // The last of equal names stays.
  const others = [...all].reverse();
  const servers = declared.servers.map((server): ServerDeclaration => {
    const then = all.flatMap((one) => one.servers.filter(({ name }) => name === server.name))[0];
    if (then === undefined) return server;
    const { address, port, user, hostKey, privateKeyFile } = server;
    return { ...then, address, port, user, hostKey, privateKeyFile };
  });
  const testbeds = others.map(({ testbed }) => testbed);
  return {
    name: first.name,
    servers,
    policies: first.policies,
    nftables: Object.assign({}, ...others.map(({ nftables }) => nftables)) as Record<string, string>,
    testbed: {
      ...first.testbed,
      tenants: byName(testbeds.map(({ tenants }) => tenants)),
      networks: byName(testbeds.map(({ networks }) => networks)),
      systems: deployed.flatMap(({ server, declaration }) => declaration.testbed.systems.filter((system) => system.server === server)),
    },
  };
}

async function ownDeployed(root: string, server: string): Promise<OwnDeployed[]> {
  const stack = await readStack(root, server);
  if (stack?.testbed === undefined) return [];
  const declaration = stack.deployed === undefined ? undefined : (JSON.parse(stack.deployed) as Declaration);
  return [{ server, hash: stack.declaration, declaration }];
}

/** What is deployed; what is declared where nothing is. */
export async function openDeployed(): Promise<DeployedContext> {
  const { root, declaration: declared } = openContext();
  const own = (await Promise.all(declared.servers.map(({ name }) => ownDeployed(root, name)))).flat();
  const now = declarationHash(declared);
  const changed = own.flatMap(({ server, hash }) => (hash === now ? [] : [server]));
  const known = own.flatMap(({ server, declaration }) => (declaration === undefined ? [] : [{ server, declaration }]));
  const isMixed = new Set(own.map(({ hash }) => hash)).size > 1;
  if (changed.length === 0 || known.length < own.length) return { root, declaration: declared, changed, isMixed };
  // A hub's stack first: it is brought up before the others.
  const isHub = (server: string): boolean => declared.servers.some(({ name, hub }) => name === server && hub);
  const declaration = mergeDeployed(
    declared,
    [...known].sort((a, b) => Number(isHub(b.server)) - Number(isHub(a.server))),
  );
  writeSshConfig(root, declaration);
  return { root, declaration, changed, isMixed };
}

/** For people; undefined where files and servers agree. */
export function changedText({ changed, isMixed, declaration }: DeployedContext): string | undefined {
  if (changed.length === 0) return undefined;
  const mixed = isMixed ? "; the servers were brought up from different files" : "";
  return `The files have changed since testbed ${declaration.name} was brought up on ${changed.join(", ")}${mixed}. This is what is deployed; flipflap up brings the change.`;
}

/** Says so where people look, and not in what a machine reads. */
export function sayChanged(context: DeployedContext): void {
  const text = changedText(context);
  if (text !== undefined) process.stderr.write(`${text}\n`);
}
