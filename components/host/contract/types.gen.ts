/** Made from agent/contract/schema.json by `npm run generate`; do not edit by hand. */
export const contractVersion = "a6690d2efd97";


/**
 * Of a look: a text, or texts in their order.
 */
export type Property = (string | readonly string[])

/**
 * What a system's container is to have; a file for each in the server's folder of plans.
 */
export interface AttachPlan {
readonly system: string
readonly container: string
readonly sysctls: {
readonly [k: string]: string
}
readonly interfaces: readonly AttachInterface[]
/**
 * All of nftables in the container; it stands before an interface is there. None: what is there is not our business.
 */
readonly nftables?: string
/**
 * Only routes of programs in the container may lead to these prefixes: ours refuse them, as long as the container's network lives. nftables ends before the interfaces of a network that dies.
 */
readonly prohibited?: readonly string[]
/**
 * At most at once; docker's provider has no word for it. 0: as docker has it.
 */
readonly processes: number
/**
 * Docker does not start it: the agent does, once what guards its networks stands.
 */
readonly startedByAgent?: boolean
}
export interface AttachInterface {
readonly network: string
/**
 * Inside the container.
 */
readonly name: string
/**
 * On the server.
 */
readonly hostName: string
readonly mac: string
/**
 * Of the server's end: fixed, as a switch's port has one.
 */
readonly portMac: string
readonly mtuBytes: number
/**
 * With prefix length.
 */
readonly addresses: readonly string[]
readonly routes: readonly AttachRoute[]
/**
 * By ethtool's names, inside.
 */
readonly offloads: {
readonly [k: string]: boolean
}
/**
 * Of the server's end.
 */
readonly portOffloads: {
readonly [k: string]: boolean
}
/**
 * Permanent ones, inside the container.
 */
readonly neighbours: readonly AttachNeighbour[]
/**
 * Empty where the server routes to the system.
 */
readonly bridge: string
/**
 * Whether the bridge learns MACs at the system's port. Where not, it forwards frames to link-local groups like others, and the port makes no IPv6 address.
 */
readonly learns: boolean
/**
 * Whether frames to stations that the bridge does not know go out there.
 */
readonly floods?: boolean
/**
 * What parts of the agent do for the interface beside the attach itself.
 */
readonly hooks: readonly AttachHook[]
readonly parent?: AttachParent
/**
 * A system of its network tells it an IPv4 address, and the way to others.
 */
readonly dhcp?: boolean
/**
 * It takes that way: no interface has a declared one.
 */
readonly dhcpRoute?: boolean
/**
 * Changes with the device that it sits on: another one of the same name has none of its interfaces.
 */
readonly parentIdentity?: string
readonly docker?: DockerJoin
}
export interface AttachRoute {
/**
 * A prefix, or `default` of the next hop's family.
 */
readonly to: string
readonly via: string
}
export interface AttachNeighbour {
readonly address: string
readonly mac: string
}
/**
 * What one part of the agent is to do for an interface.
 */
export interface AttachHook {
/**
 * The part's name.
 */
readonly type: string
/**
 * What that part reads.
 */
readonly args: {
readonly [k: string]: unknown
}
/**
 * What a look is to find; `@addresses` stands for the interface's own.
 */
readonly wanted: {
readonly [k: string]: Property
}
}
/**
 * A device of the server that the interface sits on, without a server's end; the fields of that say nothing then.
 */
export interface AttachParent {
readonly device: string
readonly driver: ("macvlan" | "ipvlan")
readonly mode: string
}
/**
 * Docker makes the interface: the server's end is docker's own, and the fields of that say nothing.
 */
export interface DockerJoin {
readonly network: string
/**
 * A script below the folder of kinds that must have run before anybody is let in; none where it is empty.
 */
readonly guard: string
/**
 * A container whose being there keeps the network's namespace.
 */
readonly holder?: string
/**
 * The guard runs in the network's own namespace, or, where a container is named, once that was started anew.
 */
readonly guardedBy?: string
}
/**
 * What the agent writes of a system.
 */
export interface AttachStatus {
readonly system: string
readonly specHash: string
readonly pid: number
/**
 * From the container's start to the end of the attach.
 */
readonly attachedMs: number
/**
 * Of which the attach itself.
 */
readonly workMs: number
readonly startedAtMs: number
readonly nftables?: ToldNftables
/**
 * Attached, but for what another system of its network has not told it yet: no fault, and nothing that an `up` waits for.
 */
readonly waiting?: string
/**
 * The last property: the server's own shell reads it.
 */
readonly error?: string
}
/**
 * What a container's nftables was told, and how it listed that.
 */
export interface ToldNftables {
readonly told: string
readonly listed: string
}
/**
 * What is there of a system that runs: what a check compares with its plan.
 */
