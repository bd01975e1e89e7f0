/* What rules look at, read from a packet. */
#pragma once
#include "../abi/firewall.h"
#include "../lib/ipv4.h"
#include "../lib/ipv6.h"

struct numbers {
	__u64 addresses[FIREWALL_ADDRESSES][2];	/* the upper half, and the lower one */
	__u32 others[FIREWALL_FIELDS];		/* by field */
	__u32 identifier;			/* of a query of ICMP */
	__u32 upper;				/* where the upper header is; 0: there is none */
	__u32 is_fragment;
	__u32 datagram, fragment_protocol;	/* whose fragment it is; of IPv6 the identifier says it alone */
};

#define IP4_LATER 0x1fff
#define IP4_MORE 0x2000
#define IP6_MORE 1
#define TCP_FLAGS_AT 13

static __always_inline void numbers_of_ports(struct numbers *n, const __u8 *header)
{
	n->others[FIREWALL_SOURCE_PORT] = header[0] << 8 | header[1];
	n->others[FIREWALL_DESTINATION_PORT] = header[2] << 8 | header[3];
}

/* What is in the first eight bytes of the upper header. Not 0 where they are cut off. */
static __always_inline int numbers_ports(struct __sk_buff *skb, __u32 offset, int is_ipv6, struct numbers *n)
{
	__u8 header[8];

	switch (n->others[FIREWALL_PROTOCOL]) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if ((n->others[FIREWALL_PROTOCOL] == IPPROTO_ICMPV6) != is_ipv6)
			return 0;
		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			return -1;
		n->others[FIREWALL_DESTINATION_PORT] = header[0] << 8 | header[1];
		n->identifier = header[4] << 8 | header[5];
		return 0;
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
			return -1;
		numbers_of_ports(n, header);
		return 0;
	}
	return 0;
}

static __always_inline int numbers_upper(struct __sk_buff *skb, __u32 offset, int is_ipv6, struct numbers *n)
{
	__u8 header[TCP_FLAGS_AT + 1];

	n->upper = offset;
	if (n->others[FIREWALL_PROTOCOL] != IPPROTO_TCP)
		return numbers_ports(skb, offset, is_ipv6, n);
	if (bpf_skb_load_bytes(skb, offset, header, sizeof(header)))
		return -1;
	numbers_of_ports(n, header);
	n->others[FIREWALL_FLAGS] = header[TCP_FLAGS_AT];
	return 0;
}

static __always_inline void numbers_addresses_ipv4(struct numbers *n, const struct iphdr *ip)
{
	n->addresses[FIREWALL_SOURCE][1] = bpf_ntohl(ip->saddr);
	n->addresses[FIREWALL_DESTINATION][1] = bpf_ntohl(ip->daddr);
}

static __always_inline __u64 half_of(const struct in6_addr *address, int half)
{
	return (__u64)bpf_ntohl(address->in6_u.u6_addr32[half * 2]) << 32 | bpf_ntohl(address->in6_u.u6_addr32[half * 2 + 1]);
}

static __always_inline void numbers_addresses_ipv6(struct numbers *n, const struct ipv6hdr *ip6)
{
	for (int half = 0; half < 2; half++) {
		n->addresses[FIREWALL_SOURCE][half] = half_of(&ip6->saddr, half);
		n->addresses[FIREWALL_DESTINATION][half] = half_of(&ip6->daddr, half);
	}
}

/* Not 0 where a header is cut off, or hides what it carries. */
static __always_inline int numbers_of_ipv4(struct __sk_buff *skb, struct numbers *n)
{
	struct iphdr *ip = ip4_of(skb);

	if (!ip || ip->ihl < 5)
		return -1;
	numbers_addresses_ipv4(n, ip);
	n->others[FIREWALL_PROTOCOL] = ip->protocol;
	n->is_fragment = (ip->frag_off & bpf_htons(IP4_LATER | IP4_MORE)) != 0;
	n->datagram = ip->id;
	n->fragment_protocol = ip->protocol;
	if (ip->frag_off & bpf_htons(IP4_LATER)) {
		n->others[FIREWALL_STATE] |= FIREWALL_LATER_FRAGMENT;
		return 0;
	}
	return numbers_upper(skb, L3 + ip->ihl * 4, 0, n);
}

static __always_inline int numbers_of_ipv6(struct __sk_buff *skb, struct numbers *n)
{
	struct ipv6hdr *ip6 = ip6_of(skb);
	struct upper upper;

	if (!ip6)
		return -1;
	numbers_addresses_ipv6(n, ip6);
	upper = ip6_upper(skb, ip6);
	if (upper.end != PARSE_WHOLE)
		return -1;
	if (upper.fragment) {
		struct { __u8 next, zero; __be16 fragment; __be32 identifier; } header;

		if (bpf_skb_load_bytes(skb, upper.fragment, &header, sizeof(header)))
			return -1;
		n->is_fragment = (header.fragment & bpf_htons(IP6_OFFSET | IP6_MORE)) != 0;
		n->datagram = header.identifier;
	}
	if (!upper.offset) {
		n->others[FIREWALL_STATE] |= FIREWALL_LATER_FRAGMENT;
		return 0;
	}
	n->others[FIREWALL_PROTOCOL] = upper.protocol;
	return numbers_upper(skb, upper.offset, 1, n);
}
