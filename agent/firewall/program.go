package firewall

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"

	"flipflap.local/agent/iptables"
)

// Field is what an entry says of a packet by ranges of a number.
type Field int

const (
	FieldSource Field = iota
	FieldDestination
	FieldProtocol
	// Of ICMP: nothing.
	FieldSourcePort
	// Of ICMP: its type and code.
	FieldDestinationPort
	FieldFlags
	// The connection's state, and whether the packet is a later fragment.
	FieldState
	FieldIn
	FieldOut
	fieldCount
)

// Action is what an entry does with a packet that it matches.
type Action int

const (
	// Count: it goes on with the next entry.
	Count Action = iota
	Log
	Mark
	Accept
	Drop
	Reject
	// Skip: it goes on with the entry To.
	Skip
)

// Entry is a rule with all that led to it: entries are looked at in their order, and jump forwards only.
type Entry struct {
	Rule *iptables.Rule
	// Of each field; nil: all that there is.
	Ranges [fieldCount]Ranges
	// What is asked of a packet that the ranges match.
	Checks []iptables.Match
	Action Action
	// Skip: where to.
	To int
	// Where a packet goes on that the checks refuse.
	Else int
	// It stands for a rule: that one's counters count. Others are of the rule's own way.
	Counts bool
}

// Program is a chain and all that it leads to.
type Program struct {
	Family  iptables.Family
	Entries []Entry
	Accept  bool // the chain's policy
	// What the numbers of FieldIn and FieldOut are called; 0 is any other.
	Devices []string
}

// mostEntries: chains that are jumped to from many places are as many times in the program.
const mostEntries = 1 << 20

// Compile makes a program of a chain whose rules have nothing foreign.
func Compile(t *iptables.Table, chain string, devices []string) (*Program, error) {
	c := compiler{table: t, program: &Program{Family: t.Family, Devices: devices, Accept: t.Chain(chain).Policy == "ACCEPT"}}
	if err := c.chain(t.Chain(chain), [fieldCount]Ranges{}); err != nil {
		return nil, err
	}
	return c.program, nil
}

type compiler struct {
	table   *iptables.Table
	program *Program
}

// chain appends the entries of a chain for packets that are within ranges. What comes back goes on behind them.
func (c *compiler) chain(chain *iptables.Chain, within [fieldCount]Ranges) error {
	var returns []int
	for _, r := range chain.Rules {
		stages, err := c.stagesOf(r)
		if err != nil {
			return err
		}
		var gates []int
		for i, one := range stages {
			for _, own := range one.alternatives {
				both, isEmpty := intersected(within, own)
				if isEmpty {
					continue
				}
				if i < len(stages)-1 {
					gate, err := c.add(Entry{Rule: r, Ranges: both, Checks: one.checks})
					if err != nil {
						return err
					}
					gates = append(gates, gate)
					continue
				}
				back, err := c.rule(r, both, one.checks)
				if err != nil {
					return err
				}
				returns = append(returns, back...)
			}
		}
		for _, gate := range gates {
			c.program.Entries[gate].Else = len(c.program.Entries)
		}
	}
	for _, at := range returns {
		c.program.Entries[at].To = len(c.program.Entries)
	}
	return nil
}

func (c *compiler) add(e Entry) (int, error) {
	if len(c.program.Entries) == mostEntries {
		return 0, fmt.Errorf("line %d: with all their jumps the rules are more than %d: jump to long chains from fewer places", e.Rule.Line, mostEntries)
	}
	at := len(c.program.Entries)
	e.Else = at + 1
	c.program.Entries = append(c.program.Entries, e)
	return at, nil
}

