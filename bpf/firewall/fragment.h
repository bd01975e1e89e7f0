/* What became of the first fragment of a datagram. */
#pragma once
#include "packet.h"

/* The oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 12);
	__type(key, struct firewall_datagram);
	__type(value, struct firewall_fragment);
} fragments SEC(".maps");

#define FRAGMENT_NS 30000000000ULL	/* as long as the kernel waits for a datagram's rest */

enum fragment_first { FIRST_UNSEEN, FIRST_PASSED, FIRST_DROPPED };

static __always_inline void datagram_of(struct firewall_datagram *datagram, const struct numbers *n)
{
	__builtin_memset(datagram, 0, sizeof(*datagram));
	for (int end = 0; end < 2; end++) {
		datagram->addresses[end][0] = n->addresses[end][0];
		datagram->addresses[end][1] = n->addresses[end][1];
	}
	datagram->identifier = n->datagram;
	datagram->protocol = n->fragment_protocol;
}

static __always_inline enum fragment_first fragment_first(const struct firewall_datagram *datagram)
{
	struct firewall_fragment *first = bpf_map_lookup_elem(&fragments, datagram);

	if (!first || first->until_ns < bpf_ktime_get_ns())
		return FIRST_UNSEEN;
	return first->is_passed ? FIRST_PASSED : FIRST_DROPPED;
}

static __always_inline void fragment_keep(const struct numbers *n, int is_passed)
{
	struct firewall_datagram datagram;
	struct firewall_fragment first = { .until_ns = bpf_ktime_get_ns() + FRAGMENT_NS, .is_passed = is_passed };

	datagram_of(&datagram, n);
	bpf_map_update_elem(&fragments, &datagram, &first, BPF_ANY);
}
