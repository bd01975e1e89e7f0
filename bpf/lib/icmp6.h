/* ICMPv6: errors, and neighbour discovery. */
#pragma once
#include <linux/icmpv6.h>
#include "ipv6.h"

#define ND_SOLICITATION 135
#define ND_ADVERTISEMENT 136
#define ICMP6_INFORMATIONAL 128 /* types below are errors */

/* Neighbours' questions and answers: with the next hop, and with nobody else. No router advertisements. */
static __always_inline int icmp6_is_discovery(struct __sk_buff *skb, struct ipv6hdr *ip6)
{
	__u8 type;

	if (ip6->nexthdr != IPPROTO_ICMPV6 || ip6->hop_limit != 255 || !ip6_is_group_or_link(&ip6->daddr))
		return 0;
	if (bpf_skb_load_bytes(skb, L3 + sizeof(*ip6), &type, 1))
		return 0;
	return type == ND_SOLICITATION || type == ND_ADVERTISEMENT;
}

/* An error, by the type of the message; what cannot be read is none. */
static __always_inline int icmp6_is_error(struct __sk_buff *skb, const struct upper *upper)
{
	__u8 type;

	if (upper->protocol != IPPROTO_ICMPV6 || !upper->offset || upper->end != PARSE_WHOLE)
		return 0;
	/* Where there is nothing to load, the kernel clears what it was to fill. */
	if (bpf_skb_load_bytes(skb, upper->offset, &type, 1))
		return 0;
	return type < ICMP6_INFORMATIONAL;
}
