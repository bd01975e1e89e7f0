/*
 * ILA (draft-herbert-intarea-ila): between servers a packet's destination is locator and identifier, in systems it is SIR
 * prefix and identifier. The source stays. Translation is one lookup and one write; what it writes was computed when the
 * mapping was told. Packets that need an answer (hop limit, size) go to the server's own stack, which knows how.
 */
#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "ila.h"

#define EINVAL 22
/* Linux 6.16: the sum of a whole received packet stays, since address and checksum change against each other. */
#define ILA_F_IPV6 (1ULL << 7)
#define L3 ETH_HLEN
#define HEADERS_MOST 8
#define IP6_OFFSET 0xfff8
#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136

/* Sizes are set by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 17);
	__type(key, struct ila_address);
	__type(value, struct ila_mapping);
} mappings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ila_address);
	__type(value, struct ila_arrival);
} arrivals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct ila_port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct ila_server);
} servers SEC(".maps");

/* Locators and SIR prefixes: enum ila_prefix. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __be64);
	__type(value, __u32);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ILA_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* BTF of the enumerations, for the agent. */
const volatile enum ila_reason reason_names = ILA_REASONS;

static __always_inline int drop(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&drops, &reason);

	if (count)
		*count += 1;
	return TC_ACT_SHOT;
}

static __always_inline int is_same(const struct ila_address *a, const struct ila_address *b)
{
	return a->locator == b->locator && a->identifier == b->identifier;
}

static __always_inline struct ila_address *source_of(struct ipv6hdr *ip6)
{
	return (struct ila_address *)&ip6->saddr;
}

static __always_inline struct ila_address *destination_of(struct ipv6hdr *ip6)
{
	return (struct ila_address *)&ip6->daddr;
}

/* The IPv6 header; none where the packet is too short. Only what is not linear costs more than two compares. */
static __always_inline struct ipv6hdr *ip6_of(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;

	if (data + L3 + sizeof(struct ipv6hdr) > (void *)(long)skb->data_end) {
		if (bpf_skb_pull_data(skb, L3 + sizeof(struct ipv6hdr)))
			return 0;
		data = (void *)(long)skb->data;
		if (data + L3 + sizeof(struct ipv6hdr) > (void *)(long)skb->data_end)
			return 0;
	}
	return data + L3;
}

static __always_inline int is_group(const struct ila_address *address)
{
	return *(__u8 *)address == 0xff;
}

static __always_inline int is_group_or_link(const struct ila_address *address)
{
	return is_group(address) || (bpf_ntohs(*(__be16 *)address) & 0xffc0) == 0xfe80;
}

/* Neighbours' questions and answers: with the next hop, and with nobody else. No router advertisements. */
static __always_inline int is_discovery(struct __sk_buff *skb, struct ipv6hdr *ip6)
{
	__u8 type;

	if (ip6->nexthdr != IPPROTO_ICMPV6 || ip6->hop_limit != 255 || !is_group_or_link(destination_of(ip6)))
		return 0;
	if (bpf_skb_load_bytes(skb, L3 + sizeof(*ip6), &type, 1))
		return 0;
	return type == ND_SOLICITATION || type == ND_ADVERTISEMENT;
}

struct upper {
	__u32 offset;		/* of the upper-layer header; 0: there is none here */
	__u32 protocol;
	__u32 problem;		/* enum ila_reason; ILA_REASONS where there is none */
};

/* Of a struct upper, in one register: a BPF function gives back no more. */
#define UPPER(offset, protocol, problem) ((__u64)(offset) << 32 | (__u64)(protocol) << 16 | (problem))

