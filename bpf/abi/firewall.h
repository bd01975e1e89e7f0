/* What the firewall's programs and the agent share: agent/firewall/abi.gen.go is made from it. */
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>

/* What entries say of a packet, each by a number. */
enum firewall_field {
	FIREWALL_SOURCE,
	FIREWALL_DESTINATION,
	FIREWALL_PROTOCOL,
	FIREWALL_SOURCE_PORT,		/* of ICMP: nothing */
	FIREWALL_DESTINATION_PORT,	/* of ICMP: its type and code */
	FIREWALL_FLAGS,			/* of TCP */
	FIREWALL_STATE,			/* the connection's, and FIREWALL_LATER_FRAGMENT */
	FIREWALL_IN,
	FIREWALL_OUT,
	FIREWALL_FIELDS,		/* how many there are */
};
#define FIREWALL_ADDRESSES 2		/* the first of them */

/* In iptables' order (agent/iptables). */
enum firewall_state {
	FIREWALL_INVALID,
	FIREWALL_NEW,
	FIREWALL_RELATED,
	FIREWALL_ESTABLISHED,
	FIREWALL_UNTRACKED,
	FIREWALL_LATER_FRAGMENT = 8,	/* a bit beside: the packet is one */
};

/* A connection's ends, the lesser one first: both directions have one. IPv4 is mapped. Holds no padding. */
struct firewall_flow {
	__u8 addresses[2][16];
	__u16 ports[2];			/* of a query of ICMP: its identifier, its type and code */
	__u8 protocol;
	__u8 is_turned;			/* of ICMP: the greater end asks */
	__u8 zero[2];
};
_Static_assert(sizeof(struct firewall_flow) == 40, "firewall_flow holds no padding");

/*
 * What the rules have said of a packet: another one of the connection, that goes the same way and looks alike, is not judged anew. Kept only
 * where nothing but these decides: no limit, and nothing that is told of each packet.
 */
struct firewall_judged {
	__u64 of;			/* FIREWALL_JUDGED; 0: nothing is kept */
	__u32 counters[4];		/* of the rules that it met, and 1; 0: no more */
};
/* Rules (36 bits of their number), the connection's state, the flags that they look at, networks; bit 0: they let it pass. */
#define FIREWALL_JUDGED(generation, state, flags, in, out) \
	((generation) << 28 | (__u64)(out) << 20 | (__u64)(in) << 12 | (__u64)(flags) << 4 | (__u64)(state) << 1)

struct firewall_connection {
	__u64 until_ns;			/* of the kernel's clock since it started */
	struct firewall_judged judged[2];	/* by way: there, and back */
	__u8 tcp;			/* its state, by netfilter's numbers */
	__u8 is_turned;			/* the greater end began it */
	__u8 is_replied;
	__u8 is_closing;		/* an end has said that it sends no more */
	__u8 last_packet;		/* of TCP, and the way that it went */
	__u8 is_last_back;
	__u8 zero[2];
};

/* A packet that REJECT answers. */
struct firewall_rejection {
	__u64 until_ns;
	__u32 is_turned;		/* it goes from the greater end to the lesser one */
	__u32 zero;
};

/* A datagram that comes in pieces. */
struct firewall_datagram {
	__u64 addresses[2][2];
	__u32 identifier;
	__u32 protocol;
};
_Static_assert(sizeof(struct firewall_datagram) == 40, "firewall_datagram holds no padding");

/* What became of its first piece. */
struct firewall_fragment {
	__u64 until_ns;
	__u32 is_passed;
	__u32 zero;
};

/* What is done with a packet that an entry matches. */
enum firewall_action {
	FIREWALL_COUNT,			/* nothing more: it goes on with the next entry */
	FIREWALL_LOG,
	FIREWALL_MARK,
	FIREWALL_ACCEPT,
	FIREWALL_DROP,
	FIREWALL_REJECT,
	FIREWALL_SKIP,			/* it goes on with another entry, further down */
};

enum firewall_flag {
	FIREWALL_COUNTS = 1,		/* it stands for its rule, whose counters count */
	FIREWALL_CHECKS_MARK = 2,	/* the packet's mark is asked for, too */
	FIREWALL_CHECKS_NOT = 4,	/* and must be another one */
	FIREWALL_CHECKS_LIMIT = 8,	/* so many packets pass the check, and no more; its place is the counter's */
};

struct firewall_entry {
	enum firewall_action action;
	enum firewall_flag flags;
	__u32 to;			/* of SKIP; of REJECT the type and code of ICMP that it answers with, 0: TCP's reset */
	__u32 other;			/* where a packet goes on that the check refuses */
	__u32 counter;
	__u32 mark_value, mark_mask;	/* of MARK */
	__u32 check_value, check_mask;	/* of a limit: what a packet costs, in ns, the lower half first */
	__u32 burst;			/* packets that a limit lets pass at once */
};

/* What a limit has left; 0: nothing has come yet. */
struct firewall_credit {
	struct bpf_spin_lock lock;
	__u32 zero;
	__u64 credit_ns, last_ns;
};

#define FIREWALL_LOGGED_BYTES 60
#define FIREWALL_LOGGED_LEAST 28	/* an IPv4 header and the shortest one of what it carries */

/* A packet that LOG tells of. */
struct firewall_logged {
	__u32 counter;			/* of its rule */
	__u32 bytes;			/* of the packet, from its IP header on */
	__u8 in, out;			/* networks */
	__u8 is_ipv6;
	__u8 captured;			/* of the header */
	__u32 zero;
	__u8 header[FIREWALL_LOGGED_BYTES];
};

struct firewall_counter {
	__u64 packets, bytes;
};

/* Why a packet is dropped that no rule drops. */
enum firewall_fault {
	FIREWALL_UNREADABLE,		/* its headers are cut off, or hide what they carry */
	FIREWALL_TOO_LONG,		/* it met too many entries that pass it on */
	FIREWALL_FULL,			/* there is no room for one more connection */
	FIREWALL_FRAGMENT_BEFORE_FIRST,	/* of a datagram whose first fragment has not come yet */
	FIREWALL_FAULTS,		/* how many there are */
};

/*
 * Where what is in an index's value, by bytes. A vector has a bit for each block that is not empty, for each word of these the number of
 * bits before it, and the numbers of the blocks: of all where it is dense, else of those that are not empty.
 */
struct firewall_index {
	__u32 mask;			/* of what is in it by bytes: behind that the value has FIREWALL_SPARE_BYTES */
	__u32 used;			/* the fields that entries differ by, as bits */
	__u32 dense;			/* those whose vectors are */
	__u32 tables[FIREWALL_FIELDS];	/* by number, where its vector is; of an address, in which interval its upper half begins, of IPv6 the first and the last */
	__u32 starts[FIREWALL_ADDRESSES];	/* where intervals of addresses begin */
	__u32 vectors[FIREWALL_ADDRESSES];	/* where their vectors are */
	__u32 words;			/* of a vector's bits */
	__u32 ids;			/* where the blocks' numbers are in a vector */
	__u32 blocks;			/* where blocks are */
	__u32 entries;			/* where the entries of all bits are */
	__u32 entry_count;
	__u32 flags;			/* those of TCP that entries differ by */
	__u32 accepts;			/* what no entry decides */
	__u32 counter;			/* of that */
};

enum firewall_size {
	FIREWALL_BLOCK_WORDS = 8,
	FIREWALL_SPARE_BYTES = 64,	/* at an index's end, behind what the mask lets through */
	FIREWALL_STEPS_MOST = 512,	/* entries that one packet meets */
};
