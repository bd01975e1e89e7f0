/* Checksums: of transports when an address changes, and sums of addresses. */
#pragma once
#include <linux/icmpv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
#include "ipv6.h"

#define EINVAL 22
/* Linux 6.16: the sum of a whole received packet stays, since address and checksum change against each other. */
#define CSUM_F_IPV6 (1ULL << 7)

/* Adds a difference to the transport's checksum, whether it is whole or left to a NIC. 0 where that went well, or there is none. */
static __always_inline long csum_adjust_transport(struct __sk_buff *skb, const struct upper *upper, __u32 diff)
{
	__u64 flags = BPF_F_PSEUDO_HDR;
	__u32 at;
	long err;

	if (!upper->offset)
		return 0;
	switch (upper->protocol) {
	case IPPROTO_TCP:
		at = offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
		at = offsetof(struct udphdr, check);
		flags |= BPF_F_MARK_MANGLED_0;
		break;
	case IPPROTO_ICMPV6:
		at = offsetof(struct icmp6hdr, icmp6_cksum);
		break;
	default:
		/* SCTP and others have no sum over the address. */
		return 0;
	}
	err = bpf_l4_csum_replace(skb, upper->offset + at, 0, diff, flags | CSUM_F_IPV6);
	if (err == -EINVAL)
		err = bpf_l4_csum_replace(skb, upper->offset + at, 0, diff, flags);
	return err;
}

static __always_inline __u32 csum_of_half(__u64 half)
{
	return (half & 0xffff) + (half >> 16 & 0xffff) + (half >> 32 & 0xffff) + (half >> 48);
}

static __always_inline __u32 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}