/* Walks the extension headers. BIG TCP puts one before TCP (Linux 5.19). */
static __noinline __u64 walk_headers(struct __sk_buff *skb, __u32 next)
{
	__u32 offset = L3 + sizeof(struct ipv6hdr);

	for (int i = 0; i < HEADERS_MOST; i++) {
		struct { __u8 next, words; __be16 fragment; } header;

		switch (next) {
		case IPPROTO_ROUTING:
			return UPPER(0, 0, ILA_ROUTING_HEADER);
		case IPPROTO_AH:
			return UPPER(0, 0, ILA_AUTHENTICATED);
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
		case IPPROTO_MH:
			break;
		default:
			return UPPER(offset, next, ILA_REASONS);
		}
		if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
			return UPPER(0, 0, ILA_MALFORMED);
		if (next == IPPROTO_FRAGMENT) {
			offset += 8;
			if (header.fragment & bpf_htons(IP6_OFFSET)) {
				/* The upper-layer header went with the first. */
				return UPPER(0, 0, ILA_REASONS);
			}
		} else {
			offset += (header.words + 1) * 8;
		}
		next = header.next;
	}
	return UPPER(0, 0, ILA_TOO_MANY_HEADERS);
}

static __always_inline struct upper find_upper(struct __sk_buff *skb, struct ipv6hdr *ip6)
{
	struct upper upper = { .offset = L3 + sizeof(*ip6), .protocol = ip6->nexthdr, .problem = ILA_REASONS };
	__u64 walked;

	if (ip6->nexthdr == IPPROTO_TCP || ip6->nexthdr == IPPROTO_UDP || ip6->nexthdr == IPPROTO_ICMPV6)
		return upper;
	walked = walk_headers(skb, ip6->nexthdr);
	upper.offset = walked >> 32;
	upper.protocol = walked >> 16 & 0xffff;
	upper.problem = walked & 0xffff;
	return upper;
}

/* An error, by the type of the ICMPv6 message; what cannot be read is none. */
static __always_inline int is_icmp_error(struct __sk_buff *skb, const struct upper *upper)
{
	__u8 type;

	if (upper->protocol != IPPROTO_ICMPV6 || !upper->offset || upper->problem != ILA_REASONS)
		return 0;
	/* Where there is nothing to load, the kernel clears what it was to fill. */
	if (bpf_skb_load_bytes(skb, upper->offset, &type, 1))
		return 0;
	return type < 128;
}

/* Adds a difference to the transport's checksum, whether it is whole or left to a NIC. */
static __always_inline __u32 adjust_transport(struct __sk_buff *skb, const struct upper *upper, __u32 diff)
{
	__u64 flags = BPF_F_PSEUDO_HDR;
	__u32 at;
	long err;

	if (!upper->offset)
		return ILA_REASONS;
	switch (upper->protocol) {
	case IPPROTO_TCP:
		at = 16;
		break;
	case IPPROTO_UDP:
		at = 6;
		flags |= BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_ICMPV6:
		at = 2;
		break;
	default:
		/* SCTP and others have no sum over the address. */
		return ILA_REASONS;
	}
	err = bpf_l4_csum_replace(skb, upper->offset + at, 0, diff, flags | ILA_F_IPV6);
	if (err == -EINVAL)
		err = bpf_l4_csum_replace(skb, upper->offset + at, 0, diff, flags);
	return err ? ILA_SHORT_FRAGMENT : ILA_REASONS;
}

/* Gives the packet its other destination, `hops` further on. ILA_REASONS where that went well. */
static __always_inline __u32 translate(struct __sk_buff *skb, const struct upper *upper, const struct ila_address *to,
				       __u32 diff, __u32 mode, __u8 hops)
{
	struct ipv6hdr *ip6;

	if (mode == ILA_ADJUST_TRANSPORT) {
		__u32 problem = adjust_transport(skb, upper, diff);

		if (problem != ILA_REASONS)
			return problem;
	}
	ip6 = ip6_of(skb);
	if (!ip6)
		return ILA_MALFORMED;
	*destination_of(ip6) = *to;
	if (mode == ILA_NO_ACTION)
		/* Nothing else makes up for it in the sum of a whole received packet. */
		bpf_csum_update(skb, diff);
	ip6->hop_limit -= hops;
	/* The sum of a whole received packet is over the hop limit too: the low byte of its word. */
	bpf_csum_update(skb, (__u16)~bpf_htons(hops));
	return ILA_REASONS;
}

