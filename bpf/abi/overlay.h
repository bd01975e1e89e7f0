/* What the short cut and the agent share: agent/parts/evpn/abi.gen.go is made from it. Maps' keys hold no padding but what is
 * named: the kernel compares all bytes. */
#pragma once
#include <linux/types.h>

/* A MAC address in a network; the network is the interface index of its tunnel device on this server. */
struct station_key {
	__u32 network;
	__u8 mac[6];
	__u8 zero[2];
};
_Static_assert(sizeof(struct station_key) == 12, "station_key holds no padding");

enum station_place {
	STATION_HERE = 1,	/* device is the server's end of its interface */
	STATION_ELSEWHERE = 2,	/* device is the tunnel */
};

struct station {
	__u32 device;		/* interface index */
	enum station_place place;
};