// rule appends what a rule comes to; it gives the entries that skip to the chain's end.
func (c *compiler) rule(r *iptables.Rule, ranges [fieldCount]Ranges, checks []iptables.Match) ([]int, error) {
	e := Entry{Rule: r, Ranges: ranges, Checks: checks, Counts: true}
	switch r.Target.Name {
	case "":
		e.Action = Count
	case "LOG":
		e.Action = Log
	case "MARK":
		e.Action = Mark
	case "ACCEPT":
		e.Action = Accept
	case "DROP":
		e.Action = Drop
	case "REJECT":
		e.Action = Reject
	case "RETURN":
		e.Action = Skip
		at, err := c.add(e)
		return []int{at}, err
	default:
		gate, err := c.add(e)
		if err != nil {
			return nil, err
		}
		if err := c.chain(c.table.Chain(r.Target.Name), ranges); err != nil {
			return nil, err
		}
		var returns []int
		if r.Target.Goto {
			at, err := c.add(Entry{Rule: r, Ranges: ranges, Action: Skip})
			if err != nil {
				return nil, err
			}
			returns = []int{at}
		}
		c.program.Entries[gate].Else = len(c.program.Entries)
		return returns, nil
	}
	_, err := c.add(e)
	return nil, err
}

func intersected(a, b [fieldCount]Ranges) ([fieldCount]Ranges, bool) {
	var both [fieldCount]Ranges
	for f := range both {
		switch {
		case a[f] == nil:
			both[f] = b[f]
		case b[f] == nil:
			both[f] = a[f]
		default:
			both[f] = a[f].and(b[f])
		}
		if both[f] != nil && len(both[f]) == 0 {
			return both, true
		}
	}
	return both, false
}

// Number is of a field: of up to 128 bits.
type Number struct{ High, Low uint64 }

func (n Number) less(o Number) bool { return n.High < o.High || n.High == o.High && n.Low < o.Low }

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
	slices.SortFunc(sorted, func(a, b Span) int {
		if a.First.less(b.First) {
			return -1
		}
		return 1
	})
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

// most is a field's greatest number.
func (f Field) most(family iptables.Family) Number {
	switch f {
	case FieldSource, FieldDestination:
		if family == iptables.IPv6 {
			return Number{^uint64(0), ^uint64(0)}
		}
		return Number{Low: 1<<32 - 1}
	case FieldSourcePort, FieldDestinationPort:
		return Number{Low: 1<<16 - 1}
	}
	return Number{Low: 1<<8 - 1}
}

// The numbers of FieldState: the state's bit by its place, and laterFragment.
const laterFragment = 8

// numbers gives a packet's fields.
func (p *Program) numbers(of *Packet) [fieldCount]Number {
	var n [fieldCount]Number
	n[FieldSource], n[FieldDestination] = numberOf(of.Source), numberOf(of.Destination)
	n[FieldProtocol].Low = uint64(of.Protocol)
	switch {
	case of.hasPorts():
		n[FieldSourcePort].Low, n[FieldDestinationPort].Low = uint64(of.SourcePort), uint64(of.DestinationPort)
		if of.Protocol == 6 {
			n[FieldFlags].Low = uint64(of.TCPFlags)
		}
	case of.isICMP():
		n[FieldDestinationPort].Low = uint64(of.Type)<<8 | uint64(of.Code)
	}
	for state := of.State; state > 1; state >>= 1 {
		n[FieldState].Low++
	}
	if of.IsLaterFragment {
		n[FieldState].Low |= laterFragment
	}
	n[FieldIn].Low, n[FieldOut].Low = p.device(of.In), p.device(of.Out)
	return n
}

func (p *Program) device(name string) uint64 { return uint64(slices.Index(p.Devices, name) + 1) }

// isPrefixMask: others do not make ranges.
func maskedRanges(a iptables.Address) (Ranges, error) {
	bits, is := a.Bits()
	if !is {
		return nil, fmt.Errorf("the mask %s is none of a prefix", a.Mask)
	}
	prefix := netip.PrefixFrom(a.Address, bits)
	first := numberOf(prefix.Addr())
	size := new(big.Int).Lsh(big.NewInt(1), uint(a.Address.BitLen()-bits))
	last := first
	rest := size.Sub(size, big.NewInt(1))
	low := new(big.Int).And(rest, new(big.Int).SetUint64(^uint64(0))).Uint64()
	last.Low |= low
	last.High |= new(big.Int).Rsh(rest, 64).Uint64()
	return Ranges{{first, last}}, nil
}

