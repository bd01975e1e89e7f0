/** What the leak matrix has of each kind: its networks in their sorts, a system on each server. Pure. */
import type { Network } from "../../../components/config/types.gen";

export const tenants = ["red", "blue"] as const;
export const servers = ["flip", "flap"] as const;

/** What is promised of a network. */
export interface Promises {
  /** Members of different servers reach one another. */
  readonly spans: boolean;
  /** Networks of one tenant with the same word reach one another. */
  readonly joined?: string;
  /** It is joined to those networks on its own server alone. */
  readonly joinedHere?: string;
  /** Policies let errors in from whom a system has spoken with, whatever they quote (Cilium 1.18). */
  readonly relatesErrors?: true;
  /** The server answers pings to its gateway. */
  readonly hasGateway?: true;
  /** Why nothing is promised of its systems: they are others' victims alone. */
  readonly unpromised?: string;
}

export interface Sample extends Promises {
  /** Part of the names of its networks and systems. */
  readonly name: string;
  /** Declares the network of a tenant, by a number that no other has: from 0 to 99. */
  readonly declare: (number: number) => string;
  /** Where it has systems; default: on all servers. */
  readonly servers?: readonly string[];
  /** Whose it is; default: a network for each tenant. */
  readonly tenants?: readonly string[];
  /** One more system on the hub, which a policy shuts. */
  readonly policed?: true;
}

/** A network as the matrix knows it. */
export interface TriedNetwork extends Promises {
  readonly tenant: string;
  readonly network: string;
  readonly systems: readonly TriedSystem[];
}

export interface TriedSystem {
  readonly name: string;
  readonly server: string;
  /** A policy lets nobody in. */
  readonly isShut?: boolean;
}

const split = (n: number): string =>
  `subnets: { flip: 10.${n + 100}.1.0/24, flap: 10.${n + 100}.2.0/24 }, subnets6: { flip: "fd66:${n}:1::/64", flap: "fd66:${n}:2::/64" }`;
const whole = (n: number): string => `subnet: 10.${n + 100}.0.0/24`;
const whole6 = (n: number): string => `${whole(n)}, subnet6: "fd66:${n}::/64"`;

/** One tenant's is another one's than the other's. */
const filterOf = (n: number): string => (n % 2 === 0 ? "filter: nft, " : "");

/** A kind that is not here is no kind: the compiler says so. */
export const samples: Readonly<Record<Network["kind"], readonly Sample[]>> = {
  bridge: [
    { name: "routed", declare: (n) => `mode: routed, ${split(n)}`, spans: true, joined: "routed", hasGateway: true, policed: true },
    {
      name: "router",
      declare: (n) => `mode: router, ${filterOf(n)}subnets: { flip: 10.${n + 100}.1.0/24, flap: 10.${n + 100}.2.0/24 }`,
      spans: true,
      joined: "routed",
    },
    { name: "nat", declare: (n) => `mode: nat, ${filterOf(n)}${whole(n)}`, spans: false, joinedHere: "routed", hasGateway: true },
    { name: "l2", declare: (n) => `mode: l2, ${whole6(n)}`, servers: ["flip"], spans: false },
  ],
  cilium: [
    {
      name: "cilium",
      declare: (n) => `subnets: { flip: 10.${n + 100}.1.0/24, flap: 10.${n + 100}.2.0/24 }`,
      tenants: ["red"],
      spans: true,
      policed: true,
      relatesErrors: true,
    },
  ],
  evpn: [{ name: "evpn", declare: (n) => `vn: ${n + 100}, ${whole6(n)}`, spans: true }],
  ila: [{ name: "ila", declare: (n) => `vn: ${n + 1}, sir: "face:b00c:0:${n + 1}::/64"`, spans: true }],
  macvlan: [
    { name: "local", declare: (n) => `parent: local, ${whole6(n)}`, servers: ["flip"], spans: false },
    // The server is a member, with an address of its own.
    {
      name: "served",
      declare: (n) => `parent: local, ${whole(n)}, serverAddresses: { flip: 10.${n + 100}.0.250 }`,
      servers: ["flip"],
      tenants: ["red"],
      spans: false,
    },
    { name: "vxlan", declare: (n) => `parent: vxlan ${n + 600}, ${whole6(n)}`, spans: true },
  ],
  netns: [
    { name: "netns", declare: (n) => whole6(n), servers: ["flip"], spans: false, unpromised: "a bare baseline is open by declaration" },
  ],
  swarm: [{ name: "swarm", declare: (n) => whole(n), spans: true, policed: true }],
};

export interface SampleNetwork extends Sample, TriedNetwork {
  readonly kind: string;
}

const systemsOf = ({ servers: own = servers, policed }: Sample, network: string): TriedSystem[] => [
  ...own.map((server) => ({ name: `${network}-${server}`, server })),
  ...(policed === true ? [{ name: `${network}-shut`, server: servers[0], isShut: true }] : []),
];

export const sampleNetworks: readonly SampleNetwork[] = Object.entries(samples).flatMap(([kind, own]) =>
  own.flatMap((sample) =>
    tenants
      .filter((tenant) => sample.tenants?.includes(tenant) ?? true)
      .map((tenant) => {
        const network = `${tenant}-${sample.name}`;
        return { ...sample, kind, tenant, network, systems: systemsOf(sample, network) };
      }),
  ),
);

/** Nobody has the label of those whom it lets in. */
export const shutPolicy = [
  { endpointSelector: { matchLabels: { id: "shut" } }, ingress: [{ fromEndpoints: [{ matchLabels: { id: "nobody" } }] }] },
];

/** Kinds whose systems a firewall looks at. */
const walled: readonly Network["kind"][] = ["bridge", "evpn", "ila"];

/** A testbed with everything, a file of policies, and rules for each tenant's firewall. */
export function matrixTestbed(policies: string, rules?: string): string {
  const networks = sampleNetworks.map(
    ({ kind, tenant, network, declare }, i) => `  - { name: ${network}, tenant: ${tenant}, kind: ${kind}, ${declare(i)} }`,
  );
  // Each with a label of its own: Cilium (1.18) may give one label two identities where two servers meet it at once.
  const systems = sampleNetworks.flatMap((one) =>
    one.systems.map(
      ({ name, server, isShut }) =>
        `  - { name: ${name}, tenant: ${one.tenant}, server: ${server}, labels: { id: ${isShut === true ? "shut" : name} }, networks: [{ name: ${one.network} }] }`,
    ),
  );
  return [
    `tenants: [${tenants.map((name) => `{ name: ${name} }`).join(", ")}]`,
    "networks:",
    ...networks,
    "systems:",
    ...systems,
    `policies: [${policies}]`,
    ...(rules === undefined
      ? []
      : [
          "firewalls:",
          ...tenants.map((tenant) => {
            const own = sampleNetworks.filter((one) => one.tenant === tenant && walled.some((kind) => kind === one.kind));
            return `  - { tenant: ${tenant}, rules: ${rules}, networks: [${own.map(({ network }) => network).join(", ")}] }`;
          }),
        ]),
    `links: [{ between: [${servers.join(", ")}], mtuBytes: 9000 }]`,
    "",
  ].join("\n");
}
