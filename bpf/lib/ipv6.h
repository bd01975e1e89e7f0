/* IPv6: the header, and the walk to what it carries. What is found is said in words of no program's own. */
#pragma once
#include <linux/in.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include "eth.h"

#define IP6_HEADERS_MOST 8
#define IP6_OFFSET 0xfff8 /* of a fragment, in its third and fourth byte */
#define IP6_LINK_LOCAL 0xfe80
#define IP6_LINK_LOCAL_MASK 0xffc0

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

static __always_inline int ip6_is_group(const struct in6_addr *address)
{
	return *(__u8 *)address == 0xff;
}

static __always_inline int ip6_is_link(const struct in6_addr *address)
{
	return (bpf_ntohs(*(__be16 *)address) & IP6_LINK_LOCAL_MASK) == IP6_LINK_LOCAL;
}

static __always_inline int ip6_is_group_or_link(const struct in6_addr *address)
{
	return ip6_is_group(address) || ip6_is_link(address);
}

static __always_inline int ip6_is_nobody(const struct in6_addr *address)
{
	const __u32 *words = address->in6_u.u6_addr32;

	return !(words[0] | words[1] | words[2] | words[3]);
}

/* How a walk over the headers of a packet ended. */
enum parse_end {
	PARSE_WHOLE,		/* at the upper-layer header, or at a fragment that is without */
	PARSE_SHORT,		/* shorter than its headers */
	PARSE_ROUTING_HEADER,	/* a checksum is over another address than the header's */
	PARSE_AUTHENTICATED,	/* an authentication header covers the addresses */
	PARSE_TOO_MANY,		/* of headers */
};

struct upper {
	__u32 offset;		/* of the upper-layer header; 0: there is none here */
	__u32 protocol;
	__u32 fragment;		/* the offset of a fragment's header; 0: there is none */
	enum parse_end end;
};

/* Of a struct upper, in one register: a BPF function gives back no more. */
#define UPPER(offset, protocol, end) ((__u64)(offset) << 32 | (__u64)(protocol) << 16 | (end))
#define UPPER_FRAGMENT(offset) ((__u64)(offset) << 48)

/* Walks the extension headers. BIG TCP puts one before TCP (Linux 5.19). */
static __noinline __u64 ip6_walk(struct __sk_buff *skb, __u32 next)
{
	__u32 offset = L3 + sizeof(struct ipv6hdr), fragment = 0;

	for (int i = 0; i < IP6_HEADERS_MOST; i++) {
		struct { __u8 next, words; __be16 fragment; } header;

		switch (next) {
		case IPPROTO_ROUTING:
			return UPPER(0, 0, PARSE_ROUTING_HEADER);
		case IPPROTO_AH:
			return UPPER(0, 0, PARSE_AUTHENTICATED);
		case IPPROTO_HOPOPTS:
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
		case IPPROTO_MH:
			break;
		default:
			return UPPER(offset, next, PARSE_WHOLE) | UPPER_FRAGMENT(fragment);
		}
		if (bpf_skb_load_bytes(skb, offset, &header, sizeof(header)))
			return UPPER(0, 0, PARSE_SHORT);
		if (next == IPPROTO_FRAGMENT) {
			fragment = offset;
			offset += 8;
			if (header.fragment & bpf_htons(IP6_OFFSET)) {
				/* The upper-layer header went with the first. */
				return UPPER(0, 0, PARSE_WHOLE) | UPPER_FRAGMENT(fragment);
			}
		} else {
			offset += (header.words + 1) * 8;
		}
		next = header.next;
	}
	return UPPER(0, 0, PARSE_TOO_MANY);
}

static __always_inline struct upper ip6_upper(struct __sk_buff *skb, struct ipv6hdr *ip6)
{
	struct upper upper = { .offset = L3 + sizeof(*ip6), .protocol = ip6->nexthdr, .end = PARSE_WHOLE };
	__u64 walked;

	if (ip6->nexthdr == IPPROTO_TCP || ip6->nexthdr == IPPROTO_UDP || ip6->nexthdr == IPPROTO_ICMPV6)
		return upper;
	walked = ip6_walk(skb, ip6->nexthdr);
	upper.offset = walked >> 32 & 0xffff;
	upper.fragment = walked >> 48;
	upper.protocol = walked >> 16 & 0xffff;
	upper.end = walked & 0xffff;
	return upper;
}
