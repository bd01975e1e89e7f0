/*
 * Judges packets by a tenant's rules. The agent has made entries of the rules' chains, in their order, and an index that finds the first
 * one which takes a packet: an entry that decides nothing passes the packet on, further down.
 */
#include <linux/pkt_cls.h>
#include "abi/firewall.h"
#include "firewall/ask.h"
#include "firewall/connection.h"
#include "firewall/fragment.h"
#include "firewall/limit.h"
#include "firewall/log.h"
#include "firewall/reject.h"
#include "firewall/search.h"
#include "lib/count.h"

#define LENGTH(array) (sizeof(array) / sizeof(array[0]))

/* The agent sets the size of each. */
#define INDEX(name)                                    \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);      \
		__uint(max_entries, 1);                \
		__type(key, __u32);                    \
		__uint(value_size, 4096);              \
	} name SEC(".maps")
#define ENTRIES(name)                                  \
	struct {                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);      \
		__uint(max_entries, 1);                \
		__type(key, __u32);                    \
		__type(value, struct firewall_entry);  \
	} name SEC(".maps")

INDEX(index_ipv4);
INDEX(index_ipv6);
ENTRIES(entries_ipv4);
ENTRIES(entries_ipv6);
const volatile struct firewall_index ipv4, ipv6;
const volatile __u64 generation;	/* each rules' own */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct firewall_counter);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FIREWALL_FAULTS);
	__type(key, __u32);
	__type(value, __u64);
} faults SEC(".maps");

/* The agent has the names from here. */
const volatile enum firewall_field field_names = FIREWALL_FIELDS;
const volatile enum firewall_state state_names = FIREWALL_LATER_FRAGMENT;
const volatile enum firewall_fault fault_names = FIREWALL_FAULTS;
const volatile enum firewall_size size_names = FIREWALL_BLOCK_WORDS;
const volatile struct firewall_logged *const logged_type;

/* Of the packet that this processor judges. What is in a map the verifier does not follow number by number. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct search);
} searches SEC(".maps");

struct judging {
	struct __sk_buff *skb;
	__u32 mark;
	enum firewall_action verdict;	/* FIREWALL_COUNT: none yet */
	__u32 entry;
	__u32 reject_with;
};

static __always_inline void firewall_fault(enum firewall_fault fault)
{
	count_one(&faults, fault);
}

static __always_inline struct search *search_here(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&searches, &key);
}

static __always_inline long search_in(void *indexes, const volatile struct firewall_index *x)
{
	__u32 key = 0;
	void *index = bpf_map_lookup_elem(indexes, &key);
	struct search *s = search_here();

	return index && s ? search_block(s, index, x) : 1;
}

static long search_ipv4(__u64 i, void *nothing)
{
	return search_in(&index_ipv4, &ipv4);
}

static long search_ipv6(__u64 i, void *nothing)
{
	return search_in(&index_ipv6, &ipv6);
}

static __always_inline void count(struct judging *j, const struct search *s, __u32 key)
{
	__u32 bytes = j->skb->len;
	struct firewall_counter *counter = bpf_map_lookup_elem(&counters, &key);

	if (counter && !s->is_asked) {
		counter->packets++;
		counter->bytes += bytes - L3;
	}
}

/* Of what is to be said of a packet that looks alike. */
static __always_inline void note(struct search *s, __u32 counter)
{
	if (s->met < LENGTH(s->judged.counters))
		s->judged.counters[s->met++ & (LENGTH(s->judged.counters) - 1)] = counter + 1;
	else
		s->is_judged_anew = 1;
}

