// Code generated from schema.json by `npm run generate`; DO NOT EDIT.

// Package contract is what the program and a server's agent tell each other.
package contract

import "encoding/json"

// Version changes with the schema.
const Version = "a6690d2efd97"

// What a system's container is to have; a file for each in the server's folder of plans.
type AttachPlan struct {
	System     string            `json:"system"`
	Container  string            `json:"container"`
	Sysctls    map[string]string `json:"sysctls"`
	Interfaces []AttachInterface `json:"interfaces"`
	// All of nftables in the container; it stands before an interface is there. None: what is there is not our business.
	Nftables string `json:"nftables,omitempty"`
	// Only routes of programs in the container may lead to these prefixes: ours refuse them, as long as the container's network lives. nftables ends before the interfaces of a network that dies.
	Prohibited []string `json:"prohibited,omitempty"`
	// At most at once; docker's provider has no word for it. 0: as docker has it.
	Processes int64 `json:"processes"`
	// Docker does not start it: the agent does, once what guards its networks stands.
	StartedByAgent bool `json:"startedByAgent,omitempty"`
}

type AttachInterface struct {
	Network string `json:"network"`
	// Inside the container.
	Name string `json:"name"`
	// On the server.
	HostName string `json:"hostName"`
	MAC      string `json:"mac"`
	// Of the server's end: fixed, as a switch's port has one.
	PortMAC  string `json:"portMac"`
	MTUBytes int    `json:"mtuBytes"`
	// With prefix length.
	Addresses []string      `json:"addresses"`
	Routes    []AttachRoute `json:"routes"`
	// By ethtool's names, inside.
	Offloads map[string]bool `json:"offloads"`
	// Of the server's end.
	PortOffloads map[string]bool `json:"portOffloads"`
	// Permanent ones, inside the container.
	Neighbours []AttachNeighbour `json:"neighbours"`
	// Empty where the server routes to the system.
	Bridge string `json:"bridge"`
	// Whether the bridge learns MACs at the system's port. Where not, it forwards frames to link-local groups like others, and the port makes no IPv6 address.
	Learns bool `json:"learns"`
	// Whether frames to stations that the bridge does not know go out there.
	Floods *bool `json:"floods,omitempty"`
	// What parts of the agent do for the interface beside the attach itself.
	Hooks  []AttachHook  `json:"hooks"`
	Parent *AttachParent `json:"parent,omitempty"`
	// A system of its network tells it an IPv4 address, and the way to others.
	DHCP bool `json:"dhcp,omitempty"`
	// It takes that way: no interface has a declared one.
	DHCPRoute bool `json:"dhcpRoute,omitempty"`
	// Changes with the device that it sits on: another one of the same name has none of its interfaces.
	ParentIdentity string      `json:"parentIdentity,omitempty"`
	Docker         *DockerJoin `json:"docker,omitempty"`
}

// A device of the server that the interface sits on, without a server's end; the fields of that say nothing then.
type AttachParent struct {
	Device string `json:"device"`
	Driver string `json:"driver"`
	Mode   string `json:"mode"`
}

type AttachRoute struct {
	// A prefix, or `default` of the next hop's family.
	To  string `json:"to"`
	Via string `json:"via"`
}

type AttachNeighbour struct {
	Address string `json:"address"`
	MAC     string `json:"mac"`
}

// What one part of the agent is to do for an interface.
type AttachHook struct {
	// The part's name.
	Type string `json:"type"`
	// What that part reads.
	Args json.RawMessage `json:"args"`
	// What a look is to find; `@addresses` stands for the interface's own.
	Wanted map[string]Property `json:"wanted"`
}

// Of a look: a text, or texts in their order.
type Property = any

// Docker makes the interface: the server's end is docker's own, and the fields of that say nothing.
type DockerJoin struct {
	Network string `json:"network"`
	// A script below the folder of kinds that must have run before anybody is let in; none where it is empty.
	Guard string `json:"guard"`
	// A container whose being there keeps the network's namespace.
	Holder string `json:"holder,omitempty"`
	// The guard runs in the network's own namespace, or, where a container is named, once that was started anew.
	GuardedBy string `json:"guardedBy,omitempty"`
}

// What the agent writes of a system.
type AttachStatus struct {
	System   string `json:"system"`
	SpecHash string `json:"specHash"`
	Pid      int    `json:"pid"`
	// From the container's start to the end of the attach.
	AttachedMs int64 `json:"attachedMs"`
	// Of which the attach itself.
	WorkMs      int64         `json:"workMs"`
	StartedAtMs int64         `json:"startedAtMs"`
	Nftables    *ToldNftables `json:"nftables,omitempty"`
	// Attached, but for what another system of its network has not told it yet: no fault, and nothing that an `up` waits for.
	Waiting string `json:"waiting,omitempty"`
	// The last property: the server's own shell reads it.
	Error string `json:"error,omitempty"`
}

