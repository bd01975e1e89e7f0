/* Ethernet frames as a program at a device sees them. */
#pragma once
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_helpers.h>

/* Where the network layer begins: a VLAN tag is not in the packet here (skb->vlan_present). */
#define L3 ETH_HLEN

/* The Ethernet header; none where the packet is shorter. */
static __always_inline struct ethhdr *eth_of(struct __sk_buff *skb)
{
	struct ethhdr *eth = (void *)(long)skb->data;

	return (void *)(eth + 1) > (void *)(long)skb->data_end ? 0 : eth;
}

static __always_inline int eth_is_group(const __u8 *mac)
{
	return mac[0] & 1;
}

/* Both at an even address. */
static __always_inline int eth_is_same(const __u8 *a, const __u8 *b)
{
	const __u16 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}
