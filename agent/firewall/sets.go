package firewall

import (
	"net/netip"
	"slices"

	"flipflap.local/agent/iptables"
)

// fieldOf is a side's own of two fields that stand beside each other.
func fieldOf(side iptables.Side, first field) field {
	if side == iptables.Destination {
		return first + 1
	}
	return first
}

func spanOf(from, to netip.Addr) Span { return Span{numberOf(from), numberOf(to)} }

// addressesOfSet: what the longest prefix says that an address is in.
func addressesOfSet(members []iptables.Member, family iptables.Family) Ranges {
	byBits := map[int][2][]Span{} // members, and what is none
	for _, m := range members {
		spans, is := byBits[m.Bits], 0
		if m.Not {
			is = 1
		}
		spans[is] = append(spans[is], spanOf(m.From, m.To))
		byBits[m.Bits] = spans
	}
	all := Ranges{}
	for bits := -1; bits <= 128; bits++ {
		spans, is := byBits[bits]
		if !is {
			continue
		}
		all = rangesOf(append(all, spans[0]...))
		if len(spans[1]) > 0 {
			all = all.and(rangesOf(spans[1]).not(fieldSource.most(family)))
		}
	}
	return all
}

// portedAlternatives are a set's members by their ports, none of which is in another alternative: a packet meets a rule once.
func portedAlternatives(m *iptables.SetMatch, family iptables.Family) [][fieldFields]Ranges {
	byProtocol := map[uint8][]iptables.Member{}
	var protocols []uint8
	for _, one := range m.Set.Members {
		if byProtocol[one.Protocol] == nil {
			protocols = append(protocols, one.Protocol)
		}
		byProtocol[one.Protocol] = append(byProtocol[one.Protocol], one)
	}
	var all [][fieldFields]Ranges
	for _, protocol := range protocols {
		for _, part := range portParts(byProtocol[protocol]) {
			var one [fieldFields]Ranges
			one[fieldOf(m.Sides[0], fieldSource)] = addressesOfSet(part.members, family)
			one[fieldProtocol] = Ranges{small(uint64(protocol), uint64(protocol))}
			one[fieldOf(m.Sides[1], fieldSourcePort)] = portRanges([]iptables.Range{part.ports})
			all = append(all, one)
		}
	}
	return all
}

type portPart struct {
	ports   iptables.Range
	members []iptables.Member
}

// portParts cuts ports where members begin and end.
func portParts(members []iptables.Member) []portPart {
	sorted := slices.Clone(members)
	slices.SortStableFunc(sorted, func(a, b iptables.Member) int { return int(a.Ports.From) - int(b.Ports.From) })
	var cuts []int // where a part begins
	for _, m := range sorted {
		cuts = append(cuts, int(m.Ports.From), int(m.Ports.To)+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	var parts []portPart
	var open []iptables.Member
	next := 0
	for i, from := range cuts[:max(0, len(cuts)-1)] {
		open = slices.DeleteFunc(open, func(m iptables.Member) bool { return int(m.Ports.To) < from })
		for ; next < len(sorted) && int(sorted[next].Ports.From) == from; next++ {
			open = append(open, sorted[next])
		}
		if len(open) > 0 {
			parts = append(parts, portPart{iptables.Range{From: uint16(from), To: uint16(cuts[i+1] - 1)}, slices.Clone(open)})
		}
	}
	return parts
}

// crossed are the alternatives of both.
func crossed(some, others [][fieldFields]Ranges) [][fieldFields]Ranges {
	var all [][fieldFields]Ranges
	for _, a := range some {
		for _, b := range others {
			if both, isEmpty := intersected(a, b); !isEmpty {
				all = append(all, both)
			}
		}
	}
	return all
}
