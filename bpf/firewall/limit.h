/* How often packets match, as netfilter's limit has it: time is credit, each packet costs some, and no more is kept than a burst costs. */
#pragma once
#include <bpf/bpf_helpers.h>
#include "../abi/firewall.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct firewall_credit);
} credits SEC(".maps");

static __always_inline int limit_passes(const struct firewall_entry *entry)
{
	__u32 key = entry->counter;
	struct firewall_credit *c = bpf_map_lookup_elem(&credits, &key);
	__u64 cost = (__u64)entry->check_mask << 32 | entry->check_value, most = cost * entry->burst, now = bpf_ktime_get_ns();
	int passes;

	if (!c)
		return 0;
	bpf_spin_lock(&c->lock);
	if (!c->last_ns)
		c->credit_ns = most;
	else if (now > c->last_ns)
		c->credit_ns += now - c->last_ns;
	c->last_ns = now;
	if (c->credit_ns > most)
		c->credit_ns = most;
	passes = c->credit_ns >= cost;
	if (passes)
		c->credit_ns -= cost;
	bpf_spin_unlock(&c->lock);
	return passes;
}
