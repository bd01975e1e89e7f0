/*
 * The tracer: what packets a server's devices see, at the kernel's tracepoints, in all of the server's network namespaces. A packet is
 * judged by the filter and told of as it is there; whose it is and where it came from is the agent's and the program's business.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "abi/trace.h"
#include "lib/arp.h"
#include "lib/count.h"
#include "lib/kernel.h"
#include "lib/vxlan.h"

#define DIGEST_BYTES 16
#define IP6_HEADERS 4

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} events SEC(".maps");

/* The server's own, by inode, each in one of few slots: servers of a lab share a kernel, and a map's lookup costs more than the rest. */
__u32 namespaces[TRACE_NAMESPACE_SLOTS];

static __always_inline int is_ours(__u32 inode)
{
	for (int i = 0; i < TRACE_NAMESPACE_TRIES; i++) {
		__u32 found = namespaces[(inode + i) % TRACE_NAMESPACE_SLOTS];

		if (found == inode)
			return 1;
		if (!found)
			return 0;
	}
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TRACE_COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* What matched and is in a driver's hands, the last ones of each CPU: once it is sent, the buffer may be another packet's. */
#define IN_DRIVERS 8
struct in_drivers {
	__u64 buffers[IN_DRIVERS];
	__u32 next;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct in_drivers);
} in_drivers SEC(".maps");

/* One packet of so many, by what tells packets apart: every server and device takes the same ones. */
const volatile __u32 sample_one_of = 1;

/* For the agent, which makes its types from the object's. */
const volatile struct trace_event *const event_type;
const volatile enum trace_point point_names = TRACE_QUEUE;
const volatile enum trace_flag flag_names = TRACE_SUPER;
const volatile enum trace_count count_names = TRACE_SEEN;
const volatile enum trace_namespace namespace_names = TRACE_NAMESPACE_TRIES;

static __always_inline void trace_count(enum trace_count which)
{
	count_one(&counts, which);
}

/* The agent puts the filter's own instructions here before it loads the program; as it is, it takes all packets. */
static __noinline int trace_filter(struct trace_packet *packet)
{
	int verdict = 1;

	asm volatile("" : "+r"(packet), "+r"(verdict));
	return verdict;
}

extern void *bpf_rdonly_cast(const void *at, __u32 type) __ksym __weak;

/*
 * A header that may lie anywhere, read as it is: the kernel gives 0 for what is not there. Before Linux 6.2 it is copied first.
 * The type is one of the kernel's own.
 */
#define VIEW(header, at)                                                                                       \
	({                                                                                                     \
		struct header copy_ = {};                                                                      \
		const struct header *view_ = &copy_;                                                           \
		if (bpf_rdonly_cast)                                                                           \
			view_ = bpf_rdonly_cast(at, bpf_core_type_id_kernel(struct header));                   \
		else                                                                                           \
			bpf_probe_read_kernel(&copy_, sizeof(copy_), at);                                      \
		view_;                                                                                         \
	})

static __always_inline void map_ipv4(__u8 *into, __u32 address)
{
	*(__u32 *)(into + 8) = bpf_htonl(0xffff);
	*(__u32 *)(into + 12) = address;
}

/* A digest of the payload's beginning, where that is in one piece with the headers. */
static __always_inline void digest_payload(const unsigned char *payload, const unsigned char *end, struct trace_packet *packet)
{
	__u32 words[DIGEST_BYTES / 4] = {};
	__u32 sum = 2166136261;
	__s32 bytes = packet->payload_bytes;

	if (bytes > DIGEST_BYTES)
		bytes = DIGEST_BYTES;
	if (bytes <= 0 || payload + bytes > end || bpf_probe_read_kernel(words, bytes & (2 * DIGEST_BYTES - 1), payload))
		return;
	for (int i = 0; i < DIGEST_BYTES / 4; i++)
		sum = (sum ^ words[i]) * 16777619 ^ sum >> 15;
	packet->digest = sum ? sum : 1;
}

