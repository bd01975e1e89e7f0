/** Made from schema.json by `npm run generate`; do not edit by hand. */

/**
 * A virtual network; `kind` says how it is built.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Network".
 */
export type Network = (BridgeNetwork | CiliumNetwork | EvpnNetwork | IlaNetwork | MacvlanNetwork | NetnsNetwork | SwarmNetwork)
/**
 * Lower-case letters, digits and inner hyphens; starts with a letter.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Name".
 */
export type Name = string

/**
 * A testbed: tenants, their networks and systems, the links between servers. Shared by all stacks.
 */
export interface Testbed {
/**
 * Who the networks and systems belong to. What belongs to one tenant does not reach what belongs to another.
 * 
 * @minItems 1
 */
tenants: Tenant[]
/**
 * The virtual networks (VNs). Each belongs to one tenant.
 */
networks: Network[]
/**
 * The tenant systems: containers in one or more networks.
 */
systems: System[]
/**
 * Which servers a cable or switch joins.
 */
links: Link[]
/**
 * Files of policies, relative to the project: policies/web.json. See docs/policies.md.
 */
policies?: string[]
/**
 * Random secrets that arise at `up` on the hub and reach the systems that name them in `files`; kept encrypted in the state.
 */
secrets?: Secret[]
tuning?: Tuning
bgp?: Bgp
ila?: Ila
/**
 * The sites that tunnels join: a gateway, and what lies behind it.
 */
sites?: Site[]
/**
 * IPsec tunnels between sites, or between gateways themselves.
 */
tunnels?: Tunnel[]
vpn?: Vpn
/**
 * What tenants' systems may send and get, by rules in iptables' words. See docs/firewall.md.
 */
firewalls?: Firewall[]
}
/**
 * A tenant.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Tenant".
 */
export interface Tenant {
/**
 * The tenant's name, unique in the testbed.
 */
name: string
}
/**
 * A Linux bridge on every server that has systems in the network.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "BridgeNetwork".
 */
export interface BridgeNetwork {
/**
 * The network's name, unique in the testbed.
 */
name: string
/**
 * The tenant that the network belongs to.
 */
tenant: string
/**
 * `bridge`: Linux bridges.
 */
kind: "bridge"
/**
 * `l2`: one segment, no gateway; spans servers where `port` names a NIC. `routed`: the bridge is the gateway, static routes lead to the other servers' bridges. `nat`: the bridge is the gateway, what leaves the server has the server's underlay address. `router`: as routed, but the gateway is a router namespace between bridge and server.
 */
mode?: ("l2" | "routed" | "nat" | "router")
/**
 * The IPv4 prefix of mode l2, and of mode nat where every server uses the same.
 */
subnet?: string
/**
 * The IPv6 prefix of mode l2, and of mode nat where every server uses the same.
 */
subnet6?: string
/**
 * The IPv4 prefix of each server's bridge: modes routed, router, nat.
 */
subnets?: {
/**
 * An IPv4 prefix.
 */
[k: string]: string | undefined
}
/**
 * The IPv6 prefix of each server's bridge: modes routed, router, nat.
 */
subnets6?: {
/**
 * An IPv6 prefix.
 */
[k: string]: string | undefined
}
/**
 * Mode l2: the NIC that becomes a port of the bridge on every server, as named in a link's `interfaces`.
 */
port?: string
/**
 * MTU of the bridge and the systems' interfaces. Default: what the link carries.
 */
mtuBytes?: number
/**
 * What keeps tenants apart where servers route: `iptables` (the server's default variant), `iptables-legacy`, or `nft`.
 */
filter?: ("iptables" | "iptables-legacy" | "nft")
/**
 * After this time without a frame of its station an entry of the forwarding table goes. 0: every frame is flooded, as a hub does.
 */
ageingSeconds?: number
/**
 * Whether frames to a station that no entry names go out at every system's port.
 */
floods?: boolean
}
/**
 * A network of Cilium (reports S0 and S1): its eBPF programs carry packets and enforce policies by the identities that labels come to. Written as a bridge network is: the word `kind` turns Cilium on and off.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "CiliumNetwork".
 */