/* Not 0 where the packet's way ends. */
static __always_inline long step(struct judging *j, struct search *s, void *entries, const volatile struct firewall_index *x)
{
	__u32 key = s->found;
	struct firewall_entry *entry = bpf_map_lookup_elem(entries, &key);

	if (key >= x->entry_count || !entry) {
		count(j, s, x->counter);
		note(s, x->counter);
		j->verdict = x->accepts ? FIREWALL_ACCEPT : FIREWALL_DROP;
		j->entry = x->entry_count;
		return 1;
	}
	s->from = key + 1;
	if (entry->flags & FIREWALL_CHECKS_MARK) {
		int is = (j->mark & entry->check_mask) == entry->check_value;

		if (is == !!(entry->flags & FIREWALL_CHECKS_NOT)) {
			s->from = entry->other;
			return 0;
		}
	}
	if ((entry->flags & FIREWALL_CHECKS_LIMIT) && !s->is_asked) {
		s->is_judged_anew = 1;
		if (!limit_passes(entry)) {
			s->from = entry->other;
			return 0;
		}
	}
	if (entry->flags & FIREWALL_COUNTS) {
		count(j, s, entry->counter);
		note(s, entry->counter);
	}
	switch (entry->action) {
	case FIREWALL_LOG:
		s->is_judged_anew = 1;
		if (!s->is_asked)
			log_packet(j->skb, entry, s->numbers.others[FIREWALL_IN], s->numbers.others[FIREWALL_OUT]);
		return 0;
	case FIREWALL_MARK:
		j->mark = (j->mark & ~entry->mark_mask) ^ entry->mark_value;
		return 0;
	case FIREWALL_REJECT:
		s->is_judged_anew = 1;
		j->reject_with = entry->to;
		__attribute__((fallthrough));
	case FIREWALL_ACCEPT:
	case FIREWALL_DROP:
		j->verdict = entry->action;
		j->entry = s->found;
		return 1;
	case FIREWALL_SKIP:
		s->from = entry->to;
		return 0;
	default:
		return 0;
	}
}

#define BLOCKS_MOST (1 << 12)

/* Finds the next entry, and does what that says. */
static __always_inline long next_in(struct judging *j, void *indexes, void *entries, const volatile struct firewall_index *x,
				    long (*search)(__u64, void *))
{
	__u32 key = 0;
	void *index = bpf_map_lookup_elem(indexes, &key);
	struct search *s = search_here();

	if (!index || !s)
		return 1;
	search_begin(s, index, x);
	if (x->words)
		bpf_loop(BLOCKS_MOST, search, 0, 0);
	return step(j, s, entries, x);
}

static long next_ipv4(__u64 i, struct judging *j)
{
	return next_in(j, &index_ipv4, &entries_ipv4, &ipv4, search_ipv4);
}

static long next_ipv6(__u64 i, struct judging *j)
{
	return next_in(j, &index_ipv6, &entries_ipv6, &ipv6, search_ipv6);
}

/* Reads a packet: 4, or 6; 0 where it is not of IP, -1 where it cannot be read. */
static __always_inline int read_packet(struct __sk_buff *skb, struct numbers *n)
{
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return numbers_of_ipv4(skb, n) ? -1 : 4;
	case bpf_htons(ETH_P_IPV6):
		return numbers_of_ipv6(skb, n) ? -1 : 6;
	}
	return 0;
}

/* Not 0 where the packet is to be dropped. */
static __always_inline int judge(struct __sk_buff *skb, struct search *s, struct judging *j, int family)
{
	__u32 key = 0;
	void *index = family == 4 ? bpf_map_lookup_elem(&index_ipv4, &key) : bpf_map_lookup_elem(&index_ipv6, &key);

	if (!index)
		return -1;
	s->from = 0;
	s->met = 0;
	s->is_judged_anew = 0;
	__builtin_memset(&s->judged, 0, sizeof(s->judged));
	if (family == 4) {
		search_vectors(s, index, &ipv4, 0);
		bpf_loop(FIREWALL_STEPS_MOST, next_ipv4, j, 0);
	} else {
		search_vectors(s, index, &ipv6, 1);
		bpf_loop(FIREWALL_STEPS_MOST, next_ipv6, j, 0);
	}
	if (j->verdict == FIREWALL_COUNT) {
		firewall_fault(FIREWALL_TOO_LONG);
		s->is_judged_anew = 1;
	}
	return j->verdict != FIREWALL_ACCEPT;
}

static __always_inline enum firewall_state state_of(struct __sk_buff *skb, struct search *s, int family, int is_known,
						    struct firewall_connection **known)
{
	const struct numbers *n = &s->numbers;
	/* Milliseconds are enough. */
	__u64 now = bpf_ktime_get_coarse_ns();
	int is_ipv6 = family == 6;

