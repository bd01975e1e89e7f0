/*
 * What a system may send, at the server's end of its interface: from its own MAC and its own addresses, and without VLAN tags
 * where a filter looks into its packets. ARP and neighbour discovery must not claim others' addresses either.
 */
#include <linux/pkt_cls.h>
#include "abi/guard.h"
#include "lib/arp.h"
#include "lib/count.h"
#include "lib/icmp6.h"
#include "lib/ipv4.h"

#define GUARD_VLAN_MASK 0x0fff

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 18);
	__type(key, struct guard_source);
	__type(value, struct guard_rule);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GUARD_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

/* The agent has the reasons' names from here. */
const volatile enum guard_reason reason_names = GUARD_REASONS;

static __always_inline int guard_drop(enum guard_reason reason)
{
	count_one(&drops, reason);
	return TC_ACT_SHOT;
}

static __always_inline int guard_is_tagged(struct __sk_buff *skb, __be16 type)
{
	return skb->vlan_present || type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD) || type == bpf_htons(ETH_P_QINQ1);
}

/* The address that a packet says it is from; `::` where it says none. Not 0 where it is cut off. */
static __always_inline long guard_address(struct __sk_buff *skb, __be16 type, __u8 *address)
{
	struct ipv6hdr *ip6;
	struct arp_ipv4 arp;
	struct iphdr *ip;

	switch (type) {
	case bpf_htons(ETH_P_IP):
		ip = ip4_of(skb);
		if (!ip)
			return -1;
		ip4_map(ip->saddr, address);
		return 0;
	case bpf_htons(ETH_P_ARP):
		if (arp_load(skb, &arp))
			return -1;
		/* A probe (RFC 5227) claims nothing. */
		if (*(__u32 *)arp.sender)
			ip4_map(*(__be32 *)arp.sender, address);
		return 0;
	case bpf_htons(ETH_P_IPV6):
		ip6 = ip6_of(skb);
		if (!ip6)
			return -1;
		__builtin_memcpy(address, &ip6->saddr, 16);
		return 0;
	}
	return 0;
}

enum guard_claim { NOTHING_CLAIMED, CLAIMED, UNREADABLE };

/* What a neighbour's advertisement claims, whoever it says that it is from. Its hop limit is 255, or nobody takes it. */
static __always_inline enum guard_claim guard_claimed(struct __sk_buff *skb, __u8 *address)
{
	struct ipv6hdr *ip6 = ip6_of(skb);
	struct upper upper;
	__u8 message;

	if (!ip6 || ip6->nexthdr == IPPROTO_TCP || ip6->nexthdr == IPPROTO_UDP || ip6->hop_limit != 255)
		return NOTHING_CLAIMED;
	upper = ip6_upper(skb, ip6);
	/* Behind a routing header, or more headers than we follow, the receiver may still find one. */
	if (upper.end != PARSE_WHOLE)
		return UNREADABLE;
	if (upper.protocol != IPPROTO_ICMPV6 || !upper.offset || bpf_skb_load_bytes(skb, upper.offset, &message, 1))
		return NOTHING_CLAIMED;
	if (message != ND_ADVERTISEMENT)
		return NOTHING_CLAIMED;
	return bpf_skb_load_bytes(skb, upper.offset + sizeof(struct icmp6hdr), address, 16) ? UNREADABLE : CLAIMED;
}

/* A tag of no VLAN: the receiver takes it away, and the frame for its own. */
static __always_inline int guard_is_priority_tag(struct __sk_buff *skb)
{
	__be16 tag;

	if (skb->vlan_present)
		return !(skb->vlan_tci & GUARD_VLAN_MASK);
	return bpf_skb_load_bytes(skb, L3, &tag, sizeof(tag)) || !(bpf_ntohs(tag) & GUARD_VLAN_MASK);
}

/* Of an address at a port; of the port itself where the address need not be its own. */
static __always_inline struct guard_rule *guard_rule_of(struct guard_source *source, __be16 type)
{
	struct guard_rule *rule = bpf_map_lookup_elem(&sources, source);
	struct guard_source port = { .port = source->port };
	int may_be;

	if (rule)
		return rule;
	rule = bpf_map_lookup_elem(&sources, &port);
	if (!rule)
		return 0;
	may_be = (rule->flags & GUARD_ANY_SOURCE) ||
		 (type == bpf_htons(ETH_P_IPV6) && ip6_is_group_or_link((struct in6_addr *)source->address)) ||
		 ((type == bpf_htons(ETH_P_IP) || type == bpf_htons(ETH_P_ARP)) && (rule->flags & GUARD_ANY_IPV4));
	return may_be ? rule : 0;
}

/* Ingress of the server's end of a system's interface: frames that the system sends. */
SEC("tc")
int guard_out(struct __sk_buff *skb)
{
	struct guard_source source = { .port = skb->ifindex }, claimed = source;
	struct ethhdr *eth = eth_of(skb);
	struct guard_rule *rule;
	__u8 mac[ETH_ALEN] __attribute__((aligned(2)));
	__be16 type;
	int tagged;

	if (!eth)
		return guard_drop(GUARD_MAC);
	__builtin_memcpy(mac, eth->h_source, ETH_ALEN);
	type = eth->h_proto;
	tagged = guard_is_tagged(skb, type);
	/* Behind a tag are another segment's addresses. */
	if (!tagged && guard_address(skb, type, source.address))
		return guard_drop(GUARD_ADDRESS);
	rule = guard_rule_of(&source, type);
	if (!rule)
		return guard_drop(GUARD_ADDRESS);
	if (tagged && (rule->flags & GUARD_UNTAGGED))
		return guard_drop(GUARD_TAGGED);
	if (rule->flags & GUARD_ANY_SOURCE)
		return TC_ACT_UNSPEC;
	if (!eth_is_same(mac, rule->mac))
		return guard_drop(GUARD_MAC);
	if (tagged)
		return guard_is_priority_tag(skb) ? guard_drop(GUARD_TAGGED) : TC_ACT_UNSPEC;
	if (type != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	switch (guard_claimed(skb, claimed.address)) {
	case UNREADABLE:
		return guard_drop(GUARD_ADDRESS);
	case CLAIMED:
		return guard_rule_of(&claimed, type) ? TC_ACT_UNSPEC : guard_drop(GUARD_ADDRESS);
	default:
		return TC_ACT_UNSPEC;
	}
}

char _license[] SEC("license") = "GPL";