export interface CiliumNetwork {
/**
 * The network's name, unique in the testbed.
 */
name: string
/**
 * The tenant that the network belongs to.
 */
tenant: string
/**
 * `cilium`: Cilium.
 */
kind: "cilium"
/**
 * The IPv4 prefix of each server's systems. The first host is the gateway, the last stays free.
 */
subnets: {
/**
 * An IPv4 prefix.
 */
[k: string]: string | undefined
}
/**
 * Between servers: `tunnel` (VXLAN, with the identity in its header), or `native` (as it is; the servers route the prefixes).
 */
routing?: ("tunnel" | "native")
/**
 * MTU of the systems' interfaces. Default: what the link carries, less 50 bytes in a tunnel.
 */
mtuBytes?: number
}
/**
 * An Ethernet segment over all servers: VXLAN, with BGP EVPN (RFC 7432, RFC 8365) telling each server where the systems are.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "EvpnNetwork".
 */
export interface EvpnNetwork {
/**
 * The network's name, unique in the testbed.
 */
name: string
/**
 * The tenant that the network belongs to.
 */
tenant: string
/**
 * `evpn`: VXLAN and BGP EVPN.
 */
kind: "evpn"
/**
 * The VXLAN network identifier (VNID), unique in the testbed; it is in the routes' label and route target, and in every packet.
 */
vn: number
/**
 * The IPv4 prefix of its systems. Other tenants may use the same. Without any prefix it is a segment of MAC addresses.
 */
subnet?: string
/**
 * The IPv6 prefix of its systems. Other tenants may use the same.
 */
subnet6?: string
/**
 * Routing between the tenant's networks (integrated routing and bridging, RFC 9135). `none`: an island. `asymmetric`: on every server a router of the tenant's own, the same gateway (first host of the prefix) and MAC everywhere. Networks of one tenant that are `asymmetric` reach one another. `symmetric`: the same gateway, on the servers that have systems of the network; the routers tell one another their prefixes (type-5 routes) and send packets through a VN of the tenant's routers. A tenant's routed networks are all of one sort.
 */
irb?: ("none" | "asymmetric" | "symmetric")
/**
 * Whether an eBPF program takes frames between systems and tunnel past the bridge, where the server's kernel can (Linux 6.6). What broadcast, unknown stations and gateways do stays with the bridge.
 */
shortcut?: boolean
/**
 * The family of the underlay addresses that packets are tunnelled between.
 */
vtep?: ("ipv4" | "ipv6")
/**
 * MTU of the systems' interfaces. Default: what the link carries less 50 bytes.
 */
mtuBytes?: number
}
/**
 * An IPv6 network without tunnels: identifier-locator addressing (draft-herbert-intarea-ila). Between servers a packet's destination has the server's locator in the place of the network's SIR prefix.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "IlaNetwork".
 */
export interface IlaNetwork {
/**
 * The network's name, unique in the testbed.
 */
name: string
/**
 * The tenant that the network belongs to.
 */
tenant: string
/**
 * `ila`: identifier-locator addressing.
 */
kind: "ila"
/**
 * The VNID: 28 bits of every identifier. Goes with one SIR prefix, and that with it.
 */
vn: number
/**
 * The SIR prefix, a /64: what systems of the network see as the first half of their addresses.
 */
sir: string
/**
 * What translates: `ebpf` (programs of this project) or `kernel` (light-weight tunnels of type ILA, CONFIG_IPV6_ILA).
 */
backend?: ("ebpf" | "kernel")
/**
 * The backend of single servers, where it is another. The two understand each other, but for csum adjust-transport.
 */
backends?: {
/**
 * A backend.
 */
[k: string]: ("ebpf" | "kernel") | undefined
}
/**
 * What becomes of checksums. `neutral`: the identifier's low 16 bits make up for the locator, and its C bit says so. `neutral-auto`: the same without the C bit. `adjust-transport`: those of TCP, UDP and ICMPv6 are changed. `no-action`: they stay those of the SIR address, and systems compute them without their NIC.
 */
csum?: ("neutral" | "neutral-auto" | "adjust-transport" | "no-action")
/**
 * Whether addresses are translated at all. `false`: the same programs and ways with the SIR addresses as they are, to measure what ILA costs.
 */
translate?: boolean
/**
 * MTU of the systems' interfaces. Default: what the link carries; ILA adds nothing.
 */
mtuBytes?: number
}
/**
 * An Ethernet segment without a bridge (report S4): each system has an interface of its own on a parent device, with its own MAC. ARP, neighbour discovery, multicast and LLDP pass. The server itself does not hear the systems on its own device, nor they it.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "MacvlanNetwork".
 */
