/*
 * What state a packet's connection is in, as netfilter has it, but for the windows of TCP, which are not followed
 * (nf_conntrack_tcp_be_liberal=1).
 */
#pragma once
#include "packet.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 18);
	__type(key, struct firewall_flow);
	__type(value, struct firewall_connection);
} connections SEC(".maps");

enum tcp_state { NO, SS, SR, ES, FW, CW, LA, TW, CL, S2, TCP_STATES, IV = TCP_STATES, IG };
#define TCP_FIN 1
#define TCP_SYN 2
#define TCP_RST 4
#define TCP_PSH 8
#define TCP_ACK 16
#define TCP_URG 32
#define TCP_ECN 0xc0

enum tcp_packet { SYN, SYNACK, FIN, ACK, RST, OTHER, TCP_PACKETS };

/* By direction, packet, and state before. */
const __u8 tcp_next[2][TCP_PACKETS][TCP_STATES] = {
	{
		{ SS, SS, IG, IG, IG, IG, IG, SS, SS, S2 },
		{ IV, IV, SR, IV, IV, IV, IV, IV, IV, SR },
		{ IV, IV, FW, FW, LA, LA, LA, TW, CL, IV },
		{ ES, IV, ES, ES, CW, CW, TW, TW, CL, IV },
		{ IV, CL, CL, CL, CL, CL, CL, CL, CL, CL },
		{ IV, IV, IV, IV, IV, IV, IV, IV, IV, IV },
	},
	{
		{ IV, S2, IV, IV, IV, IV, IV, SS, IV, S2 },
		{ IV, SR, IG, IG, IG, IG, IG, IG, IG, SR },
		{ IV, IV, FW, FW, LA, LA, LA, TW, CL, IV },
		{ IV, IG, SR, ES, CW, CW, TW, TW, CL, IG },
		{ IV, CL, CL, CL, CL, CL, CL, CL, CL, CL },
		{ IV, IV, IV, IV, IV, IV, IV, IV, IV, IV },
	},
};

#define SECONDS 1000000000ULL
const __u32 tcp_seconds[TCP_STATES] = { 120, 120, 60, 432000, 120, 60, 30, 120, 10, 120 };
#define TCP_UNANSWERED_SECONDS 300
#define UDP_SECONDS 30
#define UDP_STREAM_SECONDS 120
#define ICMP_SECONDS 30
#define OTHER_SECONDS 600

/* Others nobody sends who means well. */
static __always_inline int tcp_is_valid(__u32 flags)
{
	switch (flags & ~(TCP_PSH | TCP_ECN)) {
	case TCP_SYN:
	case TCP_SYN | TCP_URG:
	case TCP_SYN | TCP_ACK:
	case TCP_RST:
	case TCP_RST | TCP_ACK:
	case TCP_FIN | TCP_ACK:
	case TCP_FIN | TCP_ACK | TCP_URG:
	case TCP_ACK:
	case TCP_ACK | TCP_URG:
		return 1;
	}
	return 0;
}

static __always_inline enum tcp_packet tcp_packet_of(__u32 flags)
{
	if (flags & TCP_RST)
		return RST;
	if (flags & TCP_SYN)
		return flags & TCP_ACK ? SYNACK : SYN;
	if (flags & TCP_FIN)
		return FIN;
	return flags & TCP_ACK ? ACK : OTHER;
}

/* The type of the query that a packet of ICMP is, or answers; -1 where it is neither. */
static __always_inline int icmp_query(__u32 type, int is_ipv6)
{
	if (is_ipv6)
		return type == 128 || type == 129 ? 128 : type == 139 || type == 140 ? 139 : -1;
	switch (type) {
	case 0: case 8:
		return 8;
	case 13: case 14:
		return 13;
	case 15: case 16:
		return 15;
	case 17: case 18:
		return 17;
	}
	return -1;
}