// What a container's nftables was told, and how it listed that.
type ToldNftables struct {
	Told   string `json:"told"`
	Listed string `json:"listed"`
}

// What is there of a system that runs: what a check compares with its plan.
type Looked struct {
	Contract   string                     `json:"contract"`
	System     string                     `json:"system"`
	Interfaces map[string]LookedInterface `json:"interfaces"`
	Sysctls    map[string]string          `json:"sysctls"`
	Processes  int64                      `json:"processes"`
	// `as declared` or `changed`.
	Nftables   string   `json:"nftables,omitempty"`
	Prohibited []string `json:"prohibited,omitempty"`
	Error      string   `json:"error,omitempty"`
}

type LookedInterface struct {
	MAC       string   `json:"mac"`
	MTUBytes  int      `json:"mtuBytes"`
	Up        bool     `json:"up"`
	Addresses []string `json:"addresses"`
	// `PREFIX via NEXT HOP`
	Routes   []string        `json:"routes"`
	Offloads map[string]bool `json:"offloads"`
	Parent   *LookedParent   `json:"parent,omitempty"`
	// None where the server's end is gone.
	Port *LookedPort `json:"port,omitempty"`
	// None where the device is gone.
	Tap *Tap `json:"tap,omitempty"`
	// What parts of the agent found.
	Parts map[string]Property `json:"parts"`
}

// Where programs see an interface's packets before anything else does.
type Tap struct {
	Device string `json:"device"`
	// The file of the device's network namespace on the server; empty: the server's own.
	Namespace string `json:"namespace"`
	// The direction of the device by which the system's own packets come.
	Sends string `json:"sends"`
	// What tells the system's packets from others' on the device; empty: all are its own, or its addresses tell them.
	MAC string `json:"mac,omitempty"`
	// The same, where interfaces have no MAC of their own.
	Addresses []string `json:"addresses,omitempty"`
}

// A packet as a device saw it: what a tunnel carries, and the tunnel beside it.
type TracePacket struct {
	// Of Ethernet: 2048 is IPv4, 34525 IPv6, 2054 ARP.
	Type     int    `json:"type"`
	Protocol int    `json:"protocol"`
	Source   string `json:"source"`
	Target   string `json:"target"`
	// Of ICMP: its type times 256, and its code.
	SourcePort int `json:"sourcePort"`
	// Of ICMP: its identifier.
	TargetPort int `json:"targetPort"`
	// Of TCP, ICMP and ESP; of ARP its operation.
	Sequence     int `json:"sequence"`
	Acknowledged int `json:"acknowledged"`
	TcpFlags     int `json:"tcpFlags"`
	// Of IPv4.
	ID           int `json:"id"`
	PayloadBytes int `json:"payloadBytes"`
	// TTL, hop limit.
	Hops int `json:"hops"`
	// Of the frame on the wire; of what a tunnel carries, its own.
	Bytes  int          `json:"bytes"`
	Flags  []string     `json:"flags,omitempty"`
	Tunnel *TraceTunnel `json:"tunnel,omitempty"`
}

type TraceTunnel struct {
	Kind   string `json:"kind"`
	Source string `json:"source"`
	Target string `json:"target"`
	// The VXLAN network, or ESP's security parameters index.
	Number int `json:"number"`
}

// A packet at one of the kernel's tracepoints.
type TraceStep struct {
	// A system, a router, an overlay; empty: the server's own.
	Namespace string `json:"namespace"`
	Device    string `json:"device"`
	Point     string `json:"point"`
	// By this server's monotonic clock.
	AtNs int64 `json:"atNs"`
	Cpu  int   `json:"cpu"`
	// Which of the leg's packets.
	Packet int `json:"packet"`
	// Which of the leg's socket buffers: copies and segments have others.
	Buffer int `json:"buffer"`
	// Why it was dropped, by the kernel's own word.
	Reason string `json:"reason,omitempty"`
}

// A packet's way through one server.
type TraceLeg struct {
	// The same on all servers, whatever bridges, NAT and tunnels change.
	Identity string `json:"identity"`
	// How many of this identity came before on this server, of those that are still known.
	Ordinal int `json:"ordinal"`
	// The filter does not want it: it is told because it may carry what the filter wants.
	Aside   bool          `json:"aside"`
	Packets []TracePacket `json:"packets"`
	Steps   []TraceStep   `json:"steps"`
}

