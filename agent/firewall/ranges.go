package firewall

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// Number is of a field: of up to 128 bits.
type Number struct{ High, Low uint64 }

func (n Number) compare(o Number) int {
	return cmp.Or(cmp.Compare(n.High, o.High), cmp.Compare(n.Low, o.Low))
}
func (n Number) less(o Number) bool { return n.compare(o) < 0 }

func (n Number) next() Number {
	n.Low++
	if n.Low == 0 {
		n.High++
	}
	return n
}

func (n Number) before() Number {
	if n.Low == 0 {
		n.High--
	}
	n.Low--
	return n
}

func numberOf(ip netip.Addr) Number {
	if ip.Is4() {
		bytes := ip.As4()
		return Number{Low: uint64(binary.BigEndian.Uint32(bytes[:]))}
	}
	bytes := ip.As16()
	return Number{binary.BigEndian.Uint64(bytes[:8]), binary.BigEndian.Uint64(bytes[8:])}
}

// Span has both ends.
type Span struct{ First, Last Number }

// Ranges are in their order, and none touches another. nil is all that there is, and an empty one nothing.
type Ranges []Span

func (a Ranges) and(b Ranges) Ranges {
	both := Ranges{}
	for i, k := 0, 0; i < len(a) && k < len(b); {
		first, last := a[i].First, a[i].Last
		if first.less(b[k].First) {
			first = b[k].First
		}
		if b[k].Last.less(last) {
			last = b[k].Last
		}
		if !last.less(first) {
			both = append(both, Span{first, last})
		}
		if a[i].Last.less(b[k].Last) {
			i++
		} else {
			k++
		}
	}
	return both
}

// not is all of a field but a.
func (a Ranges) not(most Number) Ranges {
	rest, from := Ranges{}, Number{}
	for _, s := range a {
		if from.less(s.First) {
			rest = append(rest, Span{from, s.First.before()})
		}
		if s.Last == most {
			return rest
		}
		from = s.Last.next()
	}
	return append(rest, Span{from, most})
}

func rangesOf(spans []Span) Ranges {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b Span) int { return a.First.compare(b.First) })
	all := Ranges{}
	for _, s := range sorted {
		if n := len(all); n > 0 && !(all[n-1].Last != Number{^uint64(0), ^uint64(0)} && all[n-1].Last.next().less(s.First)) {
			if all[n-1].Last.less(s.Last) {
				all[n-1].Last = s.Last
			}
			continue
		}
		all = append(all, s)
	}
	return all
}

func (a Ranges) has(n Number) bool {
	return a == nil || slices.ContainsFunc(a, func(s Span) bool { return !n.less(s.First) && !s.Last.less(n) })
}

func small(first, last uint64) Span { return Span{Number{Low: first}, Number{Low: last}} }