static __always_inline int icmp_is_error(__u32 type, int is_ipv6)
{
	return is_ipv6 ? type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

/* Neighbour discovery and groups: no connection's. */
static __always_inline int icmp_is_untracked(__u32 type, int is_ipv6)
{
	return is_ipv6 && ((type >= 130 && type <= 137) || type == 143);
}

static __always_inline int is_icmp(const struct numbers *n, int is_ipv6)
{
	return n->others[FIREWALL_PROTOCOL] == (is_ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

static __always_inline void flow_swap(__u32 *a, __u32 *b)
{
	__u32 word = *a;

	*a = *b;
	*b = word;
}

/* Gives 1 where the packet goes from the greater end to the lesser one. */
static __always_inline int flow_of(struct firewall_flow *flow, const struct numbers *n, int is_ipv6)
{
	int is_greater = 0;

	for (int end = 0; end < 2; end++) {
		__u8 *into = flow->addresses[end];

		if (is_ipv6) {
			*(__u64 *)into = __builtin_bswap64(n->addresses[end][0]);
			*(__u64 *)(into + 8) = __builtin_bswap64(n->addresses[end][1]);
		} else {
			ip4_map(bpf_htonl(n->addresses[end][1]), into);
		}
	}
	flow->protocol = n->others[FIREWALL_PROTOCOL];
	flow->ports[0] = n->others[FIREWALL_SOURCE_PORT];
	flow->ports[1] = n->others[FIREWALL_DESTINATION_PORT];
	if (n->addresses[0][0] != n->addresses[1][0])
		is_greater = n->addresses[0][0] > n->addresses[1][0];
	else if (n->addresses[0][1] != n->addresses[1][1])
		is_greater = n->addresses[0][1] > n->addresses[1][1];
	else
		is_greater = flow->ports[0] > flow->ports[1];
	if (is_greater) {
		__u16 port = flow->ports[0];

		flow->ports[0] = flow->ports[1];
		flow->ports[1] = port;
		for (int i = 0; i < 16; i += 4)
			flow_swap((__u32 *)(flow->addresses[0] + i), (__u32 *)(flow->addresses[1] + i));
	}
	if (is_icmp(n, is_ipv6)) {
		__u32 type = n->others[FIREWALL_DESTINATION_PORT] >> 8, code = n->others[FIREWALL_DESTINATION_PORT] & 0xff;
		int query = icmp_query(type, is_ipv6);

		flow->ports[0] = n->identifier;
		flow->ports[1] = query << 8 | code;
		flow->is_turned = (query == type) == is_greater;
	}
	return is_greater;
}

/* How long a connection is known after a packet. */
static __always_inline __u64 seconds_of(const struct firewall_connection *c, const struct firewall_flow *flow)
{
	switch (flow->protocol) {
	case IPPROTO_TCP:
		if (c->tcp >= TCP_STATES)
			return 0;
		/* Picked up in its middle, and nobody has answered. */
		return !c->is_replied && tcp_seconds[c->tcp] > TCP_UNANSWERED_SECONDS ? TCP_UNANSWERED_SECONDS : tcp_seconds[c->tcp];
	case IPPROTO_UDP:
		return c->is_replied ? UDP_STREAM_SECONDS : UDP_SECONDS;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return ICMP_SECONDS;
	}
	return OTHER_SECONDS;
}

/* A packet of its own kind begins a connection, or is nobody's. */
static __always_inline enum firewall_state track_new(const struct numbers *n, int is_ipv6, struct firewall_connection *c)
{
	if (is_icmp(n, is_ipv6)) {
		__u32 type = n->others[FIREWALL_DESTINATION_PORT] >> 8;

		return icmp_query(type, is_ipv6) == type ? FIREWALL_NEW : FIREWALL_INVALID;
	}
	if (n->others[FIREWALL_PROTOCOL] == IPPROTO_TCP) {
		c->last_packet = tcp_packet_of(n->others[FIREWALL_FLAGS]);
		c->tcp = tcp_next[0][c->last_packet][NO];
		return c->tcp == IV ? FIREWALL_INVALID : FIREWALL_NEW;
	}
	return FIREWALL_NEW;
}

/*
 * The state of a packet's connection, which it changes. Where that is not known yet, `fresh` is what is to be kept once the packet is let
 * pass; else it is `known`. `is_known` asks only whether that is known, and changes nothing then.
 */
static __always_inline enum firewall_state track(const struct numbers *n, int is_ipv6, struct firewall_flow *flow, __u64 now,
						 struct firewall_connection *fresh, __u32 *is_fresh, int is_known,
						 struct firewall_connection **known)
{
	struct firewall_connection *c = bpf_map_lookup_elem(&connections, flow);
	int is_turned = fresh->is_turned, is_back;
	enum tcp_packet packet;
	__u8 next;

	if (c && c->until_ns < now)
		c = 0;
	*known = 0;
	*is_fresh = 1;
	if (!c)
		return track_new(n, is_ipv6, fresh);
	is_back = c->is_turned != is_turned;
	if (is_known) {
		*is_fresh = 0;
		return FIREWALL_ESTABLISHED;
	}
	if (n->others[FIREWALL_PROTOCOL] == IPPROTO_TCP) {
		packet = tcp_packet_of(n->others[FIREWALL_FLAGS]);
		if (c->tcp >= TCP_STATES)
			return FIREWALL_INVALID;
		next = tcp_next[is_back][packet][c->tcp];
		if (next == IV)
			return FIREWALL_INVALID;
		if (next == SS && c->tcp >= TW) {
			/* What was closed, or reset from here, may be begun anew. */
			if (c->is_closing || (c->is_last_back == is_back && c->last_packet == RST)) {
				bpf_map_delete_elem(&connections, flow);
				return track_new(n, is_ipv6, fresh);
			}
			next = IG;
		}
		c->last_packet = packet;
		c->is_last_back = is_back;
		if (next != IG) {
			if (next == FW && c->tcp != FW)
				c->is_closing = 1;
			c->tcp = next;
			/* The answer was that there is nobody. */
			if (packet == RST && !c->is_replied) {
				bpf_map_delete_elem(&connections, flow);
				*is_fresh = 0;
				return is_back ? FIREWALL_ESTABLISHED : FIREWALL_NEW;
			}
		}
	}
	*is_fresh = 0;
	*known = c;
	if (is_back)
		c->is_replied = 1;
	c->until_ns = now + seconds_of(c, flow) * SECONDS;
	return c->is_replied ? FIREWALL_ESTABLISHED : FIREWALL_NEW;
}

/* An error of ICMP belongs to the connection of the packet that it quotes: `flow` is that one's, which goes `is_turned`. */
static __always_inline enum firewall_state track_error(struct __sk_buff *skb, const struct numbers *n, int is_ipv6, __u64 now,
						       struct firewall_flow *flow, __u8 *is_turned)
{
	struct firewall_connection *c;
	struct numbers quoted = {};
	__u32 offset = n->upper + 8;

	if (is_ipv6) {
		struct ipv6hdr ip6;

		if (bpf_skb_load_bytes(skb, offset, &ip6, sizeof(ip6)))
			return FIREWALL_INVALID;
		numbers_addresses_ipv6(&quoted, &ip6);
		quoted.others[FIREWALL_PROTOCOL] = ip6.nexthdr;
		offset += sizeof(ip6);
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, offset, &ip, sizeof(ip)) || ip.ihl < 5 || (ip.frag_off & bpf_htons(IP4_LATER)))
			return FIREWALL_INVALID;
		numbers_addresses_ipv4(&quoted, &ip);
		quoted.others[FIREWALL_PROTOCOL] = ip.protocol;
		offset += ip.ihl * 4;
	}
	/* It goes to who sent the packet. */
	if (n->addresses[1][0] != quoted.addresses[0][0] || n->addresses[1][1] != quoted.addresses[0][1] ||
	    numbers_ports(skb, offset, is_ipv6, &quoted))
		return FIREWALL_INVALID;
	*is_turned = flow_of(flow, &quoted, is_ipv6);
	c = bpf_map_lookup_elem(&connections, flow);
	return c && c->until_ns >= now ? FIREWALL_RELATED : FIREWALL_INVALID;
}