	if (!n->upper)
		return FIREWALL_UNTRACKED;
	if (is_icmp(n, is_ipv6)) {
		__u32 type = n->others[FIREWALL_DESTINATION_PORT] >> 8;

		if (icmp_is_untracked(type, is_ipv6))
			return FIREWALL_UNTRACKED;
		if (icmp_is_error(type, is_ipv6))
			return track_error(skb, n, is_ipv6, now, &s->flow, &s->fresh.is_turned);
		if (icmp_query(type, is_ipv6) < 0)
			return FIREWALL_INVALID;
	}
	if (n->others[FIREWALL_PROTOCOL] == IPPROTO_TCP && !tcp_is_valid(n->others[FIREWALL_FLAGS]))
		return FIREWALL_INVALID;
	s->fresh.is_turned = flow_of(&s->flow, n, is_ipv6);
	return track(n, is_ipv6, &s->flow, now, &s->fresh, &s->is_fresh, is_known, known);
}

/* What is let pass is known from then on. Not 0 where there is no room. */
static __always_inline int keep(const struct firewall_flow *flow, struct firewall_connection *fresh)
{
	fresh->until_ns = bpf_ktime_get_coarse_ns() + seconds_of(fresh, flow) * SECONDS;
	if (!bpf_map_update_elem(&connections, flow, fresh, BPF_ANY))
		return 0;
	firewall_fault(FIREWALL_FULL);
	return -1;
}

/* What the rules have said of a packet that looks alike: 1 where it passes, 0 where not; -1 where it is to be judged. */
static __always_inline int judged_before(struct judging *j, struct search *s, const struct firewall_judged *judged, __u64 of)
{
	__u64 is = *(volatile __u64 *)&judged->of;

	if ((is & ~1ULL) != of)
		return -1;
	j->entry = FIREWALL_NOT_ASKED;
	for (int i = 0; i < LENGTH(judged->counters); i++) {
		__u32 counter = judged->counters[i];

		if (!counter)
			break;
		count(j, s, counter - 1);
	}
	return is & 1;
}

/* Who reads meanwhile finds nothing, or what it is of. */
static __always_inline void judged_keep(struct firewall_judged *judged, const struct search *s, __u64 of)
{
	*(volatile __u64 *)&judged->of = 0;
	for (int i = 0; i < LENGTH(judged->counters); i++)
		*(volatile __u32 *)&judged->counters[i] = s->judged.counters[i];
	*(volatile __u64 *)&judged->of = of;
}

