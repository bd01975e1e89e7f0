/* IPv4: the header, and its addresses as IPv6 maps them. */
#pragma once
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include "eth.h"

/* The IPv4 header without its options; none where the packet is too short. Only what is not linear costs more than two compares. */
static __always_inline struct iphdr *ip4_of(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;

	if (data + L3 + sizeof(struct iphdr) > (void *)(long)skb->data_end) {
		if (bpf_skb_pull_data(skb, L3 + sizeof(struct iphdr)))
			return 0;
		data = (void *)(long)skb->data;
		if (data + L3 + sizeof(struct iphdr) > (void *)(long)skb->data_end)
			return 0;
	}
	return data + L3;
}

/* ::ffff:ADDRESS */
static __always_inline void ip4_map(__be32 from, __u8 *address)
{
	__builtin_memset(address, 0, 10);
	__builtin_memset(address + 10, 0xff, 2);
	__builtin_memcpy(address + 12, &from, 4);
}
