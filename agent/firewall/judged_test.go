package firewall

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"flipflap.local/agent/iptables"
)

// As bpf/firewall/ask.h has them.
const (
	isTapped = 1 << 31
	notAsked = ^uint32(0)
)

// What is kept of a connection's packets is what the rules say of each: verdicts and counters are as if all were judged.
func TestWhatIsKeptIsWhatTheRulesSay(t *testing.T) {
	path := objectPath(t)
	r := rand.New(rand.NewPCG(8, 9))
	var kept, anew int
	for range 40 {
		rules := &Rules{}
		tables := map[iptables.Family]*iptables.Table{}
		counter := map[*iptables.Rule]uint32{}
		for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
			var lines []string
			for _, line := range strings.Split(made(r, family, 1+r.IntN(30)), "\n") {
				if !strings.Contains(line, "-m limit") {
					lines = append(lines, line)
				}
			}
			set := iptables.Parse(strings.Join(lines, "\n"))
			program, err := Compile(set.Tables[0], "FORWARD", devices)
			if err != nil {
				t.Fatal(err)
			}
			tables[family] = set.Tables[0]
			for _, c := range set.Tables[0].Chains {
				for _, rule := range c.Rules {
					counter[rule] = uint32(len(counter))
				}
			}
			if family == iptables.IPv4 {
				rules.IPv4 = program
			} else {
				rules.IPv6 = program
			}
		}
		l, err := loaded(path, rules, counting{uint32(len(counter) + 1), everyPolicyAt(len(counter)), func(rule *iptables.Rule) uint32 { return counter[rule] }})
		if err != nil {
			t.Fatal(err)
		}
		var flows []Packet
		for len(flows) < 12 {
			p := packet(r, pick(r, iptables.IPv4, iptables.IPv6))
			p.IsLaterFragment = false
			if p.Protocol == 1 || p.Protocol == 58 {
				p.Type = map[iptables.Family]uint8{iptables.IPv4: 8, iptables.IPv6: 128}[p.Family]
			}
			flows = append(flows, p)
		}
		want := make([]uint64, len(counter))
		for range 400 {
			p := pick(r, flows...)
			if r.IntN(2) == 0 {
				p.Source, p.Destination, p.SourcePort, p.DestinationPort, p.In, p.Out = p.Destination, p.Source, p.DestinationPort, p.SourcePort, p.Out, p.In
				if p.Type == 8 || p.Type == 128 {
					p.Type = map[iptables.Family]uint8{iptables.IPv4: 0, iptables.IPv6: 129}[p.Family]
				}
			}
			if r.IntN(8) == 0 {
				p.In = pick(r, devices...)
			}
			p.TCPFlags = pick[uint8](r, 0x02, 0x12, 0x10, 0x10, 0x18, 0x10)
			program := map[iptables.Family]*Program{iptables.IPv4: rules.IPv4, iptables.IPv6: rules.IPv6}[p.Family]
			accepts, _, entry, state := asked(t, l.Pass, program, p, 1, isTapped)
			p.State = 1 << (state & 7)
			verdict := Walk(tables[p.Family], "FORWARD", p, nil, func(rule *iptables.Rule) { want[counter[rule]]++ })
			if accepts != verdict.Accept {
				t.Fatalf("%+v: the program says %v by entry %d, the chains %v", p, accepts, int32(entry), verdict.Accept)
			}
			if entry == notAsked {
				kept++
			} else {
				anew++
			}
		}
		got := counted(t, l.Counters, len(counter))
		for rule, at := range counter {
			if got[at] != want[at] {
				t.Fatalf("%s: %d packets, want %d", rule.Spec(), got[at], want[at])
			}
		}
		l.Close()
	}
	if kept < 2000 || anew < 2000 {
		t.Fatalf("%d packets by what was kept, %d judged: that shows little", kept, anew)
	}
	fmt.Printf("%d packets by what was kept, %d judged, all as the chains say\n", kept, anew)
}