// stage is what a rule says by ranges, as alternatives, and what is asked of a packet then. A limit counts what comes to it: what stands
// behind it in the rule is a stage of its own.
type stage struct {
	alternatives [][fieldCount]Ranges
	checks       []iptables.Match
}

func (c *compiler) stagesOf(r *iptables.Rule) ([]stage, error) {
	family := c.table.Family
	own := [fieldCount]Ranges{}
	var checks []iptables.Match
	var stages []stage
	alternatives := [][fieldCount]Ranges{{}}
	end := func() {
		var all [][fieldCount]Ranges
		for _, one := range alternatives {
			if both, isEmpty := intersected(own, one); !isEmpty {
				all = append(all, both)
			}
		}
		stages = append(stages, stage{all, checks})
		checks = nil
	}
	with := func(f Field, ranges Ranges, not bool) {
		if not {
			ranges = ranges.not(f.most(family))
		}
		if own[f] != nil {
			ranges = own[f].and(ranges)
		}
		own[f] = ranges
	}
	for _, side := range []struct {
		field Field
		of    *iptables.Address
	}{{FieldSource, r.Source}, {FieldDestination, r.Destination}} {
		if side.of == nil {
			continue
		}
		ranges, err := maskedRanges(*side.of)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", r.Line, err)
		}
		with(side.field, ranges, side.of.Not)
	}
	for _, side := range []struct {
		field Field
		of    *iptables.Device
	}{{FieldIn, r.In}, {FieldOut, r.Out}} {
		if side.of != nil {
			with(side.field, c.devices(*side.of), side.of.Not)
		}
	}
	if p := r.Protocol; p != nil {
		with(FieldProtocol, Ranges{small(uint64(p.Number), uint64(p.Number))}, p.Not)
	}
	later := Ranges{small(laterFragment, 255)}
	if r.Fragment != nil {
		with(FieldState, later, r.Fragment.Not)
	}
	for _, m := range r.Matches {
		if len(checks) > 0 && !isCheck(m) {
			end()
		}
		switch m := m.(type) {
		case *iptables.Ports:
			with(FieldState, later, true)
			for _, side := range []struct {
				field Field
				of    *iptables.PortRange
			}{{FieldSourcePort, m.Source}, {FieldDestinationPort, m.Destination}} {
				if side.of != nil {
					with(side.field, Ranges{small(uint64(side.of.From), uint64(side.of.To))}, side.of.Not)
				}
			}
			if m.Flags != nil {
				with(FieldFlags, flagRanges(*m.Flags), false)
			}
		case *iptables.Multiport:
			with(FieldState, later, true)
			ranges := portRanges(m.Ranges)
			switch {
			case m.Side == iptables.Source:
				with(FieldSourcePort, ranges, m.Not)
			case m.Side == iptables.Destination:
				with(FieldDestinationPort, ranges, m.Not)
			case m.Not: // neither
				with(FieldSourcePort, ranges, true)
				with(FieldDestinationPort, ranges, true)
			default: // the one, or else the other
				var next [][fieldCount]Ranges
				for _, one := range alternatives {
					var first, second [fieldCount]Ranges
					first[FieldSourcePort] = ranges
					second[FieldSourcePort], second[FieldDestinationPort] = ranges.not(FieldSourcePort.most(family)), ranges
					for _, more := range [][fieldCount]Ranges{first, second} {
						if both, isEmpty := intersected(one, more); !isEmpty {
							next = append(next, both)
						}
					}
				}
				alternatives = next
			}
		case *iptables.ICMP:
			with(FieldState, later, true)
			if !m.Any {
				with(FieldDestinationPort, Ranges{small(uint64(m.Type)<<8|uint64(m.Code), uint64(m.Type)<<8|uint64(m.LastCode))}, m.Not)
			}
		case *iptables.States:
			with(FieldState, stateRanges(m.Any), m.Not)
		case *iptables.IPRange:
			if s := m.Source; s != nil {
				with(FieldSource, Ranges{{numberOf(s.From), numberOf(s.To)}}, s.Not)
			}
			if s := m.Destination; s != nil {
				with(FieldDestination, Ranges{{numberOf(s.From), numberOf(s.To)}}, s.Not)
			}
		case *iptables.Comment:
		default:
			checks = append(checks, m)
		}
	}
	end()
	return stages, nil
}

