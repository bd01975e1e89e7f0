/** Made from schema.json by `npm run generate`; do not edit by hand. */

/**
 * What is measured on a testbed that is deployed. Every combination of the matrix is a cell; each round measures every cell once, in random order, beside server to server.
 */
export interface Experiment {
/**
 * A heading for people.
 */
title: string
/**
 * The question that it answers, in a sentence.
 */
asks: string
/**
 * The report that it reproduces: S0 to S4.
 */
report?: ("S0" | "S1" | "S2" | "S3" | "S4")
/**
 * How a cell is measured: throughput (iperf3, TCP), udp-pps (iperf3, small UDP packets), rr (netperf, request and response over one connection), crr (netperf, a connection for each), boot (containers from start to attached), boot-tunnels (gateways of sites from start until every tunnel carries packets), policy-complexity (throughput, for networks whose rules are one policy's), devices (pings by the tracer: the time at each device), trace (kernel functions' calls and time: still to come).
 */
method: ("throughput" | "udp-pps" | "rr" | "crr" | "boot" | "boot-tunnels" | "policy-complexity" | "devices" | "trace")
/**
 * Names of networks of the testbed. Default: all in which the method and the placement find their systems.
 * 
 * @minItems 1
 */
networks?: string[]
matrix?: Matrix
/**
 * For rr.
 */
protocol?: ("tcp" | "udp")
/**
 * For rr and crr.
 */
requestBytes?: number
/**
 * For rr and crr.
 */
responseBytes?: number
/**
 * For udp-pps: the payload of a packet.
 */
packetBytes?: number
/**
 * Of both ends, recorded with the results: bbr, a common default, hides differences by pacing.
 */
congestionControl?: string
/**
 * How much of it is measured: quick in minutes, full as published.
 */
profiles: {
quick: Profile
full: Profile
}
/**
 * Figures of the report, shown as marks beside ours.
 */
published?: Published[]
/**
 * devices: ways of the report, shown as rows below ours.
 */
publishedWays?: PublishedWay[]
}
/**
 * What the cells differ by; a cell is one value of each.
 * 
 * This interface was referenced by `Experiment`'s JSON-Schema
 * via the `definition` "Matrix".
 */
export interface Matrix {
/**
 * Both ends on one server, or on two.
 * 
 * @minItems 1
 */
placement?: ("same-server" | "across")[]
/**
 * boot-tunnels: how many sites' gateways are started at once, with those that their tunnels lead to.
 * 
 * @minItems 1
 */
sites?: number[]
/**
 * Filter rules in the way of the packets, in a chain of the experiment's own. For policy-complexity: rules of one policy.
 * 
 * @minItems 1
 */
rules?: number[]
/**
 * What the rules are made with. nft-sets: one rule of nft with a set. ebpf: the tenant's firewall, for networks that one looks at; the others are for networks without.
 * 
 * @minItems 1
 */
filter?: ("iptables" | "iptables-legacy" | "nft" | "nft-sets" | "ebpf")[]
/**
 * none: no rule matches, so all are tried; top: the first matches.
 * 
 * @minItems 1
 */
match?: ("none" | "top")[]
/**
 * TCP streams at once.
 * 
 * @minItems 1
 */
streams?: number[]
/**
 * forward: the first end sends; reverse: the second.
 * 
 * @minItems 1
 */
direction?: ("forward" | "reverse")[]
/**
 * Of the systems' interfaces, while the cell is measured; not above what the network carries.
 * 
 * @minItems 1
 */
mtuBytes?: number[]
/**
 * Segmentation offload of the systems' interfaces, while the cell is measured.
 * 
 * @minItems 1
 */
tso?: boolean[]
/**
 * free: the kernel places both programs; one: both on core 0, the steadiest figure of latency.
 * 
 * @minItems 1
 */
cores?: ("free" | "one")[]
/**
 * For boot: how many are started at once.
 * 
 * @minItems 1
 */
systems?: number[]
}
/**
 * How long, how often, and which part of the matrix.
 * 
 * This interface was referenced by `Experiment`'s JSON-Schema
 * via the `definition` "Profile".
 */
export interface Profile {
/**
 * Of one measurement, after what is dropped at its begin.
 */
seconds: number
/**
 * At least so many.
 */
rounds: number
/**
 * Rounds go on, for the cells that need it, until their interval is under `width`, or to this number. Default: `rounds`.
 */
mostRounds?: number
/**
 * The 95% interval of a median's share that is narrow enough.
 */
width?: number
matrix?: Matrix
}
/**
 * A figure of a report.
 * 
 * This interface was referenced by `Experiment`'s JSON-Schema
 * via the `definition` "Published".
 */
export interface Published {
/**
 * What it is, in the report's words.
 */
label: string
/**
 * In the method's unit.
 */
value: number
/**
 * The cells that it belongs to, by values of the matrix; a network's kind counts too.
 */
where?: {
[k: string]: (string | number | boolean) | undefined
}
}
/**
 * Where packets of the report spent their time.
 * 
 * This interface was referenced by `Experiment`'s JSON-Schema
 * via the `definition` "PublishedWay".
 */
export interface PublishedWay {
/**
 * What way it is, in the report's words.
 */
label: string
/**
 * In the order of the way.
 * 
 * @minItems 1
 */
parts: PublishedPart[]
}
/**
 * A device, or several, as the report put them together.
 * 
 * This interface was referenced by `Experiment`'s JSON-Schema
 * via the `definition` "PublishedPart".
 */
export interface PublishedPart {
name: string
/**
 * Each batch's mean, in us.
 * 
 * @minItems 1
 */
batches: number[]
}