static __always_inline __u32 sum_halves(__u64 half)
{
	return (half & 0xffff) + (half >> 16 & 0xffff) + (half >> 32 & 0xffff) + (half >> 48);
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* What a wire address of the network was before: the other way round, where no mapping can be looked up. */
static __always_inline struct ila_address untranslated(const struct ila_address *wire, __be64 sir, __u32 mode)
{
	struct ila_address plain = { .locator = sir, .identifier = wire->identifier };
	__u32 before, rest;

	if (mode > ILA_NEUTRAL_AUTO)
		return plain;
	if (mode == ILA_NEUTRAL)
		plain.identifier &= ~bpf_cpu_to_be64(1ULL << 60);
	before = fold(sum_halves(wire->locator) + sum_halves(wire->identifier));
	plain.identifier &= ~bpf_cpu_to_be64(0xffff);
	rest = fold(sum_halves(plain.locator) + sum_halves(plain.identifier));
	((__u16 *)&plain.identifier)[3] = fold(before + (~rest & 0xffff));
	return plain;
}

/*
 * An error quotes the packet that it is about, as it was where it failed: if that was between servers, with a locator.
 * The system knows its packet by the SIR address.
 */
static __noinline int translate_quoted(struct __sk_buff *skb, const struct upper *upper, const struct ila_arrival *to)
{
	struct ila_address was, is;
	__u32 at, diff, *kind;

	if (!upper || !to)
		return 0;
	at = upper->offset + sizeof(struct icmp6hdr) + offsetof(struct ipv6hdr, daddr);
	if (bpf_skb_load_bytes(skb, at, &was, sizeof(was)))
		return 0;
	kind = bpf_map_lookup_elem(&prefixes, &was.locator);
	if (!kind || !(*kind & ILA_LOCATOR))
		return 0;
	is = untranslated(&was, to->self.locator, to->mode);
	diff = bpf_csum_diff((__be32 *)&was, sizeof(was), (__be32 *)&is, sizeof(is), 0);
	if (bpf_skb_store_bytes(skb, at, &is, sizeof(is), 0))
		return 0;
	if (to->mode > ILA_NEUTRAL_AUTO)
		bpf_l4_csum_replace(skb, upper->offset + offsetof(struct icmp6hdr, icmp6_cksum), 0, diff, 0);
	return 0;
}

static __always_inline int is_too_big(struct __sk_buff *skb, const struct ila_server *server)
{
	__u32 length = 0;

	if (skb->len <= server->mtu_bytes + L3)
		return 0;
	/* Of what is to be cut up, the kernel knows how large the pieces will be (Linux 5.12). */
	return !skb->gso_size || bpf_check_mtu(skb, server->device, &length, 0, BPF_MTU_CHK_SEGS) != 0;
}

static __always_inline int forward(struct __sk_buff *skb, const struct ila_server *server, int is_egress)
{
	struct ethhdr *eth = (void *)(long)skb->data;

	if (!server->has_mac) {
		struct bpf_redir_neigh next = { .nh_family = 10 };

		__builtin_memcpy(next.ipv6_nh, server->next_hop, 16);
		return bpf_redirect_neigh(server->device, &next, sizeof(next), 0);
	}
	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return drop(ILA_MALFORMED);
	__builtin_memcpy(eth->h_dest, server->next_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, server->own_mac, ETH_ALEN);
	if (is_egress && server->device == skb->ifindex)
		return TC_ACT_UNSPEC;
	return bpf_redirect(server->device, 0);
}

static __noinline int refuse_destination(struct ila_address *to)
{
	__u32 *kind;

	if (!to)
		return drop(ILA_MALFORMED);
	kind = bpf_map_lookup_elem(&prefixes, &to->locator);
	if (!kind)
		return drop(ILA_OUTSIDE);
	return drop(*kind & ILA_LOCATOR ? ILA_TO_LOCATOR : ILA_FOREIGN_SIR);
}

/* Ingress of the server's end of a system's interface: what the system sends. */
SEC("tc")
int ila_port_out(struct __sk_buff *skb)
{
	__u32 device = skb->ifindex;
	struct ila_port *port = bpf_map_lookup_elem(&ports, &device);
	struct ila_mapping *mapping;
	struct ila_server *server;
	struct ila_address to;
	struct ipv6hdr *ip6;
	struct upper upper;
	__u32 index, problem;

	if (!port)
		return drop(ILA_UNKNOWN_PORT);
	/* A tag would go on to the uplink, and choose the VLAN there. */
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || skb->vlan_present)
		return drop(ILA_NOT_IPV6);
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	if (!is_same(source_of(ip6), &port->self) || destination_of(ip6)->locator != port->self.locator) {
		if (is_discovery(skb, ip6))
			return TC_ACT_UNSPEC;
		ip6 = ip6_of(skb);
		if (!ip6)
			return drop(ILA_MALFORMED);
		if (is_group(destination_of(ip6)))
			return drop(ILA_MULTICAST);
		if (source_of(ip6)->locator != port->self.locator)
			return drop(ILA_SPOOFED_NETWORK);
		if (source_of(ip6)->identifier != port->self.identifier)
			return drop(ILA_SPOOFED_IDENTIFIER);
		to = *destination_of(ip6);
		return refuse_destination(&to);
	}
	upper = find_upper(skb, ip6);
	if (upper.problem != ILA_REASONS)
		return drop(upper.problem);
	if (port->flags & ILA_BY_STACK)
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	mapping = bpf_map_lookup_elem(&mappings, destination_of(ip6));
	if (!mapping)
		return drop(ILA_NO_MAPPING);
	if (ip6->hop_limit <= 1)
		return TC_ACT_UNSPEC;
	if (mapping->place == ILA_HERE) {
		ip6->hop_limit--;
		return bpf_redirect_peer(mapping->device, 0);
	}
	index = mapping->server;
	server = bpf_map_lookup_elem(&servers, &index);
	if (!server || !server->device)
		return drop(ILA_NO_MAPPING);
	if (is_too_big(skb, server))
		return TC_ACT_UNSPEC;
	problem = translate(skb, &upper, &mapping->wire, mapping->csum_diff, mapping->mode, 1);
	if (problem != ILA_REASONS)
		return drop(problem);
	return forward(skb, server, 0);
}

