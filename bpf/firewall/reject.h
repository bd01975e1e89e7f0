/* REJECT: what is rejected becomes its own answer, in its place. It comes from whom the packet was for. */
#pragma once
#include "../lib/csum.h"
#include "../lib/receiver.h"
#include "ask.h"
#include "connection.h"

/* Whose answer is on its way. It is no connection's, and passes once. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1 << 12);
	__type(key, struct firewall_flow);
	__type(value, struct firewall_rejection);
} rejections SEC(".maps");

#define REJECTION_NS 5000000000ULL
#define PACKET_HOST 0
#define IP4_WHOLE 0x4000		/* do not fragment */
#define IP4_CONTROL 0xc0		/* as routers' errors have it */
#define ANSWER_HOPS 64
#define QUOTED 8			/* bytes behind the header of IP, that name the connection */

/* Of both families. */
struct error_head {
	__u8 type, code;
	__sum16 checksum;
	__u32 rest;
};
struct answer_ipv4 {
	struct iphdr ip;
	union {
		struct tcphdr reset;
		struct {
			struct error_head head;
			__u8 quoted[sizeof(struct iphdr) + QUOTED];
		} error;
	};
};
struct answer_ipv6 {
	struct ipv6hdr ip;
	union {
		struct tcphdr reset;
		struct {
			struct error_head head;
			__u8 quoted[sizeof(struct ipv6hdr) + QUOTED];
		} error;
	};
};
#define RESET_BYTES(answer) (sizeof((answer)->ip) + sizeof((answer)->reset))
#define ERROR_BYTES(answer) (sizeof((answer)->ip) + sizeof((answer)->error))
#define ANSWER_BYTES(answer, is_reset) ((is_reset) ? RESET_BYTES(answer) : ERROR_BYTES(answer))

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union { struct answer_ipv4 ipv4; struct answer_ipv6 ipv6; });
} answers SEC(".maps");

static __always_inline __u32 sum_of(void *bytes, __u32 count, __u32 sum)
{
	return bpf_csum_diff(0, 0, bytes, count, sum);
}

static __always_inline __sum16 sum_end(__u32 sum)
{
	return ~csum_fold(sum);
}

/* To whoever sent a segment, as the kernel's own (Linux 6.18, nf_reject): it takes the place of the next one that is waited for. */
static __always_inline void answer_reset(struct __sk_buff *skb, const struct numbers *n, const struct tcphdr *to, struct tcphdr *reset)
{
	__builtin_memset(reset, 0, sizeof(*reset));
	reset->source = to->dest;
	reset->dest = to->source;
	reset->doff = sizeof(*reset) / 4;
	reset->rst = 1;
	if (to->ack) {
		reset->seq = to->ack_seq;
	} else {
		reset->ack = 1;
		reset->ack_seq = bpf_htonl(bpf_ntohl(to->seq) + to->syn + to->fin + skb->len - n->upper - to->doff * 4);
	}
}

/* All of an error but its checksum. */
#define ANSWER_ERROR(answer, from, with)                                                              \
	do {                                                                                          \
		__builtin_memset(&(answer)->error.head, 0, sizeof((answer)->error.head));             \
		(answer)->error.head.type = (with) >> 8;                                              \
		(answer)->error.head.code = (with);                                                   \
		__builtin_memcpy((answer)->error.quoted, (from), sizeof((answer)->error.quoted));     \
	} while (0)

