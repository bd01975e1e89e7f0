package firewall

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"flipflap.local/agent/iptables"
)

// flow is one that a test plays: packets of its two ends, in any order and with any flags.
type flow struct {
	family   iptables.Family
	protocol uint8
	here     netip.Addr // behind red
	there    netip.Addr // behind red-db
	ports    [2]uint16
}

func (f flow) packet(isBack bool) Packet {
	p := Packet{Family: f.family, Protocol: f.protocol, Source: f.here, Destination: f.there, SourcePort: f.ports[0], DestinationPort: f.ports[1], In: "red", Out: "red-db"}
	if isBack {
		p.Source, p.Destination, p.SourcePort, p.DestinationPort, p.In, p.Out = p.Destination, p.Source, p.DestinationPort, p.SourcePort, p.Out, p.In
	}
	return p
}

// next is some packet of the flow, or an error that quotes one.
func (f flow) next(r *rand.Rand, isBack bool) Packet {
	p := f.packet(isBack)
	isIPv6 := f.family == iptables.IPv6
	if r.IntN(12) == 0 {
		quoted := f.packet(!isBack)
		quoted.Identifier, quoted.TCPFlags = 7, 0x10
		if f.protocol == 1 || f.protocol == 58 {
			quoted.Type = map[bool]uint8{false: 8, true: 128}[isIPv6]
		}
		p.Protocol, p.Type, p.Code, p.Quoted = 1, 3, 1, &quoted
		if isIPv6 {
			p.Protocol, p.Type = 58, 1
		}
		// Some go to another than who sent that.
		if r.IntN(6) == 0 && !isBack {
			p.Destination = map[bool]netip.Addr{false: netip.MustParseAddr("10.9.9.9"), true: netip.MustParseAddr("fd09::9")}[isIPv6]
		}
		return p
	}
	switch f.protocol {
	case 6:
		// Mostly what a connection has.
		p.TCPFlags = pick[uint8](r, 0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, 0x14, 0, 0x01, 0x29)
	case 1:
		p.Type, p.Identifier = pick[uint8](r, 8, 0, 8, 0, 13, 14, 9, 42), 7
	case 58:
		p.Type, p.Identifier = pick[uint8](r, 128, 129, 128, 129, 135, 143, 200), 7
	}
	return p
}