export interface MacvlanNetwork {
/**
 * The network's name, unique in the testbed.
 */
name: string
/**
 * The tenant that the network belongs to.
 */
tenant: string
/**
 * `macvlan`: interfaces on a parent device.
 */
kind: "macvlan"
/**
 * The device below: `uplink`, the NIC of a link as named in its `interfaces`, `local` (a device of its own on the one server that has the systems), `vlan N` (802.1Q on the uplink, CONFIG_VLAN_8021Q), or `vxlan N` (a tunnel to each of the other servers).
 */
parent?: string
/**
 * How systems of one server reach one another. `bridge`: at once. `private`: not at all. `vepa`: by a switch that sends frames back where they came from. `passthru`: one system a server has the parent, and its MAC, for itself.
 */
mode?: ("bridge" | "private" | "vepa" | "passthru")
/**
 * `macvlan`, or `ipvlan`: all systems have the parent's MAC (CONFIG_IPVLAN).
 */
driver?: ("macvlan" | "ipvlan")
/**
 * The IPv4 prefix of its systems. Other tenants may use the same.
 */
subnet?: string
/**
 * The IPv6 prefix of its systems. Other tenants may use the same.
 */
subnet6?: string
/**
 * The system of the network, with `router: true`, that the others have their default route by.
 */
gateway?: string
/**
 * Addresses of the servers themselves in the network, without prefix length: each gets an interface beside the systems', and reaches them by it.
 */
serverAddresses?: {
/**
 * An address of the subnet.
 */
[k: string]: string | undefined
}
/**
 * MTU of the systems' interfaces. Default: what the link carries, less 50 bytes by vxlan; 1500 where parent is local.
 */
mtuBytes?: number
}
/**
 * The baseline of one server (report S1): systems are namespaces without containers, joined to the server by veth and routed there. `flipflap exec` runs the server's own programs in them.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "NetnsNetwork".
 */
export interface NetnsNetwork {
/**
 * The network's name, unique in the testbed.
 */
name: string
/**
 * The tenant that the network belongs to. Nothing keeps tenants apart here.
 */
tenant: string
/**
 * `netns`: namespaces.
 */
kind: "netns"
/**
 * The IPv4 prefix of its systems.
 */
subnet?: string
/**
 * The IPv6 prefix of its systems.
 */
subnet6?: string
/**
 * MTU of the systems' interfaces. Default: what the link carries, to compare with what crosses one.
 */
mtuBytes?: number
}
/**
 * An attachable overlay network of Docker Swarm (report S0): VXLAN, with the swarm telling each server where the systems are. The hub is the manager.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "SwarmNetwork".
 */
export interface SwarmNetwork {
/**
 * The network's name, unique in the testbed.
 */
name: string
/**
 * The tenant that the network belongs to.
 */
tenant: string
/**
 * `swarm`: a Docker Swarm overlay.
 */
kind: "swarm"
/**
 * The IPv4 prefix of its systems, a /26 or larger. The first host is docker's, and the last quarter is what the swarm gives to itself.
 */
subnet: string
/**
 * What enforces policies in the overlay's own network namespace.
 */
filter?: ("iptables" | "iptables-legacy")
/**
 * MTU of the systems' interfaces. Default: what the link carries less 50 bytes.
 */
mtuBytes?: number
}
/**
 * A tenant system: a container.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "System".
 */