/* The upper header; 1 where a tunnel's payload follows. */
static __always_inline int parse_upper(const unsigned char *upper, const unsigned char *end, struct trace_packet *packet)
{
	/* UDP, and ICMP's type and code, checksum, identifier, number; ESP's two words. */
	const struct udphdr *words;

	if (upper + sizeof(*words) > end)
		return 0;
	words = VIEW(udphdr, upper);
	switch (packet->protocol) {
	case IPPROTO_TCP: {
		const struct tcphdr *tcp;

		if (upper + sizeof(*tcp) > end)
			return 0;
		tcp = VIEW(tcphdr, upper);
		packet->source_port = bpf_ntohs(words->source);
		packet->target_port = bpf_ntohs(words->dest);
		packet->sequence = bpf_ntohl(tcp->seq);
		packet->acknowledged = bpf_ntohl(tcp->ack_seq);
		packet->tcp_flags = ((const __u8 *)tcp)[13];
		packet->payload_bytes -= (((const __u8 *)tcp)[12] >> 4) * 4;
		return 0;
	}
	case IPPROTO_UDP:
		packet->source_port = bpf_ntohs(words->source);
		packet->target_port = bpf_ntohs(words->dest);
		packet->payload_bytes -= sizeof(struct udphdr);
		if (vxlan_is_port(packet->target_port))
			return 1;
		digest_payload(upper + 8, end, packet);
		return 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		packet->source_port = bpf_ntohs(words->source);
		packet->target_port = bpf_ntohs(words->len);
		packet->sequence = bpf_ntohs(words->check);
		packet->payload_bytes -= 8;
		digest_payload(upper + 8, end, packet);
		return 0;
	case IPPROTO_ESP:
		packet->outside = packet->inside;
		packet->outside_protocol = IPPROTO_ESP;
		packet->vni = bpf_ntohs(words->source) << 16 | bpf_ntohs(words->dest);
		packet->sequence = bpf_ntohs(words->len) << 16 | bpf_ntohs(words->check);
		return 0;
	}
	return 0;
}

/* IPv6's extension headers; gives where the upper header begins, 0 where there is none. */
static __noinline __u32 skip_headers(const unsigned char *at, const unsigned char *end, struct trace_packet *packet)
{
	__u32 offset = sizeof(struct ipv6hdr);

	for (int i = 0; i < IP6_HEADERS; i++) {
		struct { __u8 next, words; __be16 fragment; __be32 id; } header;
		__u32 bytes;

		if (packet->protocol != IPPROTO_HOPOPTS && packet->protocol != IPPROTO_DSTOPTS && packet->protocol != IPPROTO_ROUTING &&
		    packet->protocol != IPPROTO_FRAGMENT)
			return offset;
		if (at + offset + sizeof(header) > end || bpf_probe_read_kernel(&header, sizeof(header), at + offset))
			return 0;
		bytes = (header.words + 1) * 8;
		if (packet->protocol == IPPROTO_FRAGMENT) {
			bytes = 8;
			packet->id = bpf_ntohl(header.id);
			if (header.fragment & bpf_htons(0xfff8)) {
				packet->flags |= TRACE_LATER_FRAGMENT;
				packet->sequence = bpf_ntohs(header.fragment) >> 3;
			} else {
				packet->flags |= TRACE_FIRST_FRAGMENT;
			}
		}
		packet->protocol = header.next;
		packet->payload_bytes -= bytes;
		offset += bytes;
		if (packet->flags & TRACE_LATER_FRAGMENT)
			return 0;
	}
	return 0;
}

static __always_inline void copy_ipv6(__u8 *into, const struct in6_addr *address)
{
	for (int i = 0; i < 4; i++)
		((__u32 *)into)[i] = address->in6_u.u6_addr32[i];
}

