/*
 * At the server's end of a system's interface: has its tenant's firewall judge what the system sends and gets. A packet is judged once, where
 * it is received; where none of the firewall's systems receives it, where it is sent.
 */
#include <linux/pkt_cls.h>
#include "abi/tap.h"
#include "firewall/ask.h"
#include "lib/icmp6.h"
#include "lib/ipv4.h"
#include "lib/ipv6.h"

/* Each tenant's rules: one update of its place here is in force at all interfaces at once. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} firewalls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 16);
	__type(key, __u32);
	__type(value, struct tap);
} taps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 18);
	__type(key, struct tap_end_key);
	__type(value, struct tap_end);
} ends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TAP_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* The agent has the reasons' names from here. */
const volatile enum tap_reason reason_names = TAP_REASONS;

static __always_inline int tap_drop(enum tap_reason reason)
{
	__u32 key = reason;
	__u64 *count = bpf_map_lookup_elem(&drops, &key);

	if (count)
		(*count)++;
	return TC_ACT_SHOT;
}

/* What stations of one link say to one another, as ARP does: neighbour discovery, and who listens to which group. */
static __always_inline int tap_is_of_link(struct __sk_buff *skb, struct ipv6hdr *ip6)
{
	__u8 hops = ip6->hop_limit, type;
	struct upper upper;

	if (hops != 255 && hops != 1)
		return 0;
	upper = ip6_upper(skb, ip6);
	if (upper.end != PARSE_WHOLE || !upper.offset || upper.protocol != IPPROTO_ICMPV6 || bpf_skb_load_bytes(skb, upper.offset, &type, 1))
		return 0;
	return hops == 255 ? type >= 133 && type <= 137 : (type >= 130 && type <= 132) || type == 143;
}

/* Whether a packet is for many. */
static __always_inline int tap_is_to_group(struct __sk_buff *skb)
{
	struct ethhdr *eth = eth_of(skb);

	return eth && eth_is_group(eth->h_dest);
}

static __always_inline int tap(struct __sk_buff *skb, int is_sent)
{
	struct tap_end_key from = {}, to = {};
	struct tap_end *source, *target;
	__u32 index = skb->ifindex, in, out;
	struct tap *tap = bpf_map_lookup_elem(&taps, &index);
	enum ask_what what = ASK_JUDGE;
	struct ipv6hdr *ip6;
	struct iphdr *ip;
	int is_own;

	if (!tap)
		return tap_drop(TAP_UNTOLD);
	if (skb->vlan_present)
		return tap_drop(TAP_VLAN_TAG);
	switch (skb->protocol) {
	case bpf_htons(ETH_P_ARP):
		return TC_ACT_UNSPEC;
	case bpf_htons(ETH_P_IP):
		ip = ip4_of(skb);
		if (!ip)
			return tap_drop(TAP_UNREADABLE);
		ip4_map(ip->saddr, from.address);
		ip4_map(ip->daddr, to.address);
		break;
	case bpf_htons(ETH_P_IPV6):
		ip6 = ip6_of(skb);
		if (!ip6)
			return tap_drop(TAP_UNREADABLE);
		__builtin_memcpy(from.address, &ip6->saddr, 16);
		__builtin_memcpy(to.address, &ip6->daddr, 16);
		if (ip6->nexthdr == IPPROTO_ICMPV6 || ip6->nexthdr == IPPROTO_HOPOPTS) {
			if (tap_is_of_link(skb, ip6))
				return TC_ACT_UNSPEC;
		}
		break;
	default:
		return tap_drop(TAP_OTHER_PROTOCOL);
	}
	from.firewall = to.firewall = tap->firewall;
	source = bpf_map_lookup_elem(&ends, &from);
	target = bpf_map_lookup_elem(&ends, &to);
	is_own = source && source->system == tap->system;
	if (is_sent) {
		int is_told = source && source->is_here && !is_own;	/* at its sender's interface */

		if (target && (target->is_here || is_told))
			return TC_ACT_UNSPEC;
		what = target ? ASK_TRACK : is_told ? ASK_PEEK : ASK_JUDGE;
		in = tap->network;
		out = target ? target->network : 0;
	} else {
		if (target && target->system != tap->system)
			return TC_ACT_UNSPEC;	/* on its way to another one */
		if (!target && source && !is_own)
			return TC_ACT_UNSPEC;	/* judged where it was sent */
		if (!target && !source && tap->is_router && !tap_is_to_group(skb))
			return TC_ACT_UNSPEC;	/* judged where it leaves the router */
		in = source ? source->network : 0;
		out = tap->network;
	}
	skb->cb[0] = ASK(what, in, out);
	bpf_tail_call(skb, &firewalls, tap->firewall);
	return tap_drop(TAP_NO_RULES);
}

SEC("tc")
int firewall_out(struct __sk_buff *skb)
{
	return tap(skb, 1);
}

SEC("tc")
int firewall_in(struct __sk_buff *skb)
{
	return tap(skb, 0);
}

char _license[] SEC("license") = "GPL";