export interface Looked {
readonly contract: string
readonly system: string
readonly interfaces: {
readonly [k: string]: LookedInterface
}
readonly sysctls: {
readonly [k: string]: string
}
readonly processes: number
/**
 * `as declared` or `changed`.
 */
readonly nftables?: string
readonly prohibited?: readonly string[]
readonly error?: string
}
export interface LookedInterface {
readonly mac: string
readonly mtuBytes: number
readonly up: boolean
readonly addresses: readonly string[]
/**
 * `PREFIX via NEXT HOP`
 */
readonly routes: readonly string[]
readonly offloads: {
readonly [k: string]: boolean
}
readonly parent?: LookedParent
readonly port?: LookedPort
readonly tap?: Tap
/**
 * What parts of the agent found.
 */
readonly parts: {
readonly [k: string]: Property
}
}
export interface LookedParent {
readonly device: string
readonly driver: string
readonly mode: string
}
/**
 * None where the server's end is gone.
 */
export interface LookedPort {
readonly mac: string
readonly mtuBytes: number
readonly up: boolean
readonly bridge: string
readonly learns: boolean
readonly floods: boolean
readonly offloads: {
readonly [k: string]: boolean
}
}
/**
 * None where the device is gone.
 */
export interface Tap {
readonly device: string
/**
 * The file of the device's network namespace on the server; empty: the server's own.
 */
readonly namespace: string
/**
 * The direction of the device by which the system's own packets come.
 */
readonly sends: ("ingress" | "egress")
/**
 * What tells the system's packets from others' on the device; empty: all are its own, or its addresses tell them.
 */
readonly mac?: string
/**
 * The same, where interfaces have no MAC of their own.
 */
readonly addresses?: readonly string[]
}
/**
 * Where programs see an interface's packets before anything else does.
 */
export interface Tap1 {
readonly device: string
/**
 * The file of the device's network namespace on the server; empty: the server's own.
 */
readonly namespace: string
/**
 * The direction of the device by which the system's own packets come.
 */
readonly sends: ("ingress" | "egress")
/**
 * What tells the system's packets from others' on the device; empty: all are its own, or its addresses tell them.
 */
readonly mac?: string
/**
 * The same, where interfaces have no MAC of their own.
 */
readonly addresses?: readonly string[]
}
/**
 * A packet as a device saw it: what a tunnel carries, and the tunnel beside it.
 */
export interface TracePacket {
/**
 * Of Ethernet: 2048 is IPv4, 34525 IPv6, 2054 ARP.
 */
readonly type: number
readonly protocol: number
readonly source: string
readonly target: string
/**
 * Of ICMP: its type times 256, and its code.
 */
readonly sourcePort: number
/**
 * Of ICMP: its identifier.
 */
readonly targetPort: number
/**
 * Of TCP, ICMP and ESP; of ARP its operation.
 */
readonly sequence: number
readonly acknowledged: number
readonly tcpFlags: number
/**
 * Of IPv4.
 */
readonly id: number
readonly payloadBytes: number
/**
 * TTL, hop limit.
 */
readonly hops: number
/**
 * Of the frame on the wire; of what a tunnel carries, its own.
 */
readonly bytes: number
readonly flags?: ("first fragment" | "later fragment" | "super")[]
readonly tunnel?: TraceTunnel
}
export interface TraceTunnel {
readonly kind: ("vxlan" | "esp")
readonly source: string
readonly target: string
/**
 * The VXLAN network, or ESP's security parameters index.
 */
readonly number: number
}
/**
 * A packet at one of the kernel's tracepoints.
 */
export interface TraceStep {
/**
 * A system, a router, an overlay; empty: the server's own.
 */
readonly namespace: string
readonly device: string
readonly point: ("net_dev_queue" | "net_dev_start_xmit" | "net_dev_xmit" | "netif_rx" | "napi_gro_receive_entry" | "netif_receive_skb" | "kfree_skb" | "tcx_ingress")
/**
 * By this server's monotonic clock.
 */
readonly atNs: number
readonly cpu: number
/**
 * Which of the leg's packets.
 */
readonly packet: number
/**
 * Which of the leg's socket buffers: copies and segments have others.
 */
readonly buffer: number
/**
 * Why it was dropped, by the kernel's own word.
 */
readonly reason?: string
}
/**
 * A packet's way through one server.
 */
export interface TraceLeg {
/**
 * The same on all servers, whatever bridges, NAT and tunnels change.
 */
readonly identity: string
/**
 * How many of this identity came before on this server, of those that are still known.
 */
readonly ordinal: number
/**
 * The filter does not want it: it is told because it may carry what the filter wants.
 */
readonly aside: boolean
readonly packets: readonly TracePacket[]
readonly steps: readonly TraceStep[]
}
/**
 * What the programs have seen, and what it cost.
 */