/* A packet from its network header on. Gives where what a VXLAN tunnel carries begins; none where there is no such tunnel. */
static __always_inline const unsigned char *parse(const unsigned char *at, const unsigned char *end, struct trace_packet *packet)
{
	if (packet->type == ETH_P_IP) {
		const struct iphdr *ip;
		__u16 fragment;

		if (at + sizeof(*ip) > end)
			return 0;
		ip = VIEW(iphdr, at);
		map_ipv4(packet->inside.source, ip->saddr);
		map_ipv4(packet->inside.target, ip->daddr);
		packet->protocol = ip->protocol;
		packet->id = bpf_ntohs(ip->id);
		packet->hops = ip->ttl;
		at += (*(const __u8 *)ip & 15) * 4;
		packet->payload_bytes = bpf_ntohs(ip->tot_len) - (*(const __u8 *)ip & 15) * 4;
		fragment = bpf_ntohs(ip->frag_off);
		if (fragment & 0x1fff) {
			packet->flags |= TRACE_LATER_FRAGMENT;
			packet->sequence = fragment & 0x1fff;
			return 0;
		}
		if (fragment & 0x2000)
			packet->flags |= TRACE_FIRST_FRAGMENT;
		return parse_upper(at, end, packet) ? at : 0;
	}
	if (packet->type == ETH_P_IPV6) {
		const struct ipv6hdr *ip6;
		__u32 bytes = sizeof(*ip6);

		if (at + sizeof(*ip6) > end)
			return 0;
		ip6 = VIEW(ipv6hdr, at);
		copy_ipv6(packet->inside.source, &ip6->saddr);
		copy_ipv6(packet->inside.target, &ip6->daddr);
		packet->protocol = ip6->nexthdr;
		packet->hops = ip6->hop_limit;
		packet->payload_bytes = bpf_ntohs(ip6->payload_len);
		if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP && packet->protocol != IPPROTO_ICMPV6 &&
		    packet->protocol != IPPROTO_ESP)
			bytes = skip_headers(at, end, packet);
		return bytes && parse_upper(at + bytes, end, packet) ? at + bytes : 0;
	}
	if (packet->type == ETH_P_ARP) {
		struct arp_ipv4 arp;

		if (at + sizeof(arp) > end || bpf_probe_read_kernel(&arp, sizeof(arp), at))
			return 0;
		map_ipv4(packet->inside.source, *(__u32 *)arp.sender);
		map_ipv4(packet->inside.target, *(__u32 *)arp.target);
		packet->sequence = bpf_ntohs(arp.operation);
	}
	return 0;
}

/* What a VXLAN tunnel carries takes the packet's place; 1 where it is read. */
static __noinline int parse_tunnel(const unsigned char *at, const unsigned char *end, struct trace_packet *packet, __u32 before)
{
	struct { struct udphdr udp; struct vxlan_header vxlan; struct ethhdr eth; } __attribute__((packed)) head;
	struct trace_addresses outside = packet->inside;
	__u32 length = packet->length - before - sizeof(head);

	if (at + sizeof(head) > end || bpf_probe_read_kernel(&head, sizeof(head), at))
		return 0;
	__builtin_memset(packet, 0, sizeof(*packet));
	packet->outside = outside;
	packet->outside_protocol = IPPROTO_UDP;
	packet->vni = bpf_ntohl(head.vxlan.vni) >> 8;
	packet->length = length;
	packet->type = bpf_ntohs(head.eth.h_proto);
	parse(at + sizeof(head), end, packet);
	return 1;
}

static __always_inline __u32 mixed(__u32 sum, __u32 word)
{
	return (sum ^ word) * 0x9e3779b1 ^ sum >> 13;
}

/* The same on all devices and servers, whatever NAT, bridges and tunnels change. */
static __always_inline int is_sampled(const struct trace_packet *packet)
{
	__u32 sum;

	if (sample_one_of <= 1)
		return 1;
	sum = mixed(packet->protocol, packet->id);
	sum = mixed(sum, packet->sequence);
	sum = mixed(sum, packet->digest);
	return (sum ^ sum >> 16) % sample_one_of == 0;
}

static __always_inline void tell(const struct sk_buff *skb, const struct net_device *dev, __u32 namespace, enum trace_point point, __u32 reason,
				 const struct trace_packet *packet)
{
	struct trace_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event) {
		trace_count(TRACE_LOST);
		return;
	}
	event->at_ns = bpf_ktime_get_ns();
	event->buffer = (__u64)skb;
	event->namespace = namespace;
	event->device = dev->ifindex;
	event->reason = reason;
	event->cpu = bpf_get_smp_processor_id();
	event->point = point;
	event->zero = 0;
	event->packet = *packet;
	/* To wake the reader costs half of the transactions: it looks by itself. */
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

