/* The maps of the ILA programs, which the agent fills, and the counters of what they drop. */
#pragma once
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "../abi/ila.h"
#include "../lib/count.h"
#include "../lib/ipv6.h"

/* Sizes are set by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 17);
	__type(key, struct ila_address);
	__type(value, struct ila_mapping);
} mappings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct ila_address);
	__type(value, struct ila_arrival);
} arrivals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct ila_port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct ila_server);
} servers SEC(".maps");

/* Locators and SIR prefixes: enum ila_prefix. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __be64);
	__type(value, __u32);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ILA_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* BTF of enumerations that no structure has, for the agent. */
const volatile enum ila_reason reason_names = ILA_REASONS;
const volatile enum ila_prefix prefix_names = ILA_SIR;

static __always_inline int drop(__u32 reason)
{
	count_one(&drops, reason);
	return TC_ACT_SHOT;
}

/* Why a packet whose headers could not be walked is dropped. */
static __always_inline __u32 reason_of(enum parse_end end)
{
	switch (end) {
	case PARSE_ROUTING_HEADER:
		return ILA_ROUTING_HEADER;
	case PARSE_AUTHENTICATED:
		return ILA_AUTHENTICATED;
	case PARSE_TOO_MANY:
		return ILA_TOO_MANY_HEADERS;
	default:
		return ILA_MALFORMED;
	}
}
