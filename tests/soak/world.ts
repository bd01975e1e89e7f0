/** What a walk has declared so far, and the steps by which it changes. Pure: the same seed gives the same steps. */
import { samples, type TriedNetwork } from "../support/leaks/samples";
import { seeded } from "../support/seeded";

interface System {
  readonly name: string;
  readonly tenant: string;
  readonly server: string;
  readonly network: string;
  readonly memoryMiB?: number;
  readonly word?: string;
}

interface Network {
  readonly name: string;
  readonly tenant: string;
  readonly sort: NetworkSort;
  readonly index: number;
  readonly mtuBytes?: number;
}

export interface World {
  readonly servers: readonly string[];
  readonly networks: readonly Network[];
  readonly systems: readonly System[];
  readonly linkMtuBytes: number;
  readonly isUp: boolean;
  /** So that no name comes twice. */
  readonly made: number;
}

export const networkSorts = ["l2", "routed", "router", "nat", "evpn", "ila", "macvlan", "vxlan", "netns"] as const;
export type NetworkSort = (typeof networkSorts)[number];

/** Sorts whose systems are all on one server. */
const isLocal = (sort: NetworkSort): boolean => ["l2", "macvlan", "netns"].includes(sort);

export const faults = [
  "power-cut",
  "kill-pulumi",
  "kill-flipflap",
  "kill-agent",
  "kill-system",
  "kill-dockerd",
  "prune-images",
  "uplink-down",
  "second-project",
  "disk-full",
] as const;
export type Fault = (typeof faults)[number];

export type Change =
  | { readonly do: "add-network"; readonly sort: NetworkSort; readonly tenant: string; readonly at: number }
  | {
      readonly do: "remove-network" | "add-system" | "remove-system" | "move-system" | "change-system" | "change-network";
      readonly at: number;
    }
  | { readonly do: "change-link" | "join" | "leave" | "up" | "repair" | "refresh" | "destroy" };

export interface Step {
  readonly change: Change;
  /** In the middle of it, at this part of its time, on this server. */
  readonly fault?: { readonly fault: Fault; readonly part: number; readonly at: number };
}

export const firstWorld: World = { servers: ["flip", "flap"], networks: [], systems: [], linkMtuBytes: 9000, isUp: false, made: 0 };

const pick = <T>(items: readonly T[], at: number): T | undefined => items[Math.floor(at * items.length)];

/** The same seed gives the same steps; with a fault that is named each of them has that one, in its middle somewhere. */
export function drawSteps(seed: number, count: number, named?: Fault): Step[] {
  const next = seeded(seed);
  const kinds: readonly (readonly [number, Change["do"]])[] = [
    [6, "add-network"],
    [3, "remove-network"],
    [4, "add-system"],
    [3, "remove-system"],
    [3, "move-system"],
    [3, "change-system"],
    [2, "change-network"],
    [2, "change-link"],
    [2, "join"],
    [2, "leave"],
    [2, "up"],
    [2, "repair"],
    [2, "refresh"],
    [1, "destroy"],
  ];
  const bag = kinds.flatMap(([weight, kind]) => Array.from({ length: weight }, () => kind));
  return Array.from({ length: count }, (_, i): Step => {
    // Something to begin with.
    const kind = i === 0 ? "add-network" : (pick(bag, next()) ?? "up");
    const at = next();
    const sort = pick(networkSorts, next()) ?? "routed";
    const tenant = pick(["red", "blue", "gold"], next()) ?? "red";
    const change: Change = kind === "add-network" ? { do: kind, sort, tenant, at } : ({ do: kind, at } as Change);
    const [hasFault, fault, part, where] = [next() < 0.4, pick(faults, next()) ?? "kill-pulumi", next(), next()];
    if (named !== undefined) return { change, fault: { fault: named, part, at: where } };
    return hasFault ? { change, fault: { fault, part, at: where } } : { change };
  });
}

function newSystem(world: World, network: Network, at: number): System {
  const [first] = world.systems.filter((system) => system.network === network.name);
  const server = isLocal(network.sort) && first !== undefined ? first.server : (pick(world.servers, at) ?? "flip");
  return { name: `sys-${world.made}`, tenant: network.tenant, server, network: network.name };
}

