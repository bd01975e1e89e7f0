/* A packet that is given to a system past the devices between: whose it becomes. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>

#define RECEIVER_AT 3 /* in skb->cb: the server's end of the system's interface */

/* Read by itself: the compiler would choose between places in skb, and the verifier refuses that. */
static __always_inline __u32 receiver_of(struct __sk_buff *skb)
{
	__u32 device = skb->cb[RECEIVER_AT];

	asm volatile("" : "+r"(device));
	return device;
}
