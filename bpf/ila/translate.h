/* Addresses in ILA's halves, their translation, and the way to another server. */
#pragma once
#include "maps.h"
#include "../lib/csum.h"
#include "../lib/redirect.h"

/* The C bit of an identifier: its low bits make up for the locator. */
#define ILA_CHECKSUM_FLAG (1ULL << 60)

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

/* Gives the packet its other destination, `hops` further on. ILA_REASONS where that went well. */
static __always_inline __u32 translate(struct __sk_buff *skb, const struct upper *upper, const struct ila_address *to,
				       __u32 diff, __u32 mode, __u8 hops)
{
	struct ipv6hdr *ip6;

	if (mode == ILA_ADJUST_TRANSPORT && csum_adjust_transport(skb, upper, diff))
		return ILA_SHORT_FRAGMENT;
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

/* What a wire address of the network was before: the other way round, where no mapping can be looked up. */
static __always_inline struct ila_address untranslated(const struct ila_address *wire, __be64 sir, __u32 mode)
{
	struct ila_address plain = { .locator = sir, .identifier = wire->identifier };
	__u32 before, rest;

	if (mode > ILA_NEUTRAL_AUTO)
		return plain;
	if (mode == ILA_NEUTRAL)
		plain.identifier &= ~bpf_cpu_to_be64(ILA_CHECKSUM_FLAG);
	before = csum_fold(csum_of_half(wire->locator) + csum_of_half(wire->identifier));
	plain.identifier &= ~bpf_cpu_to_be64(0xffff);
	rest = csum_fold(csum_of_half(plain.locator) + csum_of_half(plain.identifier));
	((__u16 *)&plain.identifier)[3] = csum_fold(before + (~rest & 0xffff));
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

static __always_inline int forward(struct __sk_buff *skb, const struct ila_server *server, int is_egress)
{
	struct ethhdr *eth = eth_of(skb);

	if (!server->has_mac)
		return redirect_to_hop(server->device, server->next_hop);
	if (!eth)
		return drop(ILA_MALFORMED);
	__builtin_memcpy(eth->h_dest, server->next_mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, server->own_mac, ETH_ALEN);
	if (is_egress && server->device == skb->ifindex)
		return TC_ACT_UNSPEC;
	return bpf_redirect(server->device, 0);
}
