/* What the program at an interface asks a firewall of a packet, in skb->cb[0]. */
#pragma once

enum ask_what {
	ASK_JUDGE,			/* by the rules, and what connection it is of */
	ASK_TRACK,			/* what connection it is of; the rules judge it elsewhere, and count it there */
	ASK_KNOWN,			/* a packet of a known connection has been judged; another is, now */
};
#define ASK_IS_TAPPED 0x80000000	/* a packet of a system, and none of a test */
#define ASK_IS_SENT 0x40000000		/* by the system whose interface it is */
#define ASK_IS_HANDED 0x20000000	/* to a system past its interface (lib/receive.h): who lets it pass gives it there */
#define ASK(what, in, out) (ASK_IS_TAPPED | (what) << 24 | (__u32)(out) << 16 | (__u32)(in) << 8)
/* Instead of the entry that decides: the rules have said it before. */
#define FIREWALL_NOT_ASKED 0xffffffff
#define ASK_WHAT(word) ((enum ask_what)((word) >> 24 & 0x1f))
#define ASK_IN(word) ((word) >> 8 & 0xff)
#define ASK_OUT(word) ((word) >> 16 & 0xff)
