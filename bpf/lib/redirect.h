/* Ways out of a program that end the chain at a device. */
#pragma once
#include "eth.h"

#define NH_FAMILY_IPV6 10 /* AF_INET6 */

/* By the kernel's neighbour of an IPv6 next hop. */
static __always_inline int redirect_to_hop(__u32 device, const __u8 *next_hop)
{
	struct bpf_redir_neigh next = { .nh_family = NH_FAMILY_IPV6 };

	__builtin_memcpy(next.ipv6_nh, next_hop, 16);
	return bpf_redirect_neigh(device, &next, sizeof(next), 0);
}

/* Whether a packet is larger than a device sends; of what is to be cut up, the kernel knows how large the pieces will be (Linux 5.12). */
static __always_inline int redirect_is_too_big(struct __sk_buff *skb, __u32 device, __u32 mtu_bytes)
{
	__u32 length = 0;

	if (skb->len <= mtu_bytes + L3)
		return 0;
	return !skb->gso_size || bpf_check_mtu(skb, device, &length, 0, BPF_MTU_CHK_SEGS) != 0;
}