// What the programs have seen, and what it cost.
type TraceCounts struct {
	// Hits of tracepoints in the server's namespaces.
	Seen    int64 `json:"seen"`
	Matched int64 `json:"matched"`
	// Matched, and no room in the ring.
	Lost int64 `json:"lost"`
	// The kernel did not run a program because it ran on that CPU already: whether these packets were wanted is not known.
	Missed int64 `json:"missed"`
	Legs   int64 `json:"legs"`
	// Legs that came faster than they were heard.
	Untold int64 `json:"untold"`
	// Of the agent's process; what the programs take is others' time.
	CpuMs   int64   `json:"cpuMs"`
	Seconds float64 `json:"seconds"`
}

// A line of what a server's tracer prints: one of these.
type TraceLine struct {
	Ready *TraceReady `json:"ready,omitempty"`
	Leg   *TraceLeg   `json:"leg,omitempty"`
	// The last line.
	Counts *TraceCounts `json:"counts,omitempty"`
}

// The first line of what a server's tracer is told.
type TracePlan struct {
	Contract string `json:"contract"`
	// An expression of tcpdump's; empty: all packets.
	Filter string `json:"filter"`
	// What is told beside what the filter wants: the packets that may carry it unread. Empty: nothing.
	Also string `json:"also"`
	// What is not told whatever the filter wants: the connection that it is told by.
	Exclude string `json:"exclude"`
	// One packet of so many, the same ones on all servers.
	SampleOf int `json:"sampleOf"`
	// 0: until it is ended.
	Seconds int `json:"seconds"`
	// Once where a device sends and once where it receives, or at every tracepoint.
	Points string `json:"points"`
	// Packets are redirected to systems, past all tracepoints: they are seen at the systems' own interfaces.
	Redirects bool       `json:"redirects"`
	Probe     TraceProbe `json:"probe"`
}

// Pings that bound how far this server's clock is from others'.
type TraceProbe struct {
	// IPv4 addresses of servers.
	Targets []string `json:"targets"`
	// Of ICMP: by this they are told from others' pings.
	Identifier int `json:"identifier"`
}

type TraceReady struct {
	Contract string `json:"contract"`
	// Tracepoints that this kernel has not.
	Missing []string `json:"missing"`
	// The wall clock less the monotonic one: more digits than a number of JavaScript's has.
	WallNs   string `json:"wallNs"`
	AttachMs int64  `json:"attachMs"`
}

type LookedParent struct {
	Device string `json:"device"`
	Driver string `json:"driver"`
	Mode   string `json:"mode"`
}

type LookedPort struct {
	MAC      string          `json:"mac"`
	MTUBytes int             `json:"mtuBytes"`
	Up       bool            `json:"up"`
	Bridge   string          `json:"bridge"`
	Learns   bool            `json:"learns"`
	Floods   bool            `json:"floods"`
	Offloads map[string]bool `json:"offloads"`
}

// What a server must know to join a swarm.
type SwarmSite struct {
	// `ADDRESS:PORT`
	Manager string `json:"manager"`
	Address string `json:"address"`
}

// A server's part of the testbed's ILA.
type IlaSite struct {
	Server string `json:"server"`
	Uplink string `json:"uplink"`
	// Of etcd.
	Endpoints []string `json:"endpoints"`
	// Of the keys there.
	Root         string `json:"root"`
	LeaseSeconds int    `json:"leaseSeconds"`
	// Of the table of mappings.
	Capacity int `json:"capacity"`
	// The report's form: locator addresses on the uplink, deprecated and without their local routes.
	LocatorAddresses bool             `json:"locatorAddresses"`
	Servers          []IlaServer      `json:"servers"`
	Networks         []IlaNetworkSite `json:"networks"`
}

type IlaServer struct {
	Name    string `json:"name"`
	Locator string `json:"locator"`
	NextHop string `json:"nextHop"`
	// Of the next hop; where it is not given, the kernel finds it out.
	MAC string `json:"mac,omitempty"`
}

type IlaNetworkSite struct {
	Name string `json:"name"`
	VN   uint32 `json:"vn"`
	SIR  string `json:"sir"`
	// On this server: ebpf, kernel.
	Backend   string `json:"backend"`
	Csum      string `json:"csum"`
	Translate bool   `json:"translate"`
	MTUBytes  int    `json:"mtuBytes"`
	// Whether systems may leave checksums to a NIC.
	ChecksumOffload bool `json:"checksumOffload"`
}

// What `flipflap status` and the docs show of a server's ILA.
type IlaFacts struct {
	Contract string `json:"contract"`
	Registry string `json:"registry"`
	SinceMs  int64  `json:"sinceMs"`
	Mappings int    `json:"mappings"`
	// A thousand at most.
	Systems []IlaSystem       `json:"systems"`
	Drops   map[string]uint64 `json:"drops"`
}

type IlaSystem struct {
	Address string `json:"address"`
	Network string `json:"network"`
	// Of packets to it between servers.
	Wire   string `json:"wire"`
	Server string `json:"server"`
}

