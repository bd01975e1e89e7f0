/** What a server must hold for the testbed, as data. Components render it; tests and the CLI read it. Pure. */
import { createHash } from "node:crypto";
import type { ServerAddition } from "../capabilities/capability";
import { capabilities } from "../capabilities/registry";
import { type Declaration, type ServerDeclaration, serversOf, systemsOn } from "../config/declaration";
import type { Network } from "../config/types.gen";
import { declare, type HostObject } from "../host/objectType";
import { objectTypes } from "../host/objects";
import { isContainer, type Part, type SecretText, type SharedParts } from "../kinds/parts";
import { kindOf } from "../kinds/registry";
import { type Requirement } from "../kinds/requirement";
import { formatPrefix } from "../net/cidr";
import { ownContainers } from "../net/names";
import { kindContexts, networkContexts } from "./contexts";
import { impairmentRequirements, serverSettings, serverSysctls } from "./serverSettings";
import { type ContainerSystem, imageOf, isBare, systemPlan, type SystemPlan } from "./systems";

const { agentFolders, attached } = objectTypes;

export interface NetworkPlan {
  readonly network: Network;
  readonly mtuBytes: number;
  readonly nve: readonly Part[];
}

/** What the networks of a kind share on the server. */
export interface KindPlan {
  readonly kind: Network["kind"];
  readonly shared: SharedParts;
}

export interface ServerPlan {
  readonly server: ServerDeclaration;
  readonly requirements: readonly Requirement[];
  readonly routing: { readonly prefixes: readonly string[]; readonly forwardsIpv6: boolean };
  /** The server's own settings. */
  readonly settings: readonly HostObject[];
  readonly agentFolders: HostObject;
  readonly kinds: readonly KindPlan[];
  readonly networks: readonly NetworkPlan[];
  /** Of capabilities, by their names. */
  readonly additions: ReadonlyMap<string, ServerAddition>;
  /** Names of the secrets that it uses. */
  readonly secrets: readonly string[];
  readonly systems: readonly SystemPlan[];
  /** Names of images/, and archives. */
  readonly images: readonly string[];
  readonly attached: HostObject;
}

/** The prefixes that a server routes for a network: those that have a gateway. */
function routedPrefixTexts(network: Network, server: string): string[] {
  const kind = kindOf(network);
  if (!kind.routesOnServer) return [];
  const [prefixes, gateways] = [kind.prefixes(network, server), kind.gateways(network, server)];
  return (["ipv4", "ipv6"] as const).flatMap((family) => {
    const prefix = prefixes[family];
    return prefix === undefined || gateways[family] === undefined ? [] : [formatPrefix(prefix)];
  });
}

/** What every server needs, whatever the kinds. */
export const commonRequirements: readonly Requirement[] = [
  { tool: "docker", why: "containers" },
  { tool: "ip", why: "links, addresses and routes (package iproute2)" },
  { tool: "ethtool", why: "offloads" },
  { tool: "ping", why: "testing reachability (package iputils-ping)" },
  { tool: "nsenter", why: "looking into containers (package util-linux)" },
  { kernelOption: "CONFIG_VETH", why: "the systems' interfaces" },
  { kernelOption: "CONFIG_BPF_SYSCALL", why: "programs at the systems' interfaces" },
  { kernelOption: "CONFIG_NET_CLS_ACT", why: "programs at the systems' interfaces" },
];

function fileSecrets(files: readonly { readonly content: SecretText }[]): string[] {
  return files.flatMap((file) => file.content.flatMap((piece) => (typeof piece === "string" ? [] : [piece.secret])));
}

function partSecrets(parts: readonly Part[]): string[] {
  return parts.flatMap((part) => (isContainer(part) ? fileSecrets(part.files) : []));
}

export function planServer(declaration: Declaration, server: ServerDeclaration): ServerPlan {
  const contexts = networkContexts(declaration, server);
  const systems = systemsOn(declaration, server.name).map((system) => systemPlan(declaration, contexts, system));
  const networks = [...contexts.values()].map((context) => {
    const { network, mtuBytes } = context;
    return { network, mtuBytes, nve: kindOf(network).nve(context) };
  });
  const kinds = kindContexts(declaration, server, contexts).map(({ kind, context }): KindPlan => {
    const { authority, ...shared } = kind.shared(context);
    return { kind: kind.kind, shared: server.hub && authority !== undefined ? { ...shared, authority } : shared };
  });
  // A hub has the authority of kinds that it has no systems of.
  const authorities = new Set(kinds.flatMap(({ kind, shared }) => (shared.authority === undefined ? [] : [kind])));
  const requiring = declaration.testbed.networks.filter((network) => contexts.has(network.name) || authorities.has(network.kind));
  const parts = [
    ...kinds.flatMap(({ shared }) => [...(shared.authority?.parts ?? []), ...shared.edge, ...shared.joints]),
    ...networks.flatMap(({ nve }) => nve),
  ];
  const agentSecrets = kinds.flatMap(({ shared }) => fileSecrets(shared.agent?.files ?? []));
  const containers = systems.filter((plan): plan is ContainerSystem => !isBare(plan));
  const hash = createHash("sha256")
    .update(JSON.stringify(containers.map((s) => s.attach.spec)))
    .digest("hex")
    .slice(0, 16);
  const images = ["agent", ...containers.map(imageOf), ...parts.flatMap((part) => (isContainer(part) ? [part.image] : []))];
  const files = systems.flatMap(({ system }) => system.files ?? []);
  const additionSecrets = containers.flatMap(({ addition }) => fileSecrets(addition?.files ?? []));
  const additions = new Map(capabilities.map(({ name, server: add }) => [name, add(declaration, server, contexts)]));
  const added = [...additions.values()];
  const prefixes = networks.flatMap(({ network }) => declaration.servers.flatMap(({ name }) => routedPrefixTexts(network, name)));
  return {
    server,
    routing: { prefixes: [...new Set(prefixes)].sort(), forwardsIpv6: "net.ipv6.conf.all.forwarding" in serverSysctls(declaration) },
    requirements: [
      ...commonRequirements,
      ...impairmentRequirements(declaration, server),
      ...requiring.flatMap((network) => kindOf(network).requires(network, server.name, declaration)),
      ...[...contexts.values()].flatMap(({ network, policies }) =>
        policies.resolved.selected.length === 0 || !serversOf(declaration, network).includes(server)
          ? []
          : (kindOf(network).policies?.requires(network) ?? []),
      ),
      ...kinds.flatMap(({ shared }) => shared.authority?.requires ?? []),
      ...added.flatMap(({ requirements }) => requirements),
      ...(containers.some(({ attach }) => attach.spec.nftables !== undefined)
        ? [{ tool: "nft", why: "rules of routers and gateways (package nftables)" }]
        : []),
    ],
    settings: [...serverSettings(declaration, server), ...added.flatMap((addition) => addition.settings)],
    agentFolders: declare(agentFolders, "agent-folders", { container: ownContainers.agent }) as HostObject,
    kinds,
    networks,
    secrets: [
      ...new Set([...files.flatMap((file) => file.secret ?? []), ...partSecrets(parts), ...agentSecrets, ...additionSecrets]),
    ].sort(),
    additions,
    systems,
    images: [...new Set(images)].sort(),
    attached: declare(attached, "attached", { systems: containers.map((s) => s.system.name).sort(), plansHash: hash }) as HostObject,
  };
}
