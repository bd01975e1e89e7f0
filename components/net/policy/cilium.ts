/** Policies as Cilium imports them. Pure. */
import type { PolicyFile } from "./resolve";
import { asksNothing, type Labels } from "./selector";
import type { Ingress, Policy, Selector, ToPorts } from "./types.gen";

/** Of Cilium's own (pkg/policy/api, MaxPorts): more stand in several entries. */
const maxPorts = 40;

/** Systems' labels come from their containers. */
const keyOf = (key: string): string => `container:${key.replace(/^(any|container)[.:]/, "")}`;

const selectorOf = ({ matchLabels, matchExpressions }: Selector): Selector => ({
  ...(matchLabels !== undefined && { matchLabels: Object.fromEntries(Object.entries(matchLabels).map(([key, v]) => [keyOf(key), v])) }),
  ...(matchExpressions !== undefined && { matchExpressions: matchExpressions.map((one) => ({ ...one, key: keyOf(one.key) })) }),
});

/** Identities of Cilium's own have none of our labels: what asks for the lack of one would mean them too. */
const notReserved = ["world", "host", "remote-node", "init", "health", "unmanaged"].map((name) => ({
  key: `reserved:${name}`,
  operator: "DoesNotExist" as const,
}));

/** Systems, and not the world: but for a selector that asks nothing. */
function sourceOf(selector: Selector): Selector {
  const own = selectorOf(selector);
  if (Object.keys(own.matchLabels ?? {}).length > 0 || asksNothing(selector)) return own;
  return { ...own, matchExpressions: [...(own.matchExpressions ?? []), ...notReserved] };
}

const chunks = <T>(list: readonly T[], size: number): T[][] =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));

function portsOf({ ports, rules }: ToPorts): ToPorts[] {
  const written = ports.map(({ port, endPort, protocol }) => ({
    port: String(port),
    ...(endPort !== undefined && { endPort }),
    protocol: (protocol ?? "ANY").toUpperCase() as "ANY",
  }));
  return chunks(written, maxPorts).map((some) => ({ ports: some, ...(rules !== undefined && { rules }) }));
}

function ingressOf({ fromEndpoints, fromCIDR, fromCIDRSet, toPorts }: Ingress): Ingress {
  return {
    ...(fromEndpoints !== undefined && { fromEndpoints: fromEndpoints.map(sourceOf) }),
    ...(fromCIDR !== undefined && { fromCIDR }),
    ...(fromCIDRSet !== undefined && { fromCIDRSet }),
    ...(toPorts !== undefined && { toPorts: toPorts.flatMap(portsOf) }),
  };
}

interface CiliumPolicy extends Omit<Policy, "ingress" | "labels"> {
  readonly ingress?: readonly (Ingress | { readonly fromEntities: readonly ["all"] })[];
  readonly egress?: readonly { readonly toEntities: readonly ["all"] }[];
  readonly labels: readonly { readonly key: string; readonly value: string }[];
}

/** The label that all of ours have: an import goes in the place of all that has the same ones. */
const labels = [{ key: "flipflap", value: "policies" }];

export function compileCilium(files: readonly PolicyFile[]): CiliumPolicy[] {
  return files.flatMap(({ policies }) =>
    policies.map((policy): CiliumPolicy => ({
      endpointSelector: selectorOf(policy.endpointSelector),
      ingress: policy.ingress.map(ingressOf),
      labels,
    })),
  );
}

/** The selector of systems that have these labels and, of all that there are, no other. */
export function exactly(own: Labels, keys: readonly string[]): Selector {
  return selectorOf({
    matchLabels: own,
    matchExpressions: keys.filter((key) => !Object.hasOwn(own, key)).map((key) => ({ key, operator: "DoesNotExist" })),
  });
}

/** All may ask, and these may be asked by all. */
export function openTo(selectors: readonly Selector[]): CiliumPolicy[] {
  return [
    { endpointSelector: {}, egress: [{ toEntities: ["all"] }], labels },
    ...selectors.map((endpointSelector): CiliumPolicy => ({ endpointSelector, ingress: [{ fromEntities: ["all"] }], labels })),
  ];
}