export interface TraceCounts {
/**
 * Hits of tracepoints in the server's namespaces.
 */
readonly seen: number
readonly matched: number
/**
 * Matched, and no room in the ring.
 */
readonly lost: number
/**
 * The kernel did not run a program because it ran on that CPU already: whether these packets were wanted is not known.
 */
readonly missed: number
readonly legs: number
/**
 * Legs that came faster than they were heard.
 */
readonly untold: number
/**
 * Of the agent's process; what the programs take is others' time.
 */
readonly cpuMs: number
readonly seconds: number
}
/**
 * A line of what a server's tracer prints: one of these.
 */
export interface TraceLine {
readonly ready?: TraceReady
readonly leg?: TraceLeg
readonly counts?: TraceCounts1
}
export interface TraceReady {
readonly contract: string
/**
 * Tracepoints that this kernel has not.
 */
readonly missing: readonly string[]
/**
 * The wall clock less the monotonic one: more digits than a number of JavaScript's has.
 */
readonly wallNs: string
readonly attachMs: number
}
/**
 * The last line.
 */
export interface TraceCounts1 {
/**
 * Hits of tracepoints in the server's namespaces.
 */
readonly seen: number
readonly matched: number
/**
 * Matched, and no room in the ring.
 */
readonly lost: number
/**
 * The kernel did not run a program because it ran on that CPU already: whether these packets were wanted is not known.
 */
readonly missed: number
readonly legs: number
/**
 * Legs that came faster than they were heard.
 */
readonly untold: number
/**
 * Of the agent's process; what the programs take is others' time.
 */
readonly cpuMs: number
readonly seconds: number
}
/**
 * The first line of what a server's tracer is told.
 */
export interface TracePlan {
readonly contract: string
/**
 * An expression of tcpdump's; empty: all packets.
 */
readonly filter: string
/**
 * What is told beside what the filter wants: the packets that may carry it unread. Empty: nothing.
 */
readonly also: string
/**
 * What is not told whatever the filter wants: the connection that it is told by.
 */
readonly exclude: string
/**
 * One packet of so many, the same ones on all servers.
 */
readonly sampleOf: number
/**
 * 0: until it is ended.
 */
readonly seconds: number
/**
 * Once where a device sends and once where it receives, or at every tracepoint.
 */
readonly points: ("devices" | "all")
/**
 * Packets are redirected to systems, past all tracepoints: they are seen at the systems' own interfaces.
 */
readonly redirects: boolean
readonly probe: TraceProbe
}
/**
 * Pings that bound how far this server's clock is from others'.
 */
export interface TraceProbe {
/**
 * IPv4 addresses of servers.
 */
readonly targets: readonly string[]
/**
 * Of ICMP: by this they are told from others' pings.
 */
readonly identifier: number
}
export interface LookedPort1 {
readonly mac: string
readonly mtuBytes: number
readonly up: boolean
readonly bridge: string
readonly learns: boolean
readonly floods: boolean
readonly offloads: {
readonly [k: string]: boolean
}
}
/**
 * What a server must know to join a swarm.
 */
export interface SwarmSite {
/**
 * `ADDRESS:PORT`
 */
readonly manager: string
readonly address: string
}
/**
 * A server's part of the testbed's ILA.
 */
export interface IlaSite {
readonly server: string
readonly uplink: string
/**
 * Of etcd.
 */
readonly endpoints: readonly string[]
/**
 * Of the keys there.
 */
readonly root: string
readonly leaseSeconds: number
/**
 * Of the table of mappings.
 */
readonly capacity: number
/**
 * The report's form: locator addresses on the uplink, deprecated and without their local routes.
 */
readonly locatorAddresses: boolean
readonly servers: readonly IlaServer[]
readonly networks: readonly IlaNetworkSite[]
}
export interface IlaServer {
readonly name: string
readonly locator: string
readonly nextHop: string
/**
 * Of the next hop; where it is not given, the kernel finds it out.
 */
readonly mac?: string
}
export interface IlaNetworkSite {
readonly name: string
readonly vn: number
readonly sir: string
/**
 * On this server: ebpf, kernel.
 */
readonly backend: string
readonly csum: string
readonly translate: boolean
readonly mtuBytes: number
/**
 * Whether systems may leave checksums to a NIC.
 */
readonly checksumOffload: boolean
}
/**
 * What `flipflap status` and the docs show of a server's ILA.
 */
