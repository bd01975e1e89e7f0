/*
 * Judges packets by a tenant's rules. The agent has made entries of the rules' chains, in their order, and an index that finds the first
 * one which takes a packet: an entry that decides nothing passes the packet on, further down.
 */
#include <linux/pkt_cls.h>
#include "abi/firewall.h"
#include "firewall/search.h"

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
};

static __always_inline void firewall_fault(enum firewall_fault fault)
{
	__u32 key = fault;
	__u64 *count = bpf_map_lookup_elem(&faults, &key);

	if (count)
		(*count)++;
}

static __always_inline struct search *search_here(void)
{
	__u32 key = 0;

	return bpf_map_lookup_elem(&searches, &key);
}

static long search_ipv4(__u64 i, void *nothing)
{
	__u32 key = 0;
	void *index = bpf_map_lookup_elem(&index_ipv4, &key);
	struct search *s = search_here();

	return index && s ? search_block(s, index, &ipv4) : 1;
}

static long search_ipv6(__u64 i, void *nothing)
{
	__u32 key = 0;
	void *index = bpf_map_lookup_elem(&index_ipv6, &key);
	struct search *s = search_here();

	return index && s ? search_block(s, index, &ipv6) : 1;
}

/* Not 0 where the packet's way ends. */
static __always_inline long step(struct judging *j, struct search *s, void *entries, const volatile struct firewall_index *x)
{
	__u32 key = s->found, bytes = j->skb->len;
	struct firewall_entry *entry = bpf_map_lookup_elem(entries, &key);
	struct firewall_counter *counter;

	if (key >= x->entry_count || !entry) {
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
	if (entry->flags & FIREWALL_COUNTS) {
		key = entry->counter;
		counter = bpf_map_lookup_elem(&counters, &key);
		if (counter) {
			counter->packets++;
			counter->bytes += bytes - L3;
		}
	}
	switch (entry->action) {
	case FIREWALL_MARK:
		j->mark = (j->mark & ~entry->mark_mask) ^ entry->mark_value;
		return 0;
	case FIREWALL_ACCEPT:
	case FIREWALL_DROP:
	case FIREWALL_REJECT:
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

static long step_ipv4(__u64 i, struct judging *j)
{
	__u32 key = 0;
	void *index = bpf_map_lookup_elem(&index_ipv4, &key);
	struct search *s = search_here();

	if (!index || !s)
		return 1;
	search_begin(s, index, &ipv4);
	if (ipv4.words)
		bpf_loop(BLOCKS_MOST, search_ipv4, 0, 0);
	return step(j, s, &entries_ipv4, &ipv4);
}

static long step_ipv6(__u64 i, struct judging *j)
{
	__u32 key = 0;
	void *index = bpf_map_lookup_elem(&index_ipv6, &key);
	struct search *s = search_here();

	if (!index || !s)
		return 1;
	search_begin(s, index, &ipv6);
	if (ipv6.words)
		bpf_loop(BLOCKS_MOST, search_ipv6, 0, 0);
	return step(j, s, &entries_ipv6, &ipv6);
}

/* What is no packet of IP is nobody's rule's. */
static __always_inline int judge(struct __sk_buff *skb, struct search *s, struct judging *j)
{
	struct numbers *n = &s->numbers;
	__u32 key = 0;
	void *index;

	s->from = 0;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		index = bpf_map_lookup_elem(&index_ipv4, &key);
		if (!index || numbers_of_ipv4(skb, n))
			goto unreadable;
		search_vectors(s, index, &ipv4, 0);
		bpf_loop(FIREWALL_STEPS_MOST, step_ipv4, j, 0);
		break;
	case bpf_htons(ETH_P_IPV6):
		index = bpf_map_lookup_elem(&index_ipv6, &key);
		if (!index || numbers_of_ipv6(skb, n))
			goto unreadable;
		search_vectors(s, index, &ipv6, 1);
		bpf_loop(FIREWALL_STEPS_MOST, step_ipv6, j, 0);
		break;
	default:
		return TC_ACT_UNSPEC;
	}
	if (j->verdict == FIREWALL_COUNT) {
		firewall_fault(FIREWALL_TOO_LONG);
		return TC_ACT_SHOT;
	}
	return j->verdict == FIREWALL_ACCEPT ? TC_ACT_UNSPEC : TC_ACT_SHOT;
unreadable:
	firewall_fault(FIREWALL_UNREADABLE);
	return TC_ACT_SHOT;
}

/* For tests: cb[0] has the connection's state and the numbers of the networks that the packet comes and goes by; cb[1] gets its entry. */
SEC("tc")
int firewall_judge(struct __sk_buff *skb)
{
	struct judging j = { .skb = skb, .mark = skb->mark };
	struct search *s = search_here();
	int verdict;

	if (!s)
		return TC_ACT_SHOT;
	__builtin_memset(&s->numbers, 0, sizeof(s->numbers));
	s->numbers.others[FIREWALL_STATE] = skb->cb[0] & 7;
	s->numbers.others[FIREWALL_IN] = skb->cb[0] >> 8 & 0xff;
	s->numbers.others[FIREWALL_OUT] = skb->cb[0] >> 16 & 0xff;
	verdict = judge(skb, s, &j);
	skb->mark = j.mark;
	skb->cb[1] = j.entry;
	return verdict;
}

char _license[] SEC("license") = "GPL";
