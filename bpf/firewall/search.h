/*
 * Finds the first entry that takes a packet's numbers, by an index (agent/firewall/index.go says what that is). The index is one value of
 * a map; what is where in it are constants to the verifier, which leaves out the fields that no entry looks at.
 */
#pragma once
#include "../lib/bits.h"
#include "packet.h"

struct search {
	__u64 summary;			/* the word's blocks that are still to be looked at */
	__u32 word;
	__u32 from, found;		/* entries */
	volatile __u32 first, last;	/* of what is being halved */
	__u32 vectors[FIREWALL_FIELDS];
	struct numbers numbers;
	struct firewall_flow flow;
	struct firewall_connection fresh;	/* what is to be kept where the packet is let pass */
	__u32 is_fresh;
	__u32 is_asked;			/* judged elsewhere: nothing is counted, and no limit spent */
	struct firewall_judged judged;
	__u32 met;			/* how many counters are in it */
	__u32 is_judged_anew;		/* the next packet that looks alike is to be judged, too */
};

/* An index is as long as a power of two: so the verifier knows that no read goes beyond it, and nothing branches. */
static __always_inline void *at(void *index, __u64 mask, __u64 offset)
{
	offset &= mask;
	asm volatile("" : "+r"(offset));
	return index + offset;
}

#define AT(type, offset) (*(type *)at(index, x->mask, offset))
#define EACH_FIELD(f) _Pragma("unroll") for (int f = 0; f < FIREWALL_FIELDS; f++) if (x->used & 1 << f)

/*
 * Halves what lies from s->first to s->last, by what is_before says of its middle, until one is left: the last that is, or the first that is
 * not. Both ends are in memory, and what they are compared with is read anew each time: else the verifier keeps what each comparison says,
 * and goes all ways.
 */
#define HALVE(s, steps, is_before, is_last)                                                                    \
	for (int i_ = 0; i_ < (steps); i_++) {                                                                 \
		__u32 first = (s)->first, last = (s)->last, middle = (first + last + (is_last)) >> 1;          \
		if (first >= last)                                                                             \
			break;                                                                                 \
		if (is_before)                                                                                 \
			(s)->first = middle + !(is_last);                                                      \
		else                                                                                           \
			(s)->last = middle - (is_last);                                                        \
	}

/* Which interval an address is in. */
static __always_inline __u32 interval_of(struct search *s, void *index, const volatile struct firewall_index *x, int f, int is_ipv6)
{
	const volatile __u64 *address = s->numbers.addresses[f];
	__u64 table = x->tables[f] + (is_ipv6 ? 0 : 4 * (address[1] >> 16));

	s->first = AT(__u32, table);
	s->last = AT(__u32, table + 4);
	if (is_ipv6) {
		HALVE(s, 24, ({
			__u64 *start = at(index, x->mask, x->starts[f] + 16 * (__u64)middle);
			start[0] < address[0] || (start[0] == address[0] && start[1] <= address[1]);
		}), 1)
	} else {
		HALVE(s, 24, AT(__u32, x->starts[f] + 4 * (__u64)middle) <= address[1], 1)
	}
	return s->first;
}

static __always_inline void search_vectors(struct search *s, void *index, const volatile struct firewall_index *x, int is_ipv6)
{
	const struct numbers *n = &s->numbers;

	EACH_FIELD(f) {
		if (f < FIREWALL_ADDRESSES)
			s->vectors[f] = AT(__u32, x->vectors[f] + 4 * (__u64)interval_of(s, index, x, f, is_ipv6));
		else
			s->vectors[f] = AT(__u32, x->tables[f] + 4 * (__u64)n->others[f]);
	}
}

static __always_inline void search_word(struct search *s, void *index, const volatile struct firewall_index *x)
{
	s->summary = ~0ULL;
	EACH_FIELD(f)
		s->summary &= AT(__u64, s->vectors[f] + 8 * s->word);
}

/* Before the first block. */
static __always_inline void search_begin(struct search *s, void *index, const volatile struct firewall_index *x)
{
	s->word = 0;
	s->found = x->entry_count;
	if (x->words)
		search_word(s, index, x);
}

/* How many of a block's entries are before the one to begin with: they are in their order. */
static __always_inline __u32 passed_of(struct search *s, void *index, const volatile struct firewall_index *x, __u32 block)
{
	if (!s->from)
		return 0;
	s->first = 0;
	s->last = FIREWALL_BLOCK_WORDS * 64;
	HALVE(s, 10, AT(__u32, x->entries + 4 * (__u64)(block * FIREWALL_BLOCK_WORDS * 64 + middle)) < s->from, 0)
	return s->first;
}

/* Looks at one block, or goes on to the next word of them; not 0 at the end. */
static __always_inline long search_block(struct search *s, void *index, const volatile struct firewall_index *x)
{
	__u32 blocks[FIREWALL_FIELDS], word = s->word, block, passed;
	__u64 before;

	if (!s->summary) {
		if (++s->word >= x->words)
			return 1;
		search_word(s, index, x);
		return 0;
	}
	before = (s->summary & -s->summary) - 1;
	s->summary &= s->summary - 1;
	block = word * 64 + bits_count(before);
	EACH_FIELD(f) {
		__u32 number = block;

		if (!(x->dense & 1 << f))
			number = AT(__u16, s->vectors[f] + 8 * x->words + 2 * word) +
				 bits_count(AT(__u64, s->vectors[f] + 8 * word) & before);
		blocks[f] = x->blocks + AT(__u32, (__u64)s->vectors[f] + x->ids + 4 * number) * FIREWALL_BLOCK_WORDS * 8;
	}
	passed = passed_of(s, index, x, block);
	_Pragma("unroll") for (int i = 0; i < FIREWALL_BLOCK_WORDS; i++) {
		__u64 match = ~0ULL;
		__u32 entry;

		EACH_FIELD(f)
			match &= AT(__u64, blocks[f] + 8 * i);
		if (passed >= (i + 1) * 64)
			continue;
		if (passed > i * 64)
			match &= ~0ULL << (passed & 63);
		if (!match)
			continue;
		entry = AT(__u32, x->entries + 4 * (__u64)((block * FIREWALL_BLOCK_WORDS + i) * 64 + bits_lowest(match)));
		if (entry < s->found)
			s->found = entry;
		return 0;
	}
	return 0;
}