/** What the change makes of the world; what it cannot change stays. */
export function changed(world: World, change: Change): World {
  switch (change.do) {
    case "add-network": {
      if (world.networks.length >= 5) return world;
      const network = { name: `net-${world.made}`, tenant: change.tenant, sort: change.sort, index: world.made };
      const grown = { ...world, networks: [...world.networks, network], made: world.made + 1 };
      const one = newSystem(grown, network, change.at);
      const more = { ...grown, systems: [...grown.systems, one], made: grown.made + 1 };
      return { ...more, systems: [...more.systems, newSystem(more, network, 1 - change.at)], made: more.made + 1 };
    }
    case "remove-network": {
      const gone = pick(world.networks, change.at)?.name;
      return {
        ...world,
        networks: world.networks.filter(({ name }) => name !== gone),
        systems: world.systems.filter(({ network }) => network !== gone),
      };
    }
    case "add-system": {
      const network = pick(world.networks, change.at);
      if (network === undefined || world.systems.length >= 10) return world;
      return { ...world, systems: [...world.systems, newSystem(world, network, (change.at * 7) % 1)], made: world.made + 1 };
    }
    case "remove-system": {
      const gone = pick(world.systems, change.at);
      return { ...world, systems: world.systems.filter((system) => system !== gone) };
    }
    case "move-system": {
      const moved = pick(world.systems, change.at);
      const network = world.networks.find(({ name }) => name === moved?.network);
      if (moved === undefined || network === undefined || isLocal(network.sort)) return world;
      const server =
        pick(
          world.servers.filter((name) => name !== moved.server),
          (change.at * 7) % 1,
        ) ?? moved.server;
      return { ...world, systems: world.systems.map((system) => (system === moved ? { ...system, server } : system)) };
    }
    case "change-system": {
      const one = pick(world.systems, change.at);
      const isBare = world.networks.find(({ name }) => name === one?.network)?.sort === "netns";
      if (one === undefined || isBare) return world;
      const other = change.at < 0.5 ? { ...one, memoryMiB: (one.memoryMiB ?? 64) + 64 } : { ...one, word: `w${world.made}` };
      return { ...world, systems: world.systems.map((system) => (system === one ? other : system)), made: world.made + 1 };
    }
    case "change-network": {
      const one = pick(world.networks, change.at);
      if (one === undefined) return world;
      const other = { ...one, mtuBytes: one.mtuBytes === 1400 ? 1300 : 1400 };
      return { ...world, networks: world.networks.map((network) => (network === one ? other : network)) };
    }
    case "change-link":
      return { ...world, linkMtuBytes: world.linkMtuBytes === 9000 ? 8000 : 9000 };
    case "join":
      return { ...world, servers: ["flip", "flap", "flop"] };
    case "leave": {
      const systems = world.systems.filter(({ server }) => server !== "flop");
      return { ...world, servers: ["flip", "flap"], systems };
    }
    case "destroy":
      return { ...world, isUp: false };
    case "up":
    case "repair":
    case "refresh":
      return world;
  }
}

/** Networks as the leak matrix knows them. */
export function triedNetworks({ networks, systems }: World): TriedNetwork[] {
  const all = Object.values(samples).flat();
  return networks.flatMap(({ name, tenant, sort }) => {
    const sample = all.find((one) => one.name === (sort === "macvlan" ? "local" : sort));
    const own = systems.filter(({ network }) => network === name);
    return sample === undefined || own.length === 0 ? [] : [{ ...sample, tenant, network: name, systems: own }];
  });
}

function networkText({ name, tenant, sort, index, mtuBytes }: Network, servers: readonly string[]): Record<string, unknown> {
  const all = { name, tenant, ...(mtuBytes !== undefined && sort !== "ila" && { mtuBytes }) };
  const subnets = Object.fromEntries(servers.map((server, i) => [server, `10.${100 + i}.${index}.0/24`]));
  switch (sort) {
    case "l2":
      return { ...all, kind: "bridge", mode: "l2", subnet: `10.20.${index}.0/24` };
    case "routed":
      return { ...all, kind: "bridge", mode: "routed", subnets };
    case "router":
      return { ...all, kind: "bridge", mode: "router", filter: "nft", subnets };
    case "nat":
      return { ...all, kind: "bridge", mode: "nat", subnet: `10.21.${index}.0/24` };
    case "evpn":
      return { ...all, kind: "evpn", vn: 1000 + index, subnet: "10.1.2.0/24" };
    case "ila":
      return { ...all, kind: "ila", vn: 1 + index, sir: `face:b00c:0:${(index + 1).toString(16)}::/64` };
    case "macvlan":
      return { ...all, kind: "macvlan", parent: "local", subnet: `10.22.${index}.0/24` };
    case "vxlan":
      return { ...all, kind: "macvlan", parent: `vxlan ${5000 + index}`, subnet: `10.23.${index}.0/24` };
    case "netns":
      return { ...all, kind: "netns", subnet: `10.24.${index}.0/24` };
  }
}

/** A testbed's file; JSON is YAML. Networks without systems are left out. */
export function testbedText(world: World): string {
  const used = world.networks.filter(({ name }) => world.systems.some(({ network }) => network === name));
  const tenants = [...new Set(["red", ...used.map(({ tenant }) => tenant)])].map((name) => ({ name }));
  const systems = world.systems.map(({ name, tenant, server, network, memoryMiB, word }) => ({
    name,
    tenant,
    server,
    ...(memoryMiB !== undefined && { limits: { memoryMiB } }),
    ...(word !== undefined && { env: { WORD: word } }),
    networks: [{ name: network }],
  }));
  const links = [{ between: world.servers, mtuBytes: world.linkMtuBytes }];
  return `${JSON.stringify({ tenants, networks: used.map((network) => networkText(network, world.servers)), systems, links }, null, 1)}\n`;
}

export function stepText({ change, fault }: Step): string {
  const words = Object.values(change).map((value) => (typeof value === "number" ? value.toFixed(2) : value));
  return `${words.join(" ")}${fault === undefined ? "" : `, in the middle: ${fault.fault} (${fault.part.toFixed(2)}, ${fault.at.toFixed(2)})`}`;
}