// What one server has a part in: packets that its systems send, and systems that look what arrives.
type ProbePlan struct {
	Contract string `json:"contract"`
	// Containers, or paths of namespaces.
	Receive []string `json:"receive"`
	Send    []Probe  `json:"send"`
	// 0: as many as a busy server needs.
	Rounds int `json:"rounds"`
}

type Probe struct {
	ID          uint32 `json:"id"`
	From        string `json:"from"`
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Protocol    string `json:"protocol"`
	Port        uint16 `json:"port"`
}

// A tenant's firewall on a server: a file of its kinds.
type FirewallSite struct {
	Name string `json:"name"`
	// The hash of its rules, which are a file beside.
	Rules string `json:"rules"`
	// What -i and -o may name, in an order that stays.
	Networks []string      `json:"networks"`
	Ends     []FirewallEnd `json:"ends"`
}

// An address of a system that a firewall looks at.
type FirewallEnd struct {
	Address string `json:"address"`
	System  string `json:"system"`
	Network string `json:"network"`
	// On this server.
	Here bool `json:"here"`
	// No system's: the server's own in a network, which neighbours ask for.
	Gateway bool `json:"gateway,omitempty"`
}

// What a plan's hook `firewall` says of an interface.
type FirewallHook struct {
	Firewall string `json:"firewall"`
	Network  string `json:"network"`
	// Packets go through the system.
	Router bool `json:"router"`
}

// What is in force of a firewall; a file.
type FirewallStatus struct {
	Name string `json:"name"`
	// Of the file's bytes, as the barrier on the server computes it.
	SiteHash string `json:"siteHash"`
	// The hash of the rules that judge.
	Rules string `json:"rules"`
	// Why what is declared is not in force.
	Error string `json:"error,omitempty"`
}

// A file of rules that is to be read, and packets that are to be judged by it.
type FirewallQuestion struct {
	Text string `json:"text"`
	// What -i and -o may name.
	Networks []string `json:"networks"`
	// Without the rules themselves.
	Short   bool             `json:"short"`
	Packets []FirewallPacket `json:"packets"`
}

// What rules look at.
type FirewallPacket struct {
	Source      string `json:"source"`
	Destination string `json:"destination"`
	Protocol    int    `json:"protocol"`
	SourcePort  int    `json:"sourcePort"`
	// Of ICMP: its type.
	DestinationPort int `json:"destinationPort"`
	// The network that it comes by; empty: any other.
	In  string `json:"in"`
	Out string `json:"out"`
	// Of its connection, as conntrack says it.
	State string `json:"state"`
}

// A file of rules, read.
type FirewallReading struct {
	Contract string          `json:"contract"`
	Faults   []FirewallFault `json:"faults"`
	Rules    []FirewallRule  `json:"rules"`
	// That the programs look through, of both families.
	Entries int `json:"entries"`
	// That the file says something of; another lets nothing through.
	Families []string          `json:"families"`
	Verdicts []FirewallVerdict `json:"verdicts"`
}

// Why a file of rules is not taken.
type FirewallFault struct {
	Line   int    `json:"line"`
	Column int    `json:"column"`
	What   string `json:"what"`
	Fix    string `json:"fix"`
}

// A rule of a file.
type FirewallRule struct {
	// ipv4 or ipv6
	Family string `json:"family"`
	Table  string `json:"table"`
	Chain  string `json:"chain"`
	Line   int    `json:"line"`
	// As iptables -S prints it, behind its chain.
	Text   string `json:"text"`
	Target string `json:"target"`
	// Why no program can hold it.
	Refused string `json:"refused,omitempty"`
	Fix     string `json:"fix,omitempty"`
	Packets uint64 `json:"packets,omitempty"`
	Bytes   uint64 `json:"bytes,omitempty"`
	// No rule, but what its chain says of all that no rule decides.
	Policy bool `json:"policy,omitempty"`
}

// What becomes of a packet.
type FirewallVerdict struct {
	Accept bool `json:"accept"`
	// The rules that it meets, by their numbers in the reading; the last decides unless the policy does.
	Met      []int `json:"met"`
	ByPolicy bool  `json:"byPolicy"`
}

// What a server's firewalls hold and have counted.
type FirewallFacts struct {
	Contract  string         `json:"contract"`
	Firewalls []FirewallFact `json:"firewalls"`
	// Packets that no rules have seen, by why.
	Dropped map[string]uint64 `json:"dropped"`
}

// A firewall on a server.
type FirewallFact struct {
	Name string `json:"name"`
	// The hash of the rules that judge; empty: none, and all is dropped.
	InForce     string `json:"inForce"`
	Entries     int    `json:"entries"`
	Connections int    `json:"connections"`
	// Packets that no rule has dropped, by why.
	Dropped map[string]uint64 `json:"dropped"`
	Rules   []FirewallRule    `json:"rules"`
}
