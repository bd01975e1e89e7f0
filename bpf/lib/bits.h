/* What other processors have an instruction for. */
#pragma once
#include <linux/types.h>

static __always_inline __u32 bits_count(__u64 of)
{
	of -= of >> 1 & 0x5555555555555555;
	of = (of & 0x3333333333333333) + (of >> 2 & 0x3333333333333333);
	of = (of + (of >> 4)) & 0x0f0f0f0f0f0f0f0f;
	return of * 0x0101010101010101 >> 56;
}

/* Which bit is the lowest one that is set. */
static __always_inline __u32 bits_lowest(__u64 of)
{
	return bits_count((of & -of) - 1);
}