/* Egress of the server's end: what the server's stack gives to the system. The fast way does not come by here. */
SEC("tc")
int ila_port_in(struct __sk_buff *skb)
{
	__u32 device = skb->ifindex;
	struct ila_port *port = bpf_map_lookup_elem(&ports, &device);
	struct ipv6hdr *ip6;
	struct upper upper;

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return drop(ILA_NOT_IPV6);
	ip6 = ip6_of(skb);
	if (!port || !ip6)
		return drop(port ? ILA_MALFORMED : ILA_UNKNOWN_PORT);
	if ((port->flags & ILA_BY_STACK) && source_of(ip6)->locator == port->self.locator)
		return TC_ACT_UNSPEC;
	if (is_discovery(skb, ip6))
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	if (is_group(destination_of(ip6)))
		return drop(ILA_MULTICAST);
	upper = find_upper(skb, ip6);
	return is_icmp_error(skb, &upper) ? TC_ACT_UNSPEC : drop(ILA_FROM_SERVER);
}

/* Not translated, or not for us: errors of routers between the servers come to the address that they saw as source. */
static __always_inline int from_between(struct __sk_buff *skb, struct ipv6hdr *ip6)
{
	struct ila_mapping *mapping = bpf_map_lookup_elem(&mappings, destination_of(ip6));
	struct ila_arrival arrival = {};
	__u32 device, *kind;
	struct upper upper;

	if (!mapping || mapping->place != ILA_HERE) {
		kind = bpf_map_lookup_elem(&prefixes, &destination_of(ip6)->locator);
		if (!kind || *kind & ILA_PREFIX_BY_STACK)
			return TC_ACT_UNSPEC;
		return drop(*kind & ILA_LOCATOR ? ILA_NO_SYSTEM : ILA_UNTRANSLATED);
	}
	arrival.self = *destination_of(ip6);
	arrival.mode = mapping->mode;
	device = mapping->device;
	upper = find_upper(skb, ip6);
	if (!is_icmp_error(skb, &upper))
		return drop(ILA_UNTRANSLATED);
	translate_quoted(skb, &upper, &arrival);
	return bpf_redirect_peer(device, 0);
}

