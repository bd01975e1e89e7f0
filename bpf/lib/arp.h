/* ARP for IPv4 over Ethernet. */
#pragma once
#include "eth.h"

struct arp_ipv4 {
	__be16 hardware, protocol;
	__u8 hardware_bytes, protocol_bytes;
	__be16 operation;
	__u8 sender_mac[6], sender[4];
	__u8 target_mac[6], target[4];
} __attribute__((packed));

/* 0 where there is a whole one. */
static __always_inline long arp_load(struct __sk_buff *skb, struct arp_ipv4 *arp)
{
	long err = bpf_skb_load_bytes(skb, L3, arp, sizeof(*arp));

	return err ? err : arp->hardware_bytes != 6 || arp->protocol_bytes != 4;
}
