/*
 * The short cut of an overlay: a frame between a system and its tunnel device, or between two systems of one server, goes
 * straight to where the bridge would have brought it. Whatever is not known here goes by the bridge: broadcast, multicast,
 * unknown stations, the gateways. Nothing depends on these programs: without them the same frames take the longer way.
 */
#include <linux/pkt_cls.h>
#include "abi/overlay.h"
#include "lib/eth.h"
#include "lib/receive.h"

/* Where stations are, as the kernel's forwarding entries say; kept by the agent. Gateways are in none of them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1 << 20);
	__type(key, struct station_key);
	__type(value, struct station);
} stations SEC(".maps");

/* The network of each system's port, by the port's interface index; kept by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

/* The station that a frame is for; none where that is a group, is not known, or the frame is no Ethernet frame. */
static __always_inline struct station *station_find(struct __sk_buff *skb, __u32 network)
{
	struct ethhdr *eth = eth_of(skb);
	struct station_key key = { .network = network };

	if (!eth || eth_is_group(eth->h_dest))
		return 0;
	__builtin_memcpy(key.mac, eth->h_dest, ETH_ALEN);
	return bpf_map_lookup_elem(&stations, &key);
}

/* Ingress of a tunnel device: frames that were unpacked. They never go back into the tunnel. */
SEC("tc")
int tunnel_in(struct __sk_buff *skb)
{
	struct station *station = station_find(skb, skb->ifindex);

	if (!station || station->place != STATION_HERE)
		return TC_ACT_UNSPEC;
	return receive(skb, station->device);
}

/* Ingress of the server's end of a system's interface: frames that the system sends. */
SEC("tc")
int system_out(struct __sk_buff *skb)
{
	__u32 port = skb->ifindex;
	__u32 *network = bpf_map_lookup_elem(&ports, &port);
	struct station *station = network ? station_find(skb, *network) : 0;

	if (!station)
		return TC_ACT_UNSPEC;
	return station->place == STATION_HERE ? receive(skb, station->device) : bpf_redirect(station->device, 0);
}

char _license[] SEC("license") = "GPL";
