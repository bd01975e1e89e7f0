/* Counters by a number, of each processor its own. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

static __always_inline void count_one(void *counters, __u32 number)
{
	__u64 *count = bpf_map_lookup_elem(counters, &number);

	if (count)
		(*count)++;
}
