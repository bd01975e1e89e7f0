/* What the guard's program and the agent share: agent/parts/guard/abi.gen.go is made from it. Maps' keys hold no padding. */
#pragma once
#include <linux/types.h>

/* An address that a system may send from, at its port. IPv4 is mapped (::ffff:0:0/96); :: stands for packets without an address. */
struct guard_source {
	__u32 port;		/* interface index of the server's end */
	__u8 address[16];
};
_Static_assert(sizeof(struct guard_source) == 20, "guard_source holds no padding");

enum guard_flag {
	GUARD_UNTAGGED = 1,	/* no VLAN tags: a filter sees no further */
	GUARD_ANY_IPV4 = 2,	/* it asks for its IPv4 address */
	GUARD_ANY_SOURCE = 4,	/* it forwards for others */
};

struct guard_rule {
	__u8 mac[6];		/* the only one that it may send from */
	__u8 zero[2];
	enum guard_flag flags;
};

/* Why a packet was dropped. */
enum guard_reason {
	GUARD_TAGGED,
	GUARD_MAC,
	GUARD_ADDRESS,
	GUARD_REASONS,		/* how many there are */
};