/* Not 0: there is none. `with`: the type and code of ICMP, 0: a reset. */
static __always_inline int answer_ipv4(struct __sk_buff *skb, const struct numbers *n, __u32 with, struct answer_ipv4 *answer)
{
	struct { struct iphdr ip; struct tcphdr tcp; } from;
	__u32 sum;

	if (n->upper != L3 + sizeof(from.ip) || bpf_skb_load_bytes(skb, L3, &from, sizeof(from.ip) + QUOTED))
		return -1;
	__builtin_memset(&answer->ip, 0, sizeof(answer->ip));
	if (with) {
		ANSWER_ERROR(answer, &from, with);
		answer->error.head.checksum = sum_end(sum_of(&answer->error, sizeof(answer->error), 0));
		answer->ip.tos = IP4_CONTROL;
		answer->ip.protocol = IPPROTO_ICMP;
	} else {
		if (bpf_skb_load_bytes(skb, L3, &from, sizeof(from)))
			return -1;
		answer_reset(skb, n, &from.tcp, &answer->reset);
		sum = csum_of_half((__u64)from.ip.saddr << 32 | from.ip.daddr) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(answer->reset));
		answer->reset.check = sum_end(sum_of(&answer->reset, sizeof(answer->reset), sum));
		answer->ip.frag_off = bpf_htons(IP4_WHOLE);
		answer->ip.protocol = IPPROTO_TCP;
	}
	answer->ip.version = 4;
	answer->ip.ihl = sizeof(answer->ip) / 4;
	answer->ip.tot_len = bpf_htons(ANSWER_BYTES(answer, !with));
	answer->ip.ttl = ANSWER_HOPS;
	answer->ip.saddr = from.ip.daddr;
	answer->ip.daddr = from.ip.saddr;
	answer->ip.check = sum_end(sum_of(&answer->ip, sizeof(answer->ip), 0));
	return 0;
}

static __always_inline int answer_ipv6(struct __sk_buff *skb, const struct numbers *n, __u32 with, struct answer_ipv6 *answer)
{
	struct { struct ipv6hdr ip; struct tcphdr tcp; } from;
	__u32 sum;

	if (n->upper != L3 + sizeof(from.ip) || bpf_skb_load_bytes(skb, L3, &from, sizeof(from.ip) + QUOTED))
		return -1;
	__builtin_memset(&answer->ip, 0, sizeof(answer->ip));
	sum = sum_of(&from.ip.saddr, 2 * sizeof(from.ip.saddr), 0);
	if (with) {
		ANSWER_ERROR(answer, &from, with);
		sum = csum_fold(sum) + bpf_htons(IPPROTO_ICMPV6) + bpf_htons(sizeof(answer->error));
		answer->error.head.checksum = sum_end(sum_of(&answer->error, sizeof(answer->error), sum));
		answer->ip.nexthdr = IPPROTO_ICMPV6;
	} else {
		if (bpf_skb_load_bytes(skb, L3, &from, sizeof(from)))
			return -1;
		answer_reset(skb, n, &from.tcp, &answer->reset);
		sum = csum_fold(sum) + bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(answer->reset));
		answer->reset.check = sum_end(sum_of(&answer->reset, sizeof(answer->reset), sum));
		answer->ip.nexthdr = IPPROTO_TCP;
	}
	answer->ip.version = 6;
	answer->ip.payload_len = bpf_htons(ANSWER_BYTES(answer, !with) - sizeof(answer->ip));
	answer->ip.hop_limit = ANSWER_HOPS;
	answer->ip.saddr = from.ip.daddr;
	answer->ip.daddr = from.ip.saddr;
	return 0;
}

/*
 * The packet becomes the answer. A checksum that is still to be computed has its place by the buffer, and cannot be put off: what is cut out
 * in front is more than the old header was, so that its place is no more, and the kernel forgets it (skb_postpull_rcsum).
 */
#define CUT (sizeof(struct ipv6hdr) + 24)
static __always_inline int answer_in_place(struct __sk_buff *skb, void *answer, __u32 bytes)
{
	__u8 macs[12], turned[12];

	if (bpf_skb_load_bytes(skb, 0, macs, sizeof(macs)))
		return -1;
	__builtin_memcpy(turned, macs + 6, 6);
	__builtin_memcpy(turned + 6, macs, 6);
	return bpf_skb_change_tail(skb, L3 + bytes + CUT, 0) || bpf_skb_adjust_room(skb, -(__s32)CUT, BPF_ADJ_ROOM_MAC, 0) ||
	       bpf_skb_store_bytes(skb, L3, answer, bytes, BPF_F_RECOMPUTE_CSUM) || bpf_skb_store_bytes(skb, 0, turned, sizeof(turned), 0);
}

