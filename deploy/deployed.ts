/**
 * What runs, as the stacks' states have it: verbs that look, measure or enter work on this. How a server is reached is the files'
 * word, which must be whole for that.
 */
import { type Declaration, declarationHash, type ServerDeclaration } from "../components/config/declaration";
import { validateTestbed } from "../components/config/validate";
import { writeSshConfig } from "../components/host/sshConfig";
import { type Context, openContext } from "./context";
import { readStack } from "./state";

export interface DeployedContext extends Context {
  /** Servers whose stack has something else than what the files declare now. */
  readonly changed: readonly string[];
  /** False where a stack's state does not say what it was brought up from: the files stand for it then. */
  readonly isKnown: boolean;
  /** The stacks were brought up from different declarations. */
  readonly isMixed: boolean;
}

export interface OwnDeployed {
  readonly server: string;
  readonly declaration: Declaration;
}

interface Known {
  readonly server: string;
  readonly hash: string | undefined;
  /** Undefined where the state does not say, or in words that this version does not know. */
  readonly declaration: Declaration | undefined;
}

/** A server as its stack has it, reached as the files say. Where a lab's server is in its network is the running lab's word. */
function reached(then: ServerDeclaration | undefined, now: ServerDeclaration): ServerDeclaration {
  if (then === undefined) return now;
  const { address, port, user, hostKey, privateKeyFile } = now;
  return { ...then, address, port, user, hostKey, privateKeyFile, ...(now.isLab && { underlay: now.underlay }) };
}

function byName<T extends { readonly name: string }>(lists: readonly (readonly T[])[]): T[] {
  return [...new Map(lists.flat().map((one) => [one.name, one])).values()];
}

/** Of stacks that were brought up from different declarations: each server and its systems as its own stack has them, networks as one has. */
function mixed(first: Declaration, deployed: readonly OwnDeployed[]): Declaration {
  // The last of equal names stays: the first stack's.
  const others = deployed.map(({ declaration }) => declaration).reverse();
  const testbeds = others.map(({ testbed }) => testbed);
  const systems = deployed.flatMap(({ server, declaration }) => declaration.testbed.systems.filter((system) => system.server === server));
  return {
    ...first,
    nftables: Object.assign({}, ...others.map(({ nftables }) => nftables)) as Record<string, string>,
    firewallRules: Object.assign({}, ...others.map(({ firewallRules }) => firewallRules)) as Declaration["firewallRules"],
    testbed: {
      ...first.testbed,
      tenants: byName(testbeds.map(({ tenants }) => tenants)),
      networks: byName(testbeds.map(({ networks }) => networks)),
      // One whose move was cut off stands on two servers.
      systems: byName([[...systems].reverse()]).reverse(),
    },
  };
}

/** What the stacks have, the first of them with the word on what they share. */
export function joinDeployed(declared: Declaration, deployed: readonly OwnDeployed[], isMixed: boolean): Declaration {
  const [first] = deployed;
  if (first === undefined) return declared;
  const servers = declared.servers.map((server) => {
    const own = deployed.find((one) => one.server === server.name) ?? first;
    return reached(
      own.declaration.servers.find(({ name }) => name === server.name),
      server,
    );
  });
  return { ...(isMixed ? mixed(first.declaration, deployed) : first.declaration), servers };
}

function parsed(text: string | undefined): Declaration | undefined {
  if (text === undefined) return undefined;
  // One that was brought up before there were firewalls has no rules of any.
  const declaration = { firewallRules: {}, ...(JSON.parse(text) as Omit<Declaration, "firewallRules">) };
  return validateTestbed(declaration.testbed).length === 0 ? declaration : undefined;
}

async function knownOf(root: string, server: string): Promise<Known[]> {
  try {
    const stack = await readStack(root, server);
    return stack?.testbed === undefined ? [] : [{ server, hash: stack.declaration, declaration: parsed(stack.deployed) }];
  } catch {
    // A state that cannot be read is for `repair`; whoever looks or enters goes by the files.
    return [{ server, hash: undefined, declaration: undefined }];
  }
}

/** What is deployed; what is declared where nothing is, or where that is not known. */
export async function openDeployed(): Promise<DeployedContext> {
  const { root, declaration: declared } = openContext();
  const all = (await Promise.all(declared.servers.map(({ name }) => knownOf(root, name)))).flat();
  const now = declarationHash(declared);
  const changed = all.flatMap(({ server, hash }) => (hash === now ? [] : [server]));
  const isMixed = new Set(all.map(({ hash }) => hash)).size > 1;
  const known = all.flatMap(({ server, declaration }) => (declaration === undefined ? [] : [{ server, declaration }]));
  if (changed.length === 0) return { root, declaration: declared, changed, isKnown: true, isMixed };
  if (known.length < all.length) return { root, declaration: declared, changed, isKnown: false, isMixed };
  // A hub's stack first: it is brought up before the others.
  const isHub = (server: string): boolean => declared.servers.some(({ name, hub }) => name === server && hub);
  const ordered = [...known].sort((a, b) => Number(isHub(b.server)) - Number(isHub(a.server)));
  const declaration = joinDeployed(declared, ordered, isMixed);
  writeSshConfig(root, declaration);
  return { root, declaration, changed, isKnown: true, isMixed };
}

/** For people; undefined where files and servers agree. */
export function changedText({ changed, isKnown, isMixed, declaration }: DeployedContext): string | undefined {
  if (changed.length === 0) return undefined;
  const on = changed.join(", ");
  if (!isKnown)
    return `What was deployed on ${on} is not known: another version of flipflap brought it up, or its state cannot be read. These are the files; flipflap up makes them true.`;
  const mixture = isMixed ? "; the servers were brought up from different files" : "";
  return `The files have changed since testbed ${declaration.name} was brought up on ${on}${mixture}. This is what is deployed; flipflap up brings the change.`;
}

/** Says so where people look, and not in what a machine reads. */
export function sayChanged(context: DeployedContext): void {
  const text = changedText(context);
  if (text !== undefined) process.stderr.write(`${text}\n`);
}
