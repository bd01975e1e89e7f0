/* What the ILA programs and the agent share: agent/parts/ila/abi.gen.go is made from it. Maps' keys hold no padding. */
#pragma once
#include <linux/types.h>

/* An IPv6 address in ILA's two halves, as on the wire. */
struct ila_address {
	__be64 locator;		/* or the network's SIR prefix */
	__be64 identifier;
};

enum ila_mode {
	ILA_NEUTRAL = 0,		/* sums of addresses stay, low bits of the identifier change, the C bit says so */
	ILA_NEUTRAL_AUTO = 1,		/* the same without the C bit */
	ILA_ADJUST_TRANSPORT = 2,	/* TCP, UDP and ICMPv6 checksums follow the address */
	ILA_NO_ACTION = 3,		/* checksums are those of the SIR address, on the wire too */
};

enum ila_port_flag {
	ILA_BY_STACK = 1,	/* kernel backend: what is allowed goes on to the server's routes */
};

/* A system's port, by the interface index of the server's end. */
struct ila_port {
	struct ila_address self;	/* the only source it may have */
	enum ila_port_flag flags;
	__u32 zero;
};

enum ila_place {
	ILA_HERE = 0,		/* `device` is the server's end of its interface */
	ILA_ELSEWHERE = 1,	/* `server` is where */
};

/* Where a SIR address is. */
struct ila_mapping {
	struct ila_address wire;	/* the address that packets to it have between servers */
	__u32 csum_diff;		/* what a checksum over the address changes by; for ILA_ADJUST_TRANSPORT */
	enum ila_mode mode;
	enum ila_place place;
	__u32 device;
	__u32 server;			/* index of `servers` */
	__u32 zero;
};

/* A system of this server, by the address that packets to it have between servers. */
struct ila_arrival {
	struct ila_address self;
	__u32 csum_diff;
	enum ila_mode mode;
	__u32 device;
	__u32 zero;
};

/* Another server, and the way to it. */
struct ila_server {
	__u8 next_hop[16];	/* used where next_mac is not known */
	__u8 next_mac[6];
	__u8 own_mac[6];
	__u32 device;
	__u32 mtu_bytes;
	__u32 has_mac;
};

/* What a prefix of 64 bits is. */
enum ila_prefix {
	ILA_LOCATOR = 1,
	ILA_SIR = 2,
	ILA_PREFIX_BY_STACK = 256,	/* a flag: the kernel backend has routes for it on this server */
};

/* Why a packet was dropped; the names are what `flipflap status` shows. */
enum ila_reason {
	ILA_NOT_IPV6,			/* ILA carries IPv6 */
	ILA_MALFORMED,			/* shorter than its headers */
	ILA_UNKNOWN_PORT,		/* its port is not told yet */
	ILA_SPOOFED_IDENTIFIER,		/* from the sender's SIR prefix, but not its identifier */
	ILA_SPOOFED_NETWORK,		/* from another SIR prefix: a VNID that is not the sender's */
	ILA_MULTICAST,			/* to a group: there are none; every kernel talks to some by itself */
	ILA_FOREIGN_SIR,		/* to another network */
	ILA_TO_LOCATOR,			/* to a locator address, from inside */
	ILA_OUTSIDE,			/* to no ILA address at all */
	ILA_NO_MAPPING,			/* to an identifier that is nowhere */
	ILA_NO_SYSTEM,			/* to this server's locator, but to no system of it */
	ILA_FOREIGN_SOURCE,		/* from between the servers, but not from the system's network */
	ILA_UNTRANSLATED,		/* from between the servers to a SIR address */
	ILA_FROM_SERVER,		/* from the server itself or from another network of it */
	ILA_ROUTING_HEADER,		/* its checksum is over another address */
	ILA_AUTHENTICATED,		/* an authentication header covers the address */
	ILA_TOO_MANY_HEADERS,
	ILA_SHORT_FRAGMENT,		/* a first fragment without its checksum */
	ILA_REASONS,
};

/* What the server's own stack sends to a SIR address leaves by this MAC address: 02:ff:11:a0:00:01. */
#define ILA_EXIT_MAC { 0x02, 0xff, 0x11, 0xa0, 0x00, 0x01 }
