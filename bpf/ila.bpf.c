/*
 * ILA (draft-herbert-intarea-ila): between servers a packet's destination is locator and identifier, in systems it is SIR
 * prefix and identifier. The source stays. Translation is one lookup and one write; what it writes was computed when the
 * mapping was told. Packets that need an answer (hop limit, size) go to the server's own stack, which knows how.
 */
#include "ila/translate.h"
#include "lib/icmp6.h"
#include "lib/receive.h"

static __noinline int refuse_destination(struct ila_address *to)
{
	__u32 *kind;

	if (!to)
		return drop(ILA_MALFORMED);
	kind = bpf_map_lookup_elem(&prefixes, &to->locator);
	if (!kind)
		return drop(ILA_OUTSIDE);
	return drop(*kind & ILA_LOCATOR ? ILA_TO_LOCATOR : ILA_FOREIGN_SIR);
}

/* Ingress of the server's end of a system's interface: what the system sends. */
SEC("tc")
int ila_port_out(struct __sk_buff *skb)
{
	__u32 device = skb->ifindex;
	struct ila_port *port = bpf_map_lookup_elem(&ports, &device);
	struct ila_mapping *mapping;
	struct ila_server *server;
	struct ila_address to;
	struct ipv6hdr *ip6;
	struct upper upper;
	__u32 index, problem;

	if (!port)
		return drop(ILA_UNKNOWN_PORT);
	/* A tag would go on to the uplink, and choose the VLAN there. */
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || skb->vlan_present)
		return drop(ILA_NOT_IPV6);
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	if (!is_same(source_of(ip6), &port->self) || destination_of(ip6)->locator != port->self.locator) {
		if (icmp6_is_discovery(skb, ip6))
			return TC_ACT_UNSPEC;
		ip6 = ip6_of(skb);
		if (!ip6)
			return drop(ILA_MALFORMED);
		if (ip6_is_group(&ip6->daddr))
			return drop(ILA_MULTICAST);
		if (source_of(ip6)->locator != port->self.locator)
			return drop(ILA_SPOOFED_NETWORK);
		if (source_of(ip6)->identifier != port->self.identifier)
			return drop(ILA_SPOOFED_IDENTIFIER);
		to = *destination_of(ip6);
		return refuse_destination(&to);
	}
	upper = ip6_upper(skb, ip6);
	if (upper.end != PARSE_WHOLE)
		return drop(reason_of(upper.end));
	if (port->flags & ILA_BY_STACK)
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	mapping = bpf_map_lookup_elem(&mappings, destination_of(ip6));
	if (!mapping)
		return drop(ILA_NO_MAPPING);
	if (ip6->hop_limit <= 1)
		return TC_ACT_UNSPEC;
	if (mapping->place == ILA_HERE) {
		ip6->hop_limit--;
		return receive(skb, mapping->device);
	}
	index = mapping->server;
	server = bpf_map_lookup_elem(&servers, &index);
	if (!server || !server->device)
		return drop(ILA_NO_MAPPING);
	if (redirect_is_too_big(skb, server->device, server->mtu_bytes))
		return TC_ACT_UNSPEC;
	problem = translate(skb, &upper, &mapping->wire, mapping->csum_diff, mapping->mode, 1);
	if (problem != ILA_REASONS)
		return drop(problem);
	return forward(skb, server, 0);
}

/* Egress of the server's end: what the server's stack gives to the system. The fast way does not come by here. */
SEC("tc")
int ila_port_in(struct __sk_buff *skb)
{
	__u32 device = skb->ifindex;
	struct ila_port *port = bpf_map_lookup_elem(&ports, &device);
	struct ipv6hdr *ip6;
	struct upper upper;

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return drop(ILA_NOT_IPV6);
	ip6 = ip6_of(skb);
	if (!port || !ip6)
		return drop(port ? ILA_MALFORMED : ILA_UNKNOWN_PORT);
	if ((port->flags & ILA_BY_STACK) && source_of(ip6)->locator == port->self.locator)
		return TC_ACT_UNSPEC;
	if (icmp6_is_discovery(skb, ip6))
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	if (ip6_is_group(&ip6->daddr))
		return drop(ILA_MULTICAST);
	upper = ip6_upper(skb, ip6);
	return icmp6_is_error(skb, &upper) ? TC_ACT_UNSPEC : drop(ILA_FROM_SERVER);
}