static __always_inline int passed(struct __sk_buff *skb, struct search *s, struct judging *j, int family, __u32 asked)
{
	enum ask_what what = ASK_WHAT(asked);
	struct firewall_connection *c = 0;
	struct firewall_judged *judged = 0;
	enum firewall_state state;
	__u64 of = 0;
	int is_passed;

	__builtin_memset(&s->flow, 0, sizeof(s->flow));
	__builtin_memset(&s->fresh, 0, sizeof(s->fresh));
	s->is_fresh = 0;
	state = state_of(skb, s, family, what == ASK_KNOWN, &c);
	if (state != FIREWALL_NEW)
		s->is_fresh = 0;
	if (what == ASK_KNOWN && (state == FIREWALL_ESTABLISHED || state == FIREWALL_RELATED))
		return TC_ACT_UNSPEC;
	s->numbers.others[FIREWALL_STATE] |= state;
	/* Judged elsewhere, too: it is known here only where the rules let it pass, or its answer would come in as one. */
	s->is_asked = what == ASK_TRACK;
	if (s->is_asked && !s->is_fresh)
		return TC_ACT_UNSPEC;
	if (!s->is_asked && is_to_rejected(skb, &s->numbers, &s->flow, s->fresh.is_turned, family == 6))
		return TC_ACT_UNSPEC;
	/* A mark of the server's own counts only in tests. */
	if ((asked & ASK_IS_TAPPED) && !s->is_asked && (c || s->is_fresh)) {
		judged = c ? &c->judged[c->is_turned != s->fresh.is_turned] : &s->fresh.judged[0];
		of = FIREWALL_JUDGED(generation, state, s->numbers.others[FIREWALL_FLAGS] & (family == 4 ? ipv4.flags : ipv6.flags),
				     ASK_IN(asked), ASK_OUT(asked));
		is_passed = judged_before(j, s, judged, of);
		if (is_passed >= 0)
			return is_passed ? TC_ACT_UNSPEC : TC_ACT_SHOT;
	}
	is_passed = !judge(skb, s, j, family);
	if (judged && !s->is_judged_anew)
		judged_keep(judged, s, of | is_passed);
	if (j->verdict == FIREWALL_REJECT && s->is_asked && is_answered(skb, &s->numbers, j->reject_with, family == 6))
		rejection_note(&s->numbers, &s->flow, family == 6); /* it comes from where the packet is judged */
	if (!is_passed)
		return s->is_asked ? TC_ACT_UNSPEC : TC_ACT_SHOT;
	return s->is_fresh && keep(&s->flow, &s->fresh) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* What becomes of a later fragment the first of its datagram has said. */
static __always_inline int fragment_passed(const struct numbers *n)
{
	struct firewall_datagram datagram;
	enum fragment_first first;

	datagram_of(&datagram, n);
	first = fragment_first(&datagram);
	if (first == FIRST_UNSEEN)
		firewall_fault(FIREWALL_FRAGMENT_BEFORE_FIRST);
	return first == FIRST_PASSED ? TC_ACT_UNSPEC : TC_ACT_SHOT;
}

/* Who lets a packet pass that is handed over gives it to the system. */
static __always_inline int handed(struct __sk_buff *skb, __u32 asked, int verdict)
{
	return verdict == TC_ACT_UNSPEC && (asked & ASK_IS_HANDED) ? bpf_redirect_peer(receiver_of(skb), 0) : verdict;
}

/* Cb[0] says what is asked (firewall/ask.h); for tests cb[1] gets the entry that decides, and cb[2] its state. */
static __always_inline int firewall(struct __sk_buff *skb, int is_tracked)
{
	__u32 asked = skb->cb[0];
	/* A mark of the server's own is none of a tenant's. */
	struct judging j = { .skb = skb, .mark = asked & ASK_IS_TAPPED ? 0 : skb->mark };
	struct search *s = search_here();
	int family, verdict;

	if (!s)
		return TC_ACT_SHOT;
	__builtin_memset(&s->numbers, 0, sizeof(s->numbers));
	s->is_asked = 0;
	s->numbers.others[FIREWALL_IN] = ASK_IN(asked);
	s->numbers.others[FIREWALL_OUT] = ASK_OUT(asked);
	family = read_packet(skb, &s->numbers);
	if (!family)
		return handed(skb, asked, TC_ACT_UNSPEC);
	if (family < 0) {
		firewall_fault(FIREWALL_UNREADABLE);
		return TC_ACT_SHOT;
	}
	if (!is_tracked) {
		s->numbers.others[FIREWALL_STATE] |= asked & 7;
		verdict = judge(skb, s, &j, family) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
	} else if (s->numbers.is_fragment && !s->numbers.upper) {
		verdict = ASK_WHAT(asked) == ASK_TRACK ? TC_ACT_UNSPEC : fragment_passed(&s->numbers);
	} else {
		verdict = passed(skb, s, &j, family, asked);
		if (s->numbers.is_fragment && ASK_WHAT(asked) != ASK_TRACK)
			fragment_keep(&s->numbers, verdict == TC_ACT_UNSPEC);
	}
	if (!(asked & ASK_IS_TAPPED))
		skb->mark = j.mark;
	skb->cb[1] = j.entry;
	skb->cb[2] = s->numbers.others[FIREWALL_STATE];
	if (verdict == TC_ACT_SHOT && j.verdict == FIREWALL_REJECT && (asked & ASK_IS_TAPPED))
		return reject(skb, &s->numbers, &s->flow, j.reject_with, family == 6, asked);
	return handed(skb, asked, verdict);
}

/* For tests: cb[0] has the connection's state, too. */
SEC("tc")
int firewall_judge(struct __sk_buff *skb)
{
	return firewall(skb, 0);
}

SEC("tc")
int firewall_pass(struct __sk_buff *skb)
{
	return firewall(skb, 1);
}

char _license[] SEC("license") = "GPL";