export interface System {
/**
 * The system's name, unique in the testbed; its container is `ff-<name>`.
 */
name: string
/**
 * The tenant that the system belongs to.
 */
tenant: string
/**
 * The server (stack) that it runs on.
 */
server: string
/**
 * An image of images/ by name, or the path of an archive of `docker save` (ends in .tar).
 */
image?: string
/**
 * What the container runs. Default: the image's own.
 */
command?: string[]
/**
 * Environment variables. Not for secrets: `docker inspect` shows them.
 */
env?: {
/**
 * The variable's value.
 */
[k: string]: string | undefined
}
/**
 * Files put into the container before it starts.
 */
files?: File[]
/**
 * Linux capabilities added, without CAP_: NET_ADMIN, NET_RAW.
 */
capabilities?: string[]
limits?: Limits
/**
 * Whether it forwards what is not for itself, IPv4 and IPv6. It may then send from any address and MAC, a system that does not from its own alone.
 */
router?: boolean
/**
 * Further routes of its own. One to `default` stands in the place of its networks' gateways.
 */
routes?: Route[]
/**
 * A file of nftables rules, relative to the project. They stand before its interfaces are there; nothing else of nftables is in it.
 */
nftables?: string
/**
 * Labels of the system; policies select by them.
 */
labels?: {
/**
 * The label's value.
 */
[k: string]: string | undefined
}
/**
 * The networks it sits in, in the order of its interfaces (eth0, eth1, ...).
 * 
 * @minItems 1
 */
networks: Membership[]
}
/**
 * A file in the container: its content, or the secret that is its content.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "File".
 */
export interface File {
/**
 * Absolute path in the container.
 */
path: string
/**
 * The content itself.
 */
content?: string
/**
 * The name of a secret of this testbed.
 */
secret?: string
/**
 * Who may read it, in octal as chmod takes it; its owner is root. Default: 0600 for a secret, 0644 else.
 */
mode?: string
}
/**
 * What the container may use at most.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Limits".
 */
export interface Limits {
/**
 * Memory in MiB.
 */
memoryMiB?: number
/**
 * Processes and threads at once: one system that makes more and more of them must not take the server.
 */
processes?: number
/**
 * Weight against other containers (1024 is one container's default).
 */
cpuShares?: number
/**
 * The CPUs it may run on, as in "0-1,3".
 */
cpuSet?: string
}
/**
 * A static route of a system.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Route".
 */
export interface Route {
/**
 * A prefix, or `default` for both families of the next hop.
 */
to: string
/**
 * The next hop: an address of one of its networks, or a system that shares a network with it.
 */
via: string
}
/**
 * A system's interface in a network.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Membership".
 */
export interface Membership {
/**
 * The network.
 */
name: string
/**
 * Fixed IPv4 address; `dhcp`: a system of the network tells it (segments only: macvlan, bridge in mode l2). Default: one of the subnet, by the system's name.
 */
address?: string
/**
 * Fixed IPv6 address. Default: one of the subnet, by the system's name.
 */
address6?: string
/**
 * Fixed MAC address, unicast. Default: a local one, by the names of network and system.
 */
mac?: string
/**
 * The interface's name in the container, up to 15 characters. Default: eth0, eth1, ... in order.
 */
interface?: string
}
/**
 * A cable (two servers) or a switch (more).
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Link".
 */
export interface Link {
/**
 * The servers (stacks) that it joins.
 * 
 * @minItems 2
 */
between: string[]
/**
 * MTU of the NICs on it.
 */
mtuBytes?: number
/**
 * The NIC of each server on it. Default: the uplink of the server's stack file.
 */
interfaces?: {
/**
 * A NIC's name.
 */
[k: string]: string | undefined
}
impairment?: Impairment
}
/**
 * What the link is made worse by, at each of its ends on what leaves there: a round trip meets it twice. It changes in place.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Impairment".
 */
export interface Impairment {
/**
 * Delay, in ms. Needs netem in the servers' kernels.
 */
delayMs?: number
/**
 * By how much the delay varies, in ms. Needs netem.
 */
jitterMs?: number
/**
 * Packets that are lost, at random, in percent.
 */
lossPercent?: number
/**
 * The most that goes through, in Mbit/s.
 */
rateMbit?: number
}
/**
 * A random secret.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Secret".
 */
export interface Secret {
/**
 * The secret's name, unique in the testbed.
 */
name: string
/**
 * How many letters and digits.
 */
length?: number
}
/**
 * How every server is set up for measuring. What was there before comes back on destroy.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Tuning".
 */