static __always_inline int trace(struct sk_buff *skb, enum trace_point point, __u32 reason)
{
	struct net_device *dev = skb->dev;
	struct trace_packet packet = {};
	struct in_drivers *in;
	const unsigned char *at, *end, *network;
	unsigned char *head;
	__u32 namespace, key = 0;

	if (!dev)
		return 0;
	namespace = dev->nd_net.net->ns.inum;
	if (!is_ours(namespace))
		return 0;
	trace_count(TRACE_SEEN);
	head = skb->head;
	/* Received: the Ethernet header is behind, and the network header is still to be noted. */
	at = point == TRACE_RX || point == TRACE_GRO || point == TRACE_RECEIVE ? skb->data : head + skb->network_header;
	end = skb->data + (skb->len - skb->data_len);
	packet.type = bpf_ntohs(skb->protocol);
	/* As on the wire, wherever the buffer begins. */
	packet.length = skb->len - (at - skb->data) + ETH_HLEN;
	network = at;
	at = parse(at, end, &packet);
	if (at) {
		int is_read = parse_tunnel(at, end, &packet, at - network);

		/* What nobody asks for the compiler leaves out, and Linux 6.1 refuses a function that gives an address by chance. */
		asm volatile("" : : "r"(is_read));
	}
	if (!is_sampled(&packet) || !trace_filter(&packet))
		return 0;
	{
		struct skb_shared_info *shared = (void *)(head + skb->end);
		__u16 gso_size = 0;

		bpf_probe_read_kernel(&gso_size, sizeof(gso_size), __builtin_preserve_access_index(&shared->gso_size));
		if (gso_size)
			packet.flags |= TRACE_SUPER;
	}
	trace_count(TRACE_MATCHED);
	if (point == TRACE_START) {
		in = bpf_map_lookup_elem(&in_drivers, &key);
		if (in)
			in->buffers[in->next++ % IN_DRIVERS] = (__u64)skb;
	}
	tell(skb, dev, namespace, point, reason, &packet);
	return 0;
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(trace_queue, struct sk_buff *skb)
{
	return trace(skb, TRACE_QUEUE, 0);
}

SEC("tp_btf/net_dev_start_xmit")
int BPF_PROG(trace_start, struct sk_buff *skb)
{
	return trace(skb, TRACE_START, 0);
}

SEC("tp_btf/net_dev_xmit")
int BPF_PROG(trace_sent, struct sk_buff *skb, int verdict, struct net_device *dev)
{
	struct trace_packet unread = { .flags = TRACE_UNREAD };
	struct in_drivers *in;
	__u32 key = 0;

	in = bpf_map_lookup_elem(&in_drivers, &key);
	if (!in)
		return 0;
	for (int i = 0; i < IN_DRIVERS; i++) {
		if (in->buffers[i] != (__u64)skb)
			continue;
		in->buffers[i] = 0;
		tell(skb, dev, dev->nd_net.net->ns.inum, TRACE_SENT, verdict, &unread);
		return 0;
	}
	return 0;
}

SEC("tp_btf/netif_rx")
int BPF_PROG(trace_rx, struct sk_buff *skb)
{
	return trace(skb, TRACE_RX, 0);
}

SEC("tp_btf/napi_gro_receive_entry")
int BPF_PROG(trace_gro, struct sk_buff *skb)
{
	return trace(skb, TRACE_GRO, 0);
}

SEC("tp_btf/netif_receive_skb")
int BPF_PROG(trace_receive, struct sk_buff *skb)
{
	return trace(skb, TRACE_RECEIVE, 0);
}

SEC("tp_btf/kfree_skb")
int BPF_PROG(trace_drop, struct sk_buff *skb, void *location, unsigned int reason)
{
	return trace(skb, TRACE_DROP, reason);
}

extern void *bpf_cast_to_kern_ctx(void *context) __ksym;

/* Ingress of a system's own interface. */
SEC("tc")
int trace_ingress(struct __sk_buff *context)
{
	trace(bpf_cast_to_kern_ctx(context), TRACE_INGRESS, 0);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "GPL";
