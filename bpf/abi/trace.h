/* What the tracer's programs and the agent share: agent/trace/abi.gen.go is made from it. */
#pragma once
#include <linux/types.h>

/* A namespace of the server's own is in one of so many slots from its inode on, which the kernel numbers one after the other. */
enum trace_namespace {
	TRACE_NAMESPACE_TRIES = 32,
	TRACE_NAMESPACE_SLOTS = 32768,
};

/* Where a packet was seen: the kernel's tracepoints, in the order in which a packet that is sent meets them. */
enum trace_point {
	TRACE_QUEUE = 1,	/* net_dev_queue */
	TRACE_START,		/* net_dev_start_xmit */
	TRACE_SENT,		/* net_dev_xmit */
	TRACE_RX,		/* netif_rx */
	TRACE_GRO,		/* napi_gro_receive_entry */
	TRACE_RECEIVE,		/* netif_receive_skb */
	TRACE_DROP,		/* kfree_skb, with a reason */
	TRACE_INGRESS,		/* tcx, in a system: what was redirected to it passes no tracepoint */
};

enum trace_flag {
	TRACE_FIRST_FRAGMENT = 1,
	TRACE_LATER_FRAGMENT = 2,	/* without the upper header */
	TRACE_SUPER = 4,		/* to be cut up, or put together: more than one packet of the wire */
	TRACE_UNREAD = 8,	/* a driver has it: the packet is not read any more */
};

/* One header's addresses; IPv4 as IPv6 maps it. */
struct trace_addresses {
	__u8 source[16];
	__u8 target[16];
};

/* A packet in the form that filters judge: what a tunnel carries is the packet, and the tunnel is said beside it. */
struct trace_packet {
	struct trace_addresses inside;
	struct trace_addresses outside;	/* of the tunnel; all zero: there is none */
	__u32 vni;			/* with an `outside` */
	__u16 type;			/* of Ethernet, in host order: 0x0800 */
	__u8 protocol;
	__u8 outside_protocol;		/* 17: VXLAN, 50: ESP and nothing inside is known */
	__u16 source_port;		/* of ICMP: type and code */
	__u16 target_port;		/* of ICMP: the identifier */
	__u32 sequence;			/* of TCP, ICMP, ESP; of ARP: the operation */
	__u32 acknowledged;
	__u16 id;			/* of IPv4 */
	__u16 payload_bytes;		/* behind the upper header */
	__u8 tcp_flags;
	__u8 hops;			/* TTL, hop limit */
	__u8 flags;			/* of enum trace_flag */
	__u8 zero;
	__u32 length;			/* of the frame on the wire; of what a tunnel carries, its own */
	__u32 digest;			/* of the payload's beginning; 0: none */
};

struct trace_event {
	__u64 at_ns;			/* CLOCK_MONOTONIC */
	__u64 buffer;			/* the socket buffer's address: means something on this kernel alone, and for as long as it lives */
	__u32 namespace;		/* inode */
	__u32 device;			/* interface index */
	__u32 reason;			/* of a drop, enum skb_drop_reason of this kernel */
	__u16 cpu;
	__u8 point;			/* of enum trace_point */
	__u8 zero;
	struct trace_packet packet;
};

/* What was seen, and what was lost of it. */
enum trace_count {
	TRACE_SEEN,		/* hits in our namespaces */
	TRACE_MATCHED,
	TRACE_LOST,		/* no room in the ring */
	TRACE_COUNTS,
};
