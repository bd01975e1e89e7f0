/**
 * What policies mean, told a second time: straight from their text, by nothing that the product compiles with. And a source of
 * policies that uses every form there is.
 */
import type { Expression, Ingress, Policy, Selector } from "../../components/net/policy/types.gen";

export interface Packet {
  readonly protocol: "tcp" | "udp" | "sctp" | "icmp";
  readonly port: number;
}

/** A system by its labels, or an address of somebody else. */
export type Sender = { readonly labels: Readonly<Record<string, string>> } | { readonly address: string };

function holds({ key, operator, values = [] }: Expression, labels: Readonly<Record<string, string>>): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

function means(selector: Selector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) if (labels[key] !== value) return false;
  for (const expression of selector.matchExpressions ?? []) if (!holds(expression, labels)) return false;
  return true;
}

const number = (address: string): number => address.split(".").reduce((total, byte) => total * 256 + Number(byte), 0);

function isWithin(address: string, prefix: string): boolean {
  const [network = "", length = "32"] = prefix.split("/");
  const size = 2 ** (32 - Number(length));
  return Math.floor(number(address) / size) === Math.floor(number(network) / size);
}

function comesFrom({ fromEndpoints, fromCIDR, fromCIDRSet, toPorts }: Ingress, sender: Sender): boolean {
  if (fromEndpoints !== undefined) {
    if (fromEndpoints.some((selector) => Object.keys(selector).length === 0)) return true;
    return "labels" in sender && fromEndpoints.some((selector) => means(selector, sender.labels));
  }
  if (fromCIDR !== undefined || fromCIDRSet !== undefined) {
    if ("labels" in sender) return false;
    const { address } = sender;
    if ((fromCIDR ?? []).some((prefix) => isWithin(address, prefix))) return true;
    return (fromCIDRSet ?? []).some(({ cidr, except = [] }) => isWithin(address, cidr) && !except.some((part) => isWithin(address, part)));
  }
  return toPorts !== undefined;
}

function goesTo({ toPorts }: Ingress, packet: Packet): boolean {
  if (toPorts === undefined) return true;
  for (const { ports } of toPorts) {
    for (const { port, endPort, protocol = "ANY" } of ports) {
      const word = protocol.toLowerCase();
      const isProtocol = word === "any" ? packet.protocol !== "icmp" : word === packet.protocol;
      if (isProtocol && Number(port) <= packet.port && packet.port <= (endPort ?? Number(port))) return true;
    }
  }
  return false;
}

export function mayArrive(policies: readonly Policy[], to: Readonly<Record<string, string>>, sender: Sender, packet: Packet): boolean {
  const own = policies.filter(({ endpointSelector }) => means(endpointSelector, to));
  if (own.length === 0) return true;
  return own.some(({ ingress }) => ingress.some((one) => comesFrom(one, sender) && goesTo(one, packet)));
}

/** Labels of systems: with one, with several, with none. */
export const labelSets: readonly Readonly<Record<string, string>>[] = [
  { app: "a" },
  { app: "a", env: "x" },
  { app: "b" },
  { app: "b", env: "y" },
  { app: "c", env: "x" },
  {},
];

export const packets: readonly Packet[] = [
  ...[79, 80, 81, 443, 8080].map((port) => ({ protocol: "tcp" as const, port })),
  ...[53, 80].map((port) => ({ protocol: "udp" as const, port })),
  { protocol: "sctp", port: 80 },
  { protocol: "icmp", port: 0 },
];

/** The same policies for the same seed. `prefixes` are such that somebody outside is in them, or not. */
export function generatePolicies(seed: number, prefixes: readonly string[]): Policy[] {
  let state = (seed * 2654435761) % 2147483647 || 1;
  const next = (): number => (state = (state * 48271) % 2147483647) / 2147483647;
  const one = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  const some = <T>(most: number, make: () => T): T[] => Array.from({ length: 1 + Math.floor(next() * most) }, make);

  const expression = (): Expression =>
    one<() => Expression>([
      () => ({ key: "app", operator: "In", values: some(2, () => one(["a", "b", "c"])) }),
      () => ({ key: "app", operator: "NotIn", values: some(2, () => one(["a", "b", "c"])) }),
      () => ({ key: "env", operator: "Exists" }),
      () => ({ key: "env", operator: "DoesNotExist" }),
    ])();
  const selector = (): Selector =>
    one<() => Selector>([
      () => ({ matchLabels: { app: one(["a", "b", "c"]) } }),
      () => ({ matchLabels: { env: one(["x", "y"]) } }),
      () => ({ matchLabels: { app: one(["a", "b"]), env: one(["x", "y"]) } }),
      () => ({ matchExpressions: [expression()] }),
      () => ({ matchLabels: { app: one(["a", "b"]) }, matchExpressions: [expression()] }),
    ])();
  const port = () => ({
    port: one<string | number>(["80", 80, "81", "443", 53]),
    ...(next() < 0.2 ? { endPort: one([443, 8080]) } : {}),
    ...(next() < 0.8 ? { protocol: one(["TCP", "UDP", "SCTP", "ANY", "tcp", "udp"] as const) } : {}),
  });
  const ingress = (): Ingress => {
    const from = one<() => Ingress>([
      () => ({}),
      () => ({ fromEndpoints: some(2, selector) }),
      () => ({ fromEndpoints: some(2, selector) }),
      () => ({ fromEndpoints: [{}] }),
      () => ({ fromCIDR: some(2, () => one(prefixes)) }),
      () => ({ fromCIDRSet: [{ cidr: "0.0.0.0/0", except: [one(prefixes.slice(1))] }] }),
    ])();
    return next() < 0.7 ? { ...from, toPorts: some(2, () => ({ ports: some(3, port) })) } : from;
  };
  // What a range begins after its end with is no policy.
  const isSound = (policy: Policy): boolean =>
    policy.ingress.every(({ toPorts = [] }) =>
      toPorts.every(({ ports }) => ports.every((p) => p.endPort === undefined || p.endPort >= Number(p.port))),
    );
  const policy = (): Policy => {
    for (;;) {
      const made = { endpointSelector: next() < 0.1 ? {} : selector(), ingress: some(3, ingress) };
      if (isSound(made)) return made;
    }
  };
  // Few of them cover one another; more in a set take no longer.
  return [policy(), ...some(4, policy)];
}
