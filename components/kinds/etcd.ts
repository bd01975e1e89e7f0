/** The hub's key-value store, for kinds whose servers tell one another where their systems are. */
import { type Declaration, firstHub, type ServerDeclaration } from "../config/declaration";
import { awaitAddresses } from "../host/awaitAddresses";
import { declare, type HostObject } from "../host/objectType";
import { objectTypes } from "../host/objects";
import { type Leaf, leafFolder } from "../host/objects/certificates";
import { ownContainers } from "../net/names";
import type { ContainerPlan, SharedParts } from "./parts";
import { freeTcpPort, type Requirement } from "./requirement";

export const etcdPort = 2379;
const peerPort = 2380;

const addressOf = (hub: ServerDeclaration): string => hub.underlay.ipv4.split("/")[0] ?? "";

/** Where the servers find it; nowhere without a hub. */
export function etcdEndpoints(declaration: Declaration): string[] {
  const hub = firstHub(declaration);
  return hub === undefined ? [] : [`https://${addressOf(hub)}:${etcdPort}`];
}

const etcdRequirements: readonly Requirement[] = [
  { tool: "openssl", why: "the testbed's own certificates" },
  { tool: "ss", why: "seeing who listens on etcd's ports (package iproute2)" },
  ...[etcdPort, peerPort].map((port) => freeTcpPort(port, ownContainers.etcd, "etcd, where servers tell one another")),
];

/** What is in the store is told again, so that it may start on nothing; a store that was cut off may not open. */
const startEmpty = 'rm -rf /data; exec etcd "$@"';

/** Cilium's agents take other numbers for identities where they find none: what is there is kept, unless it does not open. */
const startWithData = 'if [ -e /failed ]; then rm -rf /data /failed; fi; touch /failed; (sleep 5; rm -f /failed) & exec etcd "$@"';

function containerPlan(hub: ServerDeclaration, keepsData: boolean): ContainerPlan {
  const client = `https://${addressOf(hub)}:${etcdPort}`;
  const peer = `https://127.0.0.1:${peerPort}`;
  const tls = (prefix: string): string[] => [
    `--${prefix}client-cert-auth`,
    `--${prefix}trusted-ca-file=/tls/ca.crt`,
    `--${prefix}cert-file=/tls/tls.crt`,
    `--${prefix}key-file=/tls/tls.key`,
  ];
  return {
    container: ownContainers.etcd,
    image: "etcd",
    command: [
      "sh",
      "-c",
      `${awaitAddresses([addressOf(hub)]).text}\n${keepsData ? startWithData : startEmpty}`,
      "etcd",
      ...["--name=hub", "--data-dir=/data", "--logger=zap", "--log-level=warn"],
      ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`, ...tls("")],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=hub=${peer}`, ...tls("peer-")],
      "--unsafe-no-fsync",
      ...["--auto-compaction-mode=periodic", "--auto-compaction-retention=5m"],
    ],
    capabilities: [],
    files: [],
    folders: [{ server: leafFolder("etcd"), container: "/tls" }],
  };
}

/** The kinds that share the store, and the names by which their servers speak to it. */
const clients = { ila: "ila-agent", cilium: "cilium-agent" } as const;

export const etcdClient = (kind: keyof typeof clients): string => clients[kind];

/** The store and the authority for its certificates: of the first kind of the testbed that needs them, for all of these. */
export function etcdAuthority(declaration: Declaration, kind: keyof typeof clients): SharedParts["authority"] {
  const hub = firstHub(declaration);
  const users = (Object.keys(clients) as (keyof typeof clients)[]).filter((one) =>
    declaration.testbed.networks.some((network) => network.kind === one),
  );
  if (hub === undefined || users[0] !== kind) return undefined;
  const leaves: Leaf[] = [
    { name: "etcd", addresses: [addressOf(hub), "127.0.0.1"], uses: ["serverAuth", "clientAuth"] },
    ...users.map((one): Leaf => ({ name: clients[one], addresses: [], uses: ["clientAuth"] })),
  ];
  const parts = [
    declare(objectTypes.certificates, "certificates", { leaves, readers: [ownContainers.etcd] }) as HostObject,
    containerPlan(hub, users.includes("cilium")),
  ];
  return { component: "Etcd", parts, requires: etcdRequirements };
}
