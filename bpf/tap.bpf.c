/*
 * At the server's end of a system's interface: has its tenant's firewall judge what the system sends and gets. A packet is judged once, where
 * it is received; where none of the firewall's systems receives it, where it is sent.
 */
#include <linux/pkt_cls.h>
#include "abi/tap.h"
#include "firewall/ask.h"
#include "lib/count.h"
#include "lib/ipv4.h"
#include "lib/ipv6.h"
#include "lib/receive.h"

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

/* The agent has the names from here. */
const volatile enum tap_reason reason_names = TAP_REASONS;
const volatile enum tap_place place_names = TAP_GATEWAY;

static __always_inline int tap_drop(enum tap_reason reason)
{
	count_one(&drops, reason);
	return TC_ACT_SHOT;
}

/*
 * What stations of one link say to one another, as ARP does: neighbour discovery, and who listens to which group. Nothing of it may be routed:
 * it is to the link, or to somebody who is known to be on it.
 */
static __always_inline int tap_is_of_link(struct __sk_buff *skb, __u8 hops, const struct in6_addr *from, const struct in6_addr *to, int is_known)
{
	struct ipv6hdr *ip6 = ip6_of(skb);
	struct upper upper;
	__u8 type;

	if (!ip6)
		return 0;
	upper = ip6_upper(skb, ip6);
	if (upper.end != PARSE_WHOLE || !upper.offset || upper.protocol != IPPROTO_ICMPV6 || bpf_skb_load_bytes(skb, upper.offset, &type, 1))
		return 0;
	if (hops == 255)
		return type >= 133 && type <= 137 && (is_known || ip6_is_group_or_link(to));
	return ((type >= 130 && type <= 132) || type == 143) && ip6_is_group(to) && (ip6_is_link(from) || ip6_is_nobody(from));
}

/* Whether a frame is for many. */
static __always_inline int tap_is_to_group(struct __sk_buff *skb)
{
	struct ethhdr *eth = eth_of(skb);

	return eth && eth_is_group(eth->h_dest);
}

static __always_inline struct tap *tap_of(__u32 index)
{
	return bpf_map_lookup_elem(&taps, &index);
}

/* At an interface. `way`: of what the firewall is asked. */
static __always_inline int tap(struct __sk_buff *skb, const struct tap *tap, __u32 way)
{
	struct tap_end_key from = {}, to = {};
	const struct in6_addr *from6 = (void *)from.address, *to6 = (void *)to.address;
	struct tap_end *source, *target;
	__u32 in, out;
	int is_sent = (way & ASK_IS_SENT) != 0, is_ipv6 = 0, is_own, is_near;
	enum ask_what what = ASK_JUDGE;
	struct ipv6hdr *ip6;
	struct iphdr *ip;
	__u8 hops = 0;

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
		is_ipv6 = ip6->nexthdr == IPPROTO_ICMPV6 || ip6->nexthdr == IPPROTO_HOPOPTS;
		hops = ip6->hop_limit;
		break;
	default:
		return tap_drop(TAP_OTHER_PROTOCOL);
	}
	from.firewall = to.firewall = tap->firewall;
	target = bpf_map_lookup_elem(&ends, &to);
	/* Judged where it is received. */
	if (is_sent && target && target->place == TAP_HERE)
		return TC_ACT_UNSPEC;
	source = bpf_map_lookup_elem(&ends, &from);
	if (is_ipv6 && (hops == 255 || hops == 1) && tap_is_of_link(skb, hops, from6, to6, target != 0))
		return TC_ACT_UNSPEC;
	if (source && source->place == TAP_GATEWAY)
		source = 0;
	if (target && target->place == TAP_GATEWAY)
		target = 0;
	is_own = source && source->system == tap->system;
	/* It stays on the link; a group's members, and who has an address of the link alone, are not told. */
	is_near = tap_is_to_group(skb) || ip6_is_link(to6);
	if (is_sent) {
		in = tap->network;
		out = target ? target->network : is_near ? tap->network : 0;
		if (target) {
			if (source && !is_own && source->place == TAP_HERE)
				return TC_ACT_UNSPEC;
			what = ASK_TRACK;
		} else if (!is_own && tap->is_router && !is_near) {
			what = ASK_KNOWN;	/* judged where it was sent, or where it came in */
		}
	} else {
		in = source ? source->network : is_near ? tap->network : 0;
		out = tap->network;
		if (target && target->system != tap->system)
			return tap->is_router ? TC_ACT_UNSPEC : tap_drop(TAP_FOR_ANOTHER);
		if (!target && source && !is_own) {
			/* Judged where it was sent. */
			if (tap_is_to_group(skb) || (tap->is_router && !is_near && source->place == TAP_HERE))
				return TC_ACT_UNSPEC;
			if (tap->is_router && !is_near) {
				what = ASK_TRACK;
				out = 0;
			}
		}
	}
	skb->cb[0] = ASK(what, in, out) | way;
	bpf_tail_call(skb, &firewalls, tap->firewall);
	return tap_drop(TAP_NO_RULES);
}

SEC("tc")
int firewall_out(struct __sk_buff *skb)
{
	return tap(skb, tap_of(skb->ifindex), ASK_IS_SENT);
}

SEC("tc")
int firewall_in(struct __sk_buff *skb)
{
	return tap(skb, tap_of(skb->ifindex), 0);
}

/* What does not come by the egress of an interface, at which a firewall may look or not. */
SEC("tc")
int firewall_handed(struct __sk_buff *skb)
{
	__u32 index = receiver_of(skb);
	struct tap *at = tap_of(index);
	int verdict = at ? tap(skb, at, ASK_IS_HANDED) : TC_ACT_UNSPEC;

	return verdict == TC_ACT_UNSPEC ? bpf_redirect_peer(index, 0) : verdict;
}

char _license[] SEC("license") = "GPL";