/* Ingress of the uplink: what comes from other servers, and everything else, which goes on. */
SEC("tc")
int ila_uplink_in(struct __sk_buff *skb)
{
	struct ila_arrival *arrival;
	struct ipv6hdr *ip6;
	struct upper upper;
	__u32 problem;
	int is_error = 0;

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (!ip6)
		return TC_ACT_UNSPEC;
	arrival = bpf_map_lookup_elem(&arrivals, destination_of(ip6));
	if (!arrival)
		return from_between(skb, ip6);
	upper = find_upper(skb, ip6);
	if (upper.problem != ILA_REASONS)
		return drop(upper.problem);
	if (upper.protocol == IPPROTO_ICMPV6) {
		is_error = is_icmp_error(skb, &upper);
		ip6 = ip6_of(skb);
		if (!ip6)
			return drop(ILA_MALFORMED);
	}
	if (!is_error && source_of(ip6)->locator != arrival->self.locator)
		return drop(ILA_FOREIGN_SOURCE);
	if (ip6->hop_limit <= 1) {
		/* The stack is to see that there is none left. */
		problem = translate(skb, &upper, &arrival->self, arrival->csum_diff, arrival->mode, 0);
		return problem == ILA_REASONS ? TC_ACT_UNSPEC : drop(problem);
	}
	problem = translate(skb, &upper, &arrival->self, arrival->csum_diff, arrival->mode, 1);
	if (problem != ILA_REASONS)
		return drop(problem);
	if (is_error)
		translate_quoted(skb, &upper, arrival);
	return bpf_redirect_peer(arrival->device, 0);
}

/* Egress of the uplink: errors of the server's own stack to SIR addresses, known by the MAC that they are routed to. */
SEC("tc")
int ila_uplink_out(struct __sk_buff *skb)
{
	static const __u8 exit_mac[ETH_ALEN] = ILA_EXIT_MAC;
	struct ethhdr *eth = (void *)(long)skb->data;
	struct ila_mapping *mapping;
	struct ila_server *server;
	struct ipv6hdr *ip6;
	struct upper upper;
	__u32 index, problem;

	if ((void *)(eth + 1) > (void *)(long)skb->data_end)
		return TC_ACT_UNSPEC;
	if (*(__u32 *)eth->h_dest != *(__u32 *)exit_mac || *(__u16 *)(eth->h_dest + 4) != *(__u16 *)(exit_mac + 4))
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || !ip6)
		return drop(ILA_NOT_IPV6);
	upper = find_upper(skb, ip6);
	if (!is_icmp_error(skb, &upper))
		return drop(ILA_FROM_SERVER);
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	mapping = bpf_map_lookup_elem(&mappings, destination_of(ip6));
	if (!mapping || mapping->place == ILA_HERE)
		return drop(ILA_NO_MAPPING);
	index = mapping->server;
	server = bpf_map_lookup_elem(&servers, &index);
	if (!server || !server->device)
		return drop(ILA_NO_MAPPING);
	problem = translate(skb, &upper, &mapping->wire, mapping->csum_diff, mapping->mode, 1);
	return problem == ILA_REASONS ? forward(skb, server, 1) : drop(problem);
}

char _license[] SEC("license") = "GPL";