/* Nobody answers what was for many, and no error, or errors would answer one another. */
static __always_inline int is_answered(struct __sk_buff *skb, const struct numbers *n, __u32 with, int is_ipv6)
{
	const __u64 *from = n->addresses[FIREWALL_SOURCE], *to = n->addresses[FIREWALL_DESTINATION];
	struct ethhdr *eth = eth_of(skb);

	if (!n->upper || !eth || eth_is_group(eth->h_dest) || !(from[0] | from[1]))
		return 0;
	if (is_ipv6 ? (from[0] >> 56) == 0xff || (to[0] >> 56) == 0xff : from[1] >> 28 >= 0xe || to[1] >> 28 >= 0xe)
		return 0;
	if (is_icmp(n, is_ipv6))
		return icmp_query(n->others[FIREWALL_DESTINATION_PORT] >> 8, is_ipv6) >= 0;
	return with || !(n->others[FIREWALL_FLAGS] & TCP_RST);
}

/* Its answer is let through. */
static __always_inline void rejection_note(const struct numbers *n, struct firewall_flow *flow, int is_ipv6)
{
	struct firewall_rejection rejection = { .until_ns = bpf_ktime_get_coarse_ns() + REJECTION_NS };

	__builtin_memset(flow, 0, sizeof(*flow));
	rejection.is_turned = flow_of(flow, n, is_ipv6);
	bpf_map_update_elem(&rejections, flow, &rejection, BPF_ANY);
}

/*
 * Whether a packet is the answer to a rejected one, as long as an answer is and no longer. `flow` is its own, or that of the packet which it
 * quotes; `is_turned` how that goes.
 */
static __always_inline int is_to_rejected(struct __sk_buff *skb, const struct numbers *n, const struct firewall_flow *flow, __u32 is_turned, int is_ipv6)
{
	const struct answer_ipv4 *ipv4 = 0;
	const struct answer_ipv6 *ipv6 = 0;
	struct firewall_rejection *rejection;
	int is_reset = n->others[FIREWALL_PROTOCOL] == IPPROTO_TCP && (n->others[FIREWALL_FLAGS] & TCP_RST);

	if (!n->upper || (!is_reset && !is_icmp(n, is_ipv6)))
		return 0;
	if (!is_reset && !icmp_is_error(n->others[FIREWALL_DESTINATION_PORT] >> 8, is_ipv6))
		return 0;
	if (skb->len - L3 != (is_ipv6 ? ANSWER_BYTES(ipv6, is_reset) : ANSWER_BYTES(ipv4, is_reset)))
		return 0;
	rejection = bpf_map_lookup_elem(&rejections, flow);
	if (!rejection || rejection->until_ns < bpf_ktime_get_coarse_ns() || (rejection->is_turned == is_turned) == is_reset)
		return 0;
	bpf_map_delete_elem(&rejections, flow);
	return 1;
}

/* Answers a packet with what is in its place then; it is dropped where nothing is. */
static __always_inline int reject(struct __sk_buff *skb, struct numbers *n, struct firewall_flow *flow, __u32 with, int is_ipv6, __u32 asked)
{
	__u32 key = 0;
	union { struct answer_ipv4 ipv4; struct answer_ipv6 ipv6; } *answer = bpf_map_lookup_elem(&answers, &key);

	if (!answer || !is_answered(skb, n, with, is_ipv6))
		return TC_ACT_SHOT;
	rejection_note(n, flow, is_ipv6);
	if (is_ipv6) {
		if (answer_ipv6(skb, n, with, &answer->ipv6) || answer_in_place(skb, &answer->ipv6, ANSWER_BYTES(&answer->ipv6, !with)))
			return TC_ACT_SHOT;
	} else {
		if (answer_ipv4(skb, n, with, &answer->ipv4) || answer_in_place(skb, &answer->ipv4, ANSWER_BYTES(&answer->ipv4, !with)))
			return TC_ACT_SHOT;
	}
	/* As if its receiver had sent it. */
	if (asked & ASK_IS_HANDED)
		return bpf_redirect(receiver_of(skb), BPF_F_INGRESS);
	if (!(asked & ASK_IS_SENT))
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	/* The frame was for another station than the server's end of the interface. */
	bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(skb->ifindex, 0);
}
