/* VXLAN (RFC 7348), and the UDP ports by which networks of ours have it. */
#pragma once
#include <linux/types.h>

struct vxlan_header {
	__be32 flags;
	__be32 vni;	/* the upper 24 bits */
};

/* IANA's, docker's as we set it, Cilium's: components/kinds says the same. */
static __always_inline int vxlan_is_port(__u16 port)
{
	return port == 4789 || port == 4788 || port == 8472;
}