export interface Tuning {
/**
 * TCP congestion control of servers and containers. bbr paces, and pacing hides the differences between data paths.
 */
congestionControl?: string
uplinkOffloads?: Offloads
virtualOffloads?: Offloads1
/**
 * Generic receive offload a second time, after unpacking, on VXLAN devices. Report S0 had it on; the NIC's own has merged the packets already, so it only costs.
 */
tunnelGro?: boolean
/**
 * Further sysctls of the servers.
 */
sysctls?: {
/**
 * The value.
 */
[k: string]: (string | number) | undefined
}
/**
 * Whether one guard on each server closes all devices of the testbed but for what their networks need: a system reaches its gateway by ARP, ND and ping, nothing else of the server, and no network that its own does not lead to. What is dropped is counted, and `flipflap status` shows it. docs/isolation.md says what is promised for each kind. A testbed of one tenant may do without.
 */
guard?: ("on" | "off")
/**
 * Services that are stopped where they run, and started again on destroy.
 */
stopServices?: string[]
}
/**
 * Offloads of the physical NICs. Default: the reports' (TSO off; GSO, GRO and checksums on).
 */
export interface Offloads {
/**
 * TCP segmentation offload.
 */
tso?: boolean
/**
 * Generic segmentation offload.
 */
gso?: boolean
/**
 * Generic receive offload.
 */
gro?: boolean
/**
 * Checksums computed by the sending device.
 */
txChecksum?: boolean
/**
 * Checksums checked by the receiving device.
 */
rxChecksum?: boolean
}
/**
 * Offloads of the systems' interfaces. Default: all on.
 */
export interface Offloads1 {
/**
 * TCP segmentation offload.
 */
tso?: boolean
/**
 * Generic segmentation offload.
 */
gso?: boolean
/**
 * Generic receive offload.
 */
gro?: boolean
/**
 * Checksums computed by the sending device.
 */
txChecksum?: boolean
/**
 * Checksums checked by the receiving device.
 */
rxChecksum?: boolean
}
/**
 * The BGP sessions between servers and route servers (kind evpn).
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Bgp".
 */
export interface Bgp {
/**
 * The number of the autonomous system; two bytes, so that a route target holds a whole VNID beside it.
 */
asn?: number
/**
 * After this time without a sign a session counts as lost, and routes learnt by it go. Keepalives come three times as often.
 */
holdSeconds?: number
}
/**
 * What all networks of kind ila share.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Ila".
 */
export interface Ila {
/**
 * After this time without a sign of a server its systems' places are forgotten everywhere.
 */
leaseSeconds?: number
/**
 * How many systems a server's table of mappings holds (eBPF).
 */
capacity?: number
/**
 * Whether the locator address of each system is on its server's uplink, as in report S0: deprecated, and without its local route.
 */
locatorAddresses?: boolean
}
/**
 * A site of a VPN (report S4).
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Site".
 */
export interface Site {
/**
 * The site's name, unique in the testbed.
 */
name: string
/**
 * The system with `router: true` that the tunnels end in. Its image is `strongswan` where none is named.
 */
gateway: string
/**
 * The network behind the gateway.
 */
inside: string
/**
 * What tunnels carry for the site, of both families. Default: the prefixes of its inside network.
 * 
 * @minItems 1
 */
prefixes?: string[]
}
/**
 * An IPsec tunnel (IKEv2, ESP in tunnel mode). What it is for does not go another way: without it, it does not go.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Tunnel".
 */
export interface Tunnel {
/**
 * The tunnel's name, unique in the testbed.
 */
name: string
/**
 * Its ends: two sites, or two gateways in mode host-to-host. The first starts it.
 * 
 * @minItems 2
 * @maxItems 2
 */
between: string[]
/**
 * `site-to-site`: between what lies behind the gateways. `host-to-host`: between the gateways' own outside addresses.
 */
mode?: ("site-to-site" | "host-to-host")
/**
 * What it carries. Default: `ipv4` and `ipv6`, where both ends have prefixes or addresses of it.
 * 
 * @minItems 1
 */
families?: ("ipv4" | "ipv6")[]
/**
 * The family of the packets between the gateways.
 */
outer?: ("ipv4" | "ipv6")
/**
 * ESP proposals in strongSwan's words, the best first.
 * 
 * @minItems 1
 */
esp?: string[]
/**
 * After this time its keys are made anew.
 */
rekeySeconds?: number
}
/**
 * What all tunnels share.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Vpn".
 */