/* Not translated, or not for us: errors of routers between the servers come to the address that they saw as source. */
static __always_inline int from_between(struct __sk_buff *skb, struct ipv6hdr *ip6)
{
	struct ila_mapping *mapping = bpf_map_lookup_elem(&mappings, destination_of(ip6));
	struct ila_arrival arrival = {};
	__u32 device, *kind;
	struct upper upper;

	if (!mapping || mapping->place != ILA_HERE) {
		kind = bpf_map_lookup_elem(&prefixes, &destination_of(ip6)->locator);
		if (!kind || *kind & ILA_PREFIX_BY_STACK)
			return TC_ACT_UNSPEC;
		return drop(*kind & ILA_LOCATOR ? ILA_NO_SYSTEM : ILA_UNTRANSLATED);
	}
	arrival.self = *destination_of(ip6);
	arrival.mode = mapping->mode;
	device = mapping->device;
	upper = ip6_upper(skb, ip6);
	if (!icmp6_is_error(skb, &upper))
		return drop(ILA_UNTRANSLATED);
	translate_quoted(skb, &upper, &arrival);
	return receive(skb, device);
}

/* Ingress of the uplink: what comes from other servers, and everything else, which goes on. */
SEC("tc")
int ila_uplink_in(struct __sk_buff *skb)
{
	struct ila_arrival *arrival;
	struct ipv6hdr *ip6;
	struct upper upper;
	__u32 problem;
	int is_error = 0;

	if (skb->protocol != bpf_htons(ETH_P_IPV6))
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (!ip6)
		return TC_ACT_UNSPEC;
	arrival = bpf_map_lookup_elem(&arrivals, destination_of(ip6));
	if (!arrival)
		return from_between(skb, ip6);
	upper = ip6_upper(skb, ip6);
	if (upper.end != PARSE_WHOLE)
		return drop(reason_of(upper.end));
	if (upper.protocol == IPPROTO_ICMPV6) {
		is_error = icmp6_is_error(skb, &upper);
		ip6 = ip6_of(skb);
		if (!ip6)
			return drop(ILA_MALFORMED);
	}
	if (!is_error && source_of(ip6)->locator != arrival->self.locator)
		return drop(ILA_FOREIGN_SOURCE);
	if (ip6->hop_limit <= 1) {
		/* The stack is to see that there is none left. */
		problem = translate(skb, &upper, &arrival->self, arrival->csum_diff, arrival->mode, 0);
		return problem == ILA_REASONS ? TC_ACT_UNSPEC : drop(problem);
	}
	problem = translate(skb, &upper, &arrival->self, arrival->csum_diff, arrival->mode, 1);
	if (problem != ILA_REASONS)
		return drop(problem);
	if (is_error)
		translate_quoted(skb, &upper, arrival);
	return receive(skb, arrival->device);
}

/* Egress of the uplink: errors of the server's own stack to SIR addresses, known by the MAC that they are routed to. */
SEC("tc")
int ila_uplink_out(struct __sk_buff *skb)
{
	static const __u8 exit_mac[ETH_ALEN] = ILA_EXIT_MAC;
	struct ethhdr *eth = eth_of(skb);
	struct ila_mapping *mapping;
	struct ila_server *server;
	struct ipv6hdr *ip6;
	struct upper upper;
	__u32 index, problem;

	if (!eth)
		return TC_ACT_UNSPEC;
	if (*(__u32 *)eth->h_dest != *(__u32 *)exit_mac || *(__u16 *)(eth->h_dest + 4) != *(__u16 *)(exit_mac + 4))
		return TC_ACT_UNSPEC;
	ip6 = ip6_of(skb);
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || !ip6)
		return drop(ILA_NOT_IPV6);
	upper = ip6_upper(skb, ip6);
	if (!icmp6_is_error(skb, &upper))
		return drop(ILA_FROM_SERVER);
	ip6 = ip6_of(skb);
	if (!ip6)
		return drop(ILA_MALFORMED);
	mapping = bpf_map_lookup_elem(&mappings, destination_of(ip6));
	if (!mapping || mapping->place == ILA_HERE)
		return drop(ILA_NO_MAPPING);
	index = mapping->server;
	server = bpf_map_lookup_elem(&servers, &index);
	if (!server || !server->device)
		return drop(ILA_NO_MAPPING);
	problem = translate(skb, &upper, &mapping->wire, mapping->csum_diff, mapping->mode, 1);
	return problem == ILA_REASONS ? forward(skb, server, 1) : drop(problem);
}

char _license[] SEC("license") = "GPL";