// What state a packet's connection is in netfilter says alike, whatever the two ends send: each rule's counter is the same.
func TestConnectionsAreThoseOfTheKernel(t *testing.T) {
	path := objectPath(t)
	// And back: to 10.1.0.0/16 and fd01::/16.
	send, target := router(t,
		"ip addr add 172.16.1.1/24 dev red", "ip route add 10.1.0.0/16 via 172.16.1.2", "ip neigh add 172.16.1.2 lladdr 02:00:00:00:00:02 dev red",
		"ip -6 addr add fe80::8:1/64 dev red nodad", "ip -6 route add fd01::/16 via fe80::8:2 dev red",
		"ip -6 neigh add fe80::8:2 lladdr 02:00:00:00:00:02 dev red",
	)
	r := rand.New(rand.NewPCG(3, 4))
	programs := map[iptables.Family]string{iptables.IPv4: "iptables-legacy", iptables.IPv6: "ip6tables-legacy"}
	compiled, tables := map[iptables.Family]*Program{}, map[iptables.Family]*iptables.Table{}
	counter := map[*iptables.Rule]uint32{}
	var flows []flow
	const many = 60
	for family, program := range programs {
		lines := []string{strings.TrimSuffix(program, "-legacy") + " -P FORWARD ACCEPT"}
		for n := range many {
			f := flow{family: family, protocol: []uint8{6, 6, 6, 17, 1, 47}[n%6], ports: [2]uint16{uint16(1000 + n%4), 80}}
			f.here, f.there = netip.MustParseAddr(fmt.Sprintf("10.1.0.%d", n+1)), netip.MustParseAddr(fmt.Sprintf("10.2.0.%d", n+1))
			if n%2 == 1 { // the greater end is here
				f.there = netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", n+1))
			}
			if family == iptables.IPv6 {
				f.here, f.there = netip.MustParseAddr(fmt.Sprintf("fd01::%d", n+1)), netip.MustParseAddr(fmt.Sprintf("fd02::%d", n+1))
				if f.protocol == 1 {
					f.protocol = 58
				}
			}
			flows = append(flows, f)
			for _, state := range []string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED"} {
				for _, end := range []string{"-s", "-d"} {
					lines = append(lines, fmt.Sprintf("%s -A FORWARD %s %s -m conntrack --ctstate %s", strings.TrimSuffix(program, "-legacy"), end, f.here, state))
				}
			}
		}
		// Of some nobody who is here begins one.
		lines = append(lines, strings.TrimSuffix(program, "-legacy")+" -A FORWARD -p tcp --sport 1003 -m conntrack --ctstate NEW -j DROP")
		set := iptables.Parse(strings.Join(lines, "\n"))
		if len(set.Faults) > 0 {
			t.Fatal(set.Faults[0])
		}
		tables[family] = set.Tables[0]
		for _, rule := range set.Tables[0].Chain("FORWARD").Rules {
			counter[rule] = uint32(len(counter))
		}
		var err error
		if compiled[family], err = Compile(set.Tables[0], "FORWARD", []string{"red", "red-db"}); err != nil {
			t.Fatal(err)
		}
		restore(t, program, set.Tables[0])
	}
	for _, words := range []string{
		"sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1 net.netfilter.nf_conntrack_checksum=0 net.netfilter.nf_conntrack_tcp_loose=1",
	} {
		does(t, words)
	}
	l, err := loaded(path, &Rules{IPv4: compiled[iptables.IPv4], IPv6: compiled[iptables.IPv6]}, counting{uint32(len(counter) + 1), everyPolicyAt(len(counter)), func(rule *iptables.Rule) uint32 { return counter[rule] }})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	states := map[uint32]int{}
	packets := 12_000
	if more, err := strconv.Atoi(os.Getenv("FLIPFLAP_PACKETS")); err == nil {
		packets = more
	}
	for range packets {
		f := flows[r.IntN(len(flows))]
		isBack := r.IntN(2) == 0
		p := f.next(r, isBack)
		_, _, _, state := inKernel(t, l.Pass, compiled[f.family], p, 1)
		states[state]++
		send(map[bool]string{false: "in", true: "out"}[isBack], [][]byte{p.frame(target)})
	}
	want := counted(t, l.Counters, len(counter))
	var total uint64
	for family, program := range programs {
		rules := tables[family].Chain("FORWARD").Rules
		got := counters(t, program)
		for try := 0; try < 50 && !slices.Equal(got["FORWARD"], wanted(rules, counter, want)); try++ {
			time.Sleep(20 * time.Millisecond)
			got = counters(t, program)
		}
		for i, rule := range rules {
			if got["FORWARD"][i] != want[counter[rule]] {
				t.Errorf("%s: the kernel counts %d, we %d", rule.Spec(), got["FORWARD"][i], want[counter[rule]])
			}
			total += want[counter[rule]]
		}
	}
	for _, state := range []iptables.State{iptables.Invalid, iptables.New, iptables.Related, iptables.Established, iptables.Untracked} {
		if number := uint32(bits.TrailingZeros(uint(state))); states[number] < 50 {
			t.Errorf("state %d was met %d times: that shows little", number, states[number])
		}
	}
	fmt.Printf("%d packets of %d flows met %d rules of states, in the kernel and here\n", packets, len(flows), total)
}

func wanted(rules []*iptables.Rule, counter map[*iptables.Rule]uint32, counts []uint64) []uint64 {
	var all []uint64
	for _, rule := range rules {
		all = append(all, counts[counter[rule]])
	}
	return all
}
