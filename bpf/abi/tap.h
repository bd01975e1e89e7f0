/* What the programs at systems' interfaces and the agent share: agent/parts/firewall/abi.gen.go is made from it. Maps' keys hold no
 * padding but what is named. */
#pragma once
#include <linux/types.h>

/* A system's interface that a firewall looks at, by the index of the server's end. */
struct tap {
	__u32 firewall;			/* its place in `firewalls` */
	__u32 system;
	__u8 network;			/* the number of its network in the firewall's rules */
	__u8 is_router;			/* packets go through the system */
	__u8 zero[2];
};

/* An address of a system that a firewall looks at. IPv4 is mapped. */
struct tap_end_key {
	__u32 firewall;
	__u8 address[16];
};
_Static_assert(sizeof(struct tap_end_key) == 20, "tap_end_key holds no padding");

enum tap_place {
	TAP_ELSEWHERE,			/* on another server */
	TAP_HERE,
	TAP_GATEWAY,			/* no system's: the server's own in a network, which neighbours ask for */
};

struct tap_end {
	__u32 system;
	__u8 network;
	__u8 place;			/* a tap_place */
	__u8 zero[2];
};

/* Why a packet is dropped that no firewall's rules have seen. */
enum tap_reason {
	TAP_UNTOLD,			/* the agent has not said whose interface it is */
	TAP_NO_RULES,			/* its firewall's rules are not there yet */
	TAP_VLAN_TAG,			/* rules see no further */
	TAP_OTHER_PROTOCOL,		/* neither ARP nor IP */
	TAP_UNREADABLE,			/* shorter than its headers */
	TAP_FOR_ANOTHER,		/* for another system than the one that gets it, which is no router */
	TAP_REASONS,
};
