/** Made from schema.json by `npm run generate`; do not edit by hand. */

/**
 * Policies of one file: who may reach the systems that a selector names. A system that no policy selects accepts all; one that a policy selects accepts what its policies allow, replies to what it asked itself, and nothing else.
 */
export type Policies = Policy[]

/**
 * What the selected systems accept. The form is Cilium's.
 */
export interface Policy {
/**
 * For people.
 */
description?: string
/**
 * Labels of the policy itself, as Cilium's examples have them: for people.
 */
labels?: ({
[k: string]: unknown
} | string)[]
endpointSelector: Selector
/**
 * What they accept: every entry allows more. An empty entry allows nothing and makes all that is not allowed denied.
 * 
 * @minItems 1
 */
ingress: Ingress[]
}
/**
 * The systems that it protects. `{}` selects all.
 */
export interface Selector {
/**
 * Labels and their values. A label without a value is written with an empty one.
 */
matchLabels?: {
/**
 * The label's value.
 */
[k: string]: string | undefined
}
/**
 * Conditions on labels.
 */
matchExpressions?: Expression[]
}
/**
 * A condition on a label.
 */
export interface Expression {
/**
 * The label.
 */
key: string
/**
 * What is asked of it.
 */
operator: ("In" | "NotIn" | "Exists" | "DoesNotExist")
/**
 * With `In` and `NotIn`: the values.
 */
values?: string[]
}
/**
 * Packets from these systems or prefixes (from anybody where neither is named) to these ports (all where none is named).
 */
export interface Ingress {
/**
 * Systems by their labels: any of the selectors. `[{}]` is everybody, systems or not.
 * 
 * @minItems 1
 */
fromEndpoints?: Selector1[]
/**
 * Prefixes outside of the testbed: a system is known by its labels, and no prefix stands for it.
 * 
 * @minItems 1
 */
fromCIDR?: string[]
/**
 * Prefixes with exceptions.
 * 
 * @minItems 1
 */
fromCIDRSet?: CidrSet[]
/**
 * Ports: any of the entries.
 * 
 * @minItems 1
 */
toPorts?: ToPorts[]
}
/**
 * Systems by their labels: all conditions hold. `{}` is all systems.
 */
export interface Selector1 {
/**
 * Labels and their values. A label without a value is written with an empty one.
 */
matchLabels?: {
/**
 * The label's value.
 */
[k: string]: string | undefined
}
/**
 * Conditions on labels.
 */
matchExpressions?: Expression[]
}
/**
 * A prefix without parts of it.
 */
export interface CidrSet {
/**
 * A prefix.
 */
cidr: string
/**
 * Parts of it that are left out.
 */
except?: string[]
}
/**
 * Ports, and what may be asked there.
 */
export interface ToPorts {
/**
 * Ports of the selected systems, any number of them.
 * 
 * @minItems 1
 */
ports: Port[]
rules?: L7Rules
}
/**
 * A port or a range of ports.
 */
export interface Port {
/**
 * 1 to 65535; a number, or its text as Cilium has it.
 */
port: (string | number)
/**
 * The last port of a range.
 */
endPort?: number
/**
 * The transport; `ANY` is TCP, UDP and SCTP.
 */
protocol?: ("TCP" | "UDP" | "SCTP" | "ANY" | "tcp" | "udp" | "sctp" | "any")
}
/**
 * What may be asked on the ports.
 */
export interface L7Rules {
/**
 * HTTP requests, any of them.
 * 
 * @minItems 1
 */
http: HttpRule[]
}
/**
 * An HTTP request; what is not named may be anything.
 */
export interface HttpRule {
/**
 * A pattern of the method: GET.
 */
method?: string
/**
 * A pattern of the path: /public.
 */
path?: string
/**
 * A pattern of the host.
 */
host?: string
/**
 * Headers that must be there.
 */
headers?: string[]
}
