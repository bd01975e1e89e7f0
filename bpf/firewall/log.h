/* What LOG tells of a packet: the agent reads it, and writes a line. Where nobody reads, what is told last is lost. */
#pragma once
#include <bpf/bpf_helpers.h>
#include "../abi/firewall.h"
#include "../lib/eth.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} logs SEC(".maps");

static __always_inline void log_packet(struct __sk_buff *skb, const struct firewall_entry *entry, __u32 in, __u32 out)
{
	__u32 bytes = skb->len - L3;
	struct firewall_logged *logged = bpf_ringbuf_reserve(&logs, sizeof(*logged), 0);

	if (!logged)
		return;
	logged->counter = entry->counter;
	logged->bytes = bytes;
	logged->in = in;
	logged->out = out;
	logged->is_ipv6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	logged->zero = 0;
	logged->captured = FIREWALL_LOGGED_BYTES;
	/* A shorter packet is read as far as the smallest header goes. */
	if (bpf_skb_load_bytes(skb, L3, logged->header, FIREWALL_LOGGED_BYTES)) {
		logged->captured = FIREWALL_LOGGED_LEAST;
		if (bpf_skb_load_bytes(skb, L3, logged->header, FIREWALL_LOGGED_LEAST))
			logged->captured = 0;
	}
	bpf_ringbuf_submit(logged, 0);
}