export interface IlaFacts {
readonly contract: string
readonly registry: string
readonly sinceMs: number
readonly mappings: number
/**
 * A thousand at most.
 */
readonly systems: readonly IlaSystem[]
readonly drops: {
readonly [k: string]: number
}
}
export interface IlaSystem {
readonly address: string
readonly network: string
/**
 * Of packets to it between servers.
 */
readonly wire: string
readonly server: string
}
/**
 * What one server has a part in: packets that its systems send, and systems that look what arrives.
 */
export interface ProbePlan {
readonly contract: string
/**
 * Containers, or paths of namespaces.
 */
readonly receive: readonly string[]
readonly send: readonly Probe[]
/**
 * 0: as many as a busy server needs.
 */
readonly rounds: number
}
export interface Probe {
readonly id: number
readonly from: string
readonly source: string
readonly destination: string
readonly protocol: ("tcp" | "udp" | "sctp" | "icmp")
readonly port: number
}
/**
 * A tenant's firewall on a server: a file of its kinds.
 */
export interface FirewallSite {
readonly name: string
/**
 * The hash of its rules, which are a file beside.
 */
readonly rules: string
/**
 * What -i and -o may name, in an order that stays.
 */
readonly networks: readonly string[]
readonly ends: readonly FirewallEnd[]
}
/**
 * An address of a system that a firewall looks at.
 */
export interface FirewallEnd {
readonly address: string
readonly system: string
readonly network: string
/**
 * On this server.
 */
readonly here: boolean
/**
 * No system's: the server's own in a network, which neighbours ask for.
 */
readonly gateway?: boolean
}
/**
 * What a plan's hook `firewall` says of an interface.
 */
export interface FirewallHook {
readonly firewall: string
readonly network: string
/**
 * Packets go through the system.
 */
readonly router: boolean
}
/**
 * What is in force of a firewall; a file.
 */
export interface FirewallStatus {
readonly name: string
/**
 * Of the file's bytes, as the barrier on the server computes it.
 */
readonly siteHash: string
/**
 * The hash of the rules that judge.
 */
readonly rules: string
/**
 * Why what is declared is not in force.
 */
readonly error?: string
}
/**
 * A file of rules that is to be read, and packets that are to be judged by it.
 */
export interface FirewallQuestion {
readonly text: string
/**
 * What -i and -o may name.
 */
readonly networks: readonly string[]
/**
 * Without the rules themselves.
 */
readonly short: boolean
readonly packets: readonly FirewallPacket[]
}
/**
 * What rules look at.
 */
export interface FirewallPacket {
readonly source: string
readonly destination: string
readonly protocol: number
readonly sourcePort: number
/**
 * Of ICMP: its type.
 */
readonly destinationPort: number
/**
 * The network that it comes by; empty: any other.
 */
readonly in: string
readonly out: string
/**
 * Of its connection, as conntrack says it.
 */
readonly state: string
}
/**
 * A file of rules, read.
 */
export interface FirewallReading {
readonly contract: string
readonly faults: readonly FirewallFault[]
readonly rules: readonly FirewallRule[]
/**
 * That the programs look through, of both families.
 */
readonly entries: number
/**
 * That the file says something of; another lets nothing through.
 */
readonly families: readonly string[]
readonly verdicts: readonly FirewallVerdict[]
}
/**
 * Why a file of rules is not taken.
 */
export interface FirewallFault {
readonly line: number
readonly column: number
readonly what: string
readonly fix: string
}
/**
 * A rule of a file.
 */
export interface FirewallRule {
/**
 * ipv4 or ipv6
 */
readonly family: string
readonly table: string
readonly chain: string
readonly line: number
/**
 * As iptables -S prints it, behind its chain.
 */
readonly text: string
readonly target: string
/**
 * Why no program can hold it.
 */
readonly refused?: string
readonly fix?: string
readonly packets?: number
readonly bytes?: number
/**
 * No rule, but what its chain says of all that no rule decides.
 */
readonly policy?: boolean
}
/**
 * What becomes of a packet.
 */
export interface FirewallVerdict {
readonly accept: boolean
/**
 * The rules that it meets, by their numbers in the reading; the last decides unless the policy does.
 */
readonly met: readonly number[]
readonly byPolicy: boolean
}
/**
 * What a server's firewalls hold and have counted.
 */
export interface FirewallFacts {
readonly contract: string
readonly firewalls: readonly FirewallFact[]
/**
 * Packets that no rules have seen, by why.
 */
readonly dropped: {
readonly [k: string]: number
}
}
/**
 * A firewall on a server.
 */
export interface FirewallFact {
readonly name: string
/**
 * The hash of the rules that judge; empty: none, and all is dropped.
 */
readonly inForce: string
readonly entries: number
readonly connections: number
/**
 * Packets that no rule has dropped, by why.
 */
readonly dropped: {
readonly [k: string]: number
}
readonly rules: readonly FirewallRule[]
}