export interface Vpn {
/**
 * How gateways know one another: `psk` (a random secret for each pair), or `certificates` (of an authority on the hub).
 */
auth?: ("psk" | "certificates")
/**
 * What carries ESP. `kernel` (CONFIG_INET_ESP), `user` (strongSwan's own, kernel-libipsec, by way of UDP), or `auto`: the kernel where it can.
 */
dataPlane?: ("auto" | "kernel" | "user")
/**
 * IKE proposals in strongSwan's words, the best first.
 * 
 * @minItems 1
 */
ike?: string[]
/**
 * After this time without a sign of its peer a gateway asks for one; where none comes the tunnel is made anew.
 */
dpdSeconds?: number
}
/**
 * A tenant's firewall: eBPF programs at the interfaces of its systems. A tenant has one.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Firewall".
 */
export interface Firewall {
/**
 * The tenant whose systems it looks at.
 */
tenant: string
/**
 * A file of rules, relative to the project: what iptables-save prints, or commands of iptables and ip6tables. FORWARD is what enters or leaves the tenant's systems.
 */
rules: string
/**
 * The networks by which it looks at systems; -i and -o name them. Default: all of the tenant's.
 * 
 * @minItems 1
 */
networks?: string[]
/**
 * The systems that it looks at. Default: all of the tenant's.
 * 
 * @minItems 1
 */
systems?: string[]
}
/**
 * Offloads by ethtool's short names; one that the device lacks is an error.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Offloads".
 */
export interface Offloads2 {
/**
 * TCP segmentation offload.
 */
tso?: boolean
/**
 * Generic segmentation offload.
 */
gso?: boolean
/**
 * Generic receive offload.
 */
gro?: boolean
/**
 * Checksums computed by the sending device.
 */
txChecksum?: boolean
/**
 * Checksums checked by the receiving device.
 */
rxChecksum?: boolean
}
/**
 * What is this server's: the `flipflap:` values of Pulumi.<server>.yaml.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "StackFile".
 */
export interface StackFile {
/**
 * The testbed file, without folder and ending: testbeds/<testbed>.yaml.
 */
testbed: string
/**
 * Whether this server holds what the testbed has once: secrets, route server, key-value store. `second`: it has a route server of its own (kind evpn) beside that of the hub; secrets stay with the hub.
 */
hub?: (true | false | "second")
/**
 * `lab` (a server of the local lab), or how to reach a real one.
 */
server: ("lab" | RealServer)
}
/**
 * A server that is reached over SSH.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "RealServer".
 */
export interface RealServer {
/**
 * Address or name for SSH.
 */
address: string
/**
 * SSH port.
 */
port?: number
/**
 * SSH user: root, or one with passwordless sudo and in the group docker.
 */
user?: string
/**
 * The server's pinned public host key, as in /etc/ssh/ssh_host_ed25519_key.pub: type and key.
 */
hostKey: string
/**
 * The file with your private key; ~ is your home. Without quotes and line ends.
 */
privateKeyFile: string
/**
 * The NIC to the other servers.
 */
uplink: string
underlay: Underlay
/**
 * The /64 of this server's ILA locator.
 */
locator?: string
}
/**
 * The server's addresses on its uplink.
 */
export interface Underlay {
/**
 * IPv4 address and prefix length.
 */
ipv4: string
/**
 * IPv6 address and prefix length.
 */
ipv6?: string
/**
 * A hub's: a free IPv4 address of the underlay's prefix, without prefix length, for its route server (kind evpn).
 */
routeServer?: string
/**
 * MAC address of the uplink. Where it is given, the other servers keep it as a permanent neighbour.
 */
mac?: string
}
/**
 * The server's addresses on its uplink, with prefix length. One that the server already has is left alone.
 * 
 * This interface was referenced by `Testbed`'s JSON-Schema
 * via the `definition` "Underlay".
 */
export interface Underlay1 {
/**
 * IPv4 address and prefix length.
 */
ipv4: string
/**
 * IPv6 address and prefix length.
 */
ipv6?: string
/**
 * A hub's: a free IPv4 address of the underlay's prefix, without prefix length, for its route server (kind evpn).
 */
routeServer?: string
/**
 * MAC address of the uplink. Where it is given, the other servers keep it as a permanent neighbour.
 */
mac?: string
}
