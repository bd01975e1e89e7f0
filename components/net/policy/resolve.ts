/**
 * Policies with their selectors resolved: which systems are protected, and what each rule lets reach them. What enforces
 * them compiles from here. Pure.
 */
import { asksNothing, matches, type Labels } from "./selector";
import type { CidrSet, HttpRule, Ingress, Policy, Port } from "./types.gen";

export interface PolicyFile {
  /** As the testbed names it. */
  readonly path: string;
  readonly policies: readonly Policy[];
}

export interface Endpoint {
  readonly system: string;
  readonly labels: Labels;
}

export type Protocol = "tcp" | "udp" | "sctp";

export interface PortRange {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
}

export type Source =
  | { readonly kind: "anybody" }
  | { readonly kind: "systems"; readonly systems: readonly string[] }
  | { readonly kind: "prefixes"; readonly prefixes: readonly CidrSet[] };

export interface AllowRule {
  /** Letters, digits and hyphens: a comment in iptables, unique in the testbed. */
  readonly id: string;
  /** Where it is written: policies/web.json[0].ingress[1].toPorts[0].ports[2] */
  readonly path: string;
  readonly to: readonly string[];
  readonly from: Source;
  /** None: all that there is, ICMP too. */
  readonly ports?: PortRange;
  readonly http?: readonly HttpRule[];
}

export interface ResolvedPolicy {
  /** Systems that accept only what a rule allows. */
  readonly selected: readonly string[];
  readonly rules: readonly AllowRule[];
}

const protocolsOf = (port: Port): Protocol[] => {
  const protocol = (port.protocol ?? "ANY").toLowerCase();
  return protocol === "any" ? ["tcp", "udp", "sctp"] : [protocol as Protocol];
};

export function portRanges(port: Port): PortRange[] {
  const first = Number(port.port);
  return protocolsOf(port).map((protocol) => ({ protocol, first, last: port.endPort ?? first }));
}

function sourcesOf(ingress: Ingress, peers: readonly Endpoint[]): Source[] {
  const { fromEndpoints, fromCIDR, fromCIDRSet, toPorts } = ingress;
  if (fromEndpoints !== undefined) {
    // As Cilium has it: a selector that asks nothing is everybody, and not the systems only.
    if (fromEndpoints.some(asksNothing)) return [{ kind: "anybody" }];
    const systems = peers.filter(({ labels }) => fromEndpoints.some((selector) => matches(selector, labels))).map(({ system }) => system);
    return [{ kind: "systems", systems }];
  }
  if (fromCIDR !== undefined || fromCIDRSet !== undefined)
    return [{ kind: "prefixes", prefixes: [...(fromCIDR ?? []).map((cidr) => ({ cidr })), ...(fromCIDRSet ?? [])] }];
  // An entry that names nothing at all allows nothing.
  return toPorts === undefined ? [] : [{ kind: "anybody" }];
}

const stem = (path: string): string => (path.split("/").at(-1) ?? path).replace(/\.json$/, "").replaceAll(/[^A-Za-z0-9]+/g, "-");

function rulesOf(file: PolicyFile, index: number, to: readonly string[], peers: readonly Endpoint[]): AllowRule[] {
  const policy = file.policies[index] as Policy;
  return policy.ingress.flatMap((ingress, i) =>
    sourcesOf(ingress, peers).flatMap((from): AllowRule[] => {
      const [id, path] = [`${stem(file.path)}-${index}-${i}`, `${file.path}[${index}].ingress[${i}]`];
      if (ingress.toPorts === undefined) return [{ id, path, to, from }];
      return ingress.toPorts.flatMap(({ ports, rules }, t) =>
        ports.flatMap((port, p) =>
          portRanges(port).map((range) => ({
            id: `${id}-${t}-${p}-${range.protocol}`,
            path: `${path}.toPorts[${t}].ports[${p}]`,
            to,
            from,
            ports: range,
            ...(rules !== undefined && { http: rules.http }),
          })),
        ),
      );
    }),
  );
}

/** `endpoints` may be protected, `peers` may reach them: those, and the others that packets come from. */
export function resolvePolicies(files: readonly PolicyFile[], endpoints: readonly Endpoint[], peers: readonly Endpoint[]): ResolvedPolicy {
  const selected = new Set<string>();
  const rules = files.flatMap((file) =>
    file.policies.flatMap((policy, index) => {
      const to = endpoints.filter(({ labels }) => matches(policy.endpointSelector, labels)).map(({ system }) => system);
      for (const system of to) selected.add(system);
      return to.length === 0 ? [] : rulesOf(file, index, to, peers);
    }),
  );
  return { selected: [...selected].sort(), rules };
}

/** Whether a system may ask another; without a port: anything, ICMP too. Both are of the testbed, so that no prefix means them. */
export function allows(
  { selected, rules }: ResolvedPolicy,
  from: string,
  to: string,
  port?: { readonly protocol: Protocol; readonly number: number },
): boolean {
  if (!selected.includes(to)) return true;
  return rules.some((rule) => {
    if (!rule.to.includes(to) || rule.from.kind === "prefixes") return false;
    if (rule.from.kind === "systems" && !rule.from.systems.includes(from)) return false;
    const { ports } = rule;
    return (
      ports === undefined ||
      (port !== undefined && ports.protocol === port.protocol && ports.first <= port.number && port.number <= ports.last)
    );
  });
}