// isCheck: nothing that stands behind it changes what it is asked of.
func isCheck(m iptables.Match) bool {
	switch m.(type) {
	case *iptables.Ports, *iptables.Multiport, *iptables.ICMP, *iptables.States, *iptables.IPRange:
		return false
	}
	return true
}

func (c *compiler) devices(d iptables.Device) Ranges {
	var spans []Span
	for at, name := range c.program.Devices {
		begin, isBegin := strings.CutSuffix(d.Name, "+")
		if isBegin && strings.HasPrefix(name, begin) || name == d.Name {
			spans = append(spans, small(uint64(at)+1, uint64(at)+1))
		}
	}
	return rangesOf(spans)
}

func portRanges(ranges []iptables.Range) Ranges {
	var spans []Span
	for _, r := range ranges {
		spans = append(spans, small(uint64(r.From), uint64(r.To)))
	}
	return rangesOf(spans)
}

func flagRanges(f iptables.Flags) Ranges {
	var spans []Span
	for flags := range uint64(256) {
		if (uint8(flags)&f.Mask == f.Set) != f.Not {
			spans = append(spans, small(flags, flags))
		}
	}
	return rangesOf(spans)
}

func stateRanges(any iptables.State) Ranges {
	var spans []Span
	for at := range uint64(laterFragment) {
		if any&(1<<at) != 0 {
			spans = append(spans, small(at, at), small(at|laterFragment, at|laterFragment))
		}
	}
	return rangesOf(spans)
}

// Judge runs a packet through the program, entry by entry: what an index finds faster is this.
func (p *Program) Judge(of Packet, first func(from int, numbers *[fieldCount]Number) int, passes Passes, matched func(*iptables.Rule)) Verdict {
	numbers := p.numbers(&of)
	for at := first(0, &numbers); at < len(p.Entries); {
		e := &p.Entries[at]
		next := at + 1
		switch {
		case slices.ContainsFunc(e.Checks, func(m iptables.Match) bool { return !asked(m, &of, passes) }):
			next = e.Else
		default:
			if e.Counts {
				matched(e.Rule)
			}
			switch e.Action {
			case Mark:
				of.Mark = of.Mark&^e.Rule.Target.MarkMask ^ e.Rule.Target.MarkValue
			case Accept:
				return Verdict{true, e.Rule}
			case Drop, Reject:
				return Verdict{false, e.Rule}
			case Skip:
				next = e.To
			}
		}
		at = first(next, &numbers)
	}
	return Verdict{Accept: p.Accept}
}

func asked(m iptables.Match, p *Packet, passes Passes) bool {
	if mark, is := m.(*iptables.Mark); is {
		return (p.Mark&mark.Mask == mark.Value) != mark.Not
	}
	return passes(m)
}

// First finds an entry by looking at each.
func (p *Program) First(from int, numbers *[fieldCount]Number) int {
	for at := from; at < len(p.Entries); at++ {
		is := true
		for f, ranges := range p.Entries[at].Ranges {
			is = is && ranges.has(numbers[f])
		}
		if is {
			return at
		}
	}
	return len(p.Entries)
}
