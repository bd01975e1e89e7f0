/** What is declared, of all servers: the testbed and the stack files, schema-checked. */
import { createHash } from "node:crypto";
import type { PolicyFile } from "../net/policy/resolve";
import type { Link, Network, System, Testbed, Underlay } from "./types.gen";

export interface ServerDeclaration {
  readonly name: string;
  readonly hub: boolean;
  /** A hub beside the one that holds the secrets. */
  readonly second?: boolean;
  readonly isLab: boolean;
  readonly address: string;
  readonly port: number;
  readonly user: string;
  readonly hostKey: string;
  readonly privateKeyFile: string;
  readonly uplink: string;
  readonly underlay: Underlay;
  readonly locator?: string;
}

export interface Declaration {
  /** The testbed's name: that of its file. */
  readonly name: string;
  readonly testbed: Testbed;
  /** In the order of their names: what derives from it is the same for every stack. */
  readonly servers: readonly ServerDeclaration[];
  /** The files that the testbed names. */
  readonly policies: readonly PolicyFile[];
  /** Texts of the files of nftables rules that systems name, by their paths. */
  readonly nftables: Readonly<Record<string, string>>;
  /** Files of firewalls' rules, by their paths. */
  readonly firewallRules: Readonly<Record<string, RulesFile>>;
}

export interface RulesFile {
  /** SHA-256 of the text. */
  readonly hash: string;
  /** A stack's state does not keep it: it may be large. */
  readonly text?: string;
}

export const defaultLinkMtuBytes = 9000;
export const defaultUplink = "up0";

export function findServer(declaration: Declaration, name: string): ServerDeclaration | undefined {
  return declaration.servers.find((server) => server.name === name);
}

/** The hub that holds the secrets. */
export function firstHub(declaration: Declaration): ServerDeclaration | undefined {
  return declaration.servers.find((server) => server.hub && server.second !== true);
}

export function findNetwork(declaration: Declaration, name: string): Network | undefined {
  return declaration.testbed.networks.find((network) => network.name === name);
}

/** The NIC of a server on a link. */
/** Its addresses are known once the lab runs. */
export const isLabOff = (server: ServerDeclaration): boolean => server.isLab && server.underlay.ipv4 === "";

export function linkDevice(link: Link, server: Pick<ServerDeclaration, "name" | "uplink">): string {
  return link.interfaces?.[server.name] ?? server.uplink;
}

export function linkMtuBytes(link: Link): number {
  return link.mtuBytes ?? defaultLinkMtuBytes;
}

export function linkName(link: Link): string {
  return link.between.join("-");
}

/** Servers that have a system in the network. */
export function serversOf(declaration: Declaration, network: Network): ServerDeclaration[] {
  const names = new Set(declaration.testbed.systems.filter((s) => s.networks.some((n) => n.name === network.name)).map((s) => s.server));
  return declaration.servers.filter((server) => names.has(server.name));
}

export function systemsOn(declaration: Declaration, server: string): System[] {
  return declaration.testbed.systems.filter((system) => system.server === server);
}

/** Whether a system forwards for others. */
export const isRouter = ({ testbed }: Declaration, system: string): boolean =>
  testbed.systems.some(({ name, router }) => name === system && router === true);

/** The links by which servers reach one another. */
export function linksOf(declaration: Declaration, servers: readonly ServerDeclaration[]): Link[] {
  const names = servers.map((server) => server.name);
  return declaration.testbed.links.filter((link) => link.between.filter((name) => names.includes(name)).length >= 2);
}

/** What a stack's state keeps: where a key is on this machine is nothing of the testbed's, and rules are told by their hash. */
export const kept = (
  declaration: Declaration,
): Omit<Declaration, "servers"> & {
  readonly servers: readonly Omit<ServerDeclaration, "privateKeyFile">[];
} => ({
  ...declaration,
  servers: declaration.servers.map(({ privateKeyFile: _, ...server }) => server),
  firewallRules: Object.fromEntries(Object.entries(declaration.firewallRules).map(([path, { hash }]) => [path, { hash }])),
});

/** Tells whether two declarations are the same, whatever their files look like. */
export function declarationHash(declaration: Declaration): string {
  const { servers, testbed, policies, nftables, firewallRules } = kept(declaration);
  const rules = Object.keys(firewallRules).length === 0 ? [] : [firewallRules];
  const text = JSON.stringify([servers, testbed, policies, nftables, ...rules]);
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

/** Whether servers have a guard against their tenants. */
export const isGuarded = ({ testbed }: Declaration): boolean => testbed.tuning?.guard !== "off";
