package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"flipflap.local/agent/iptables"
)

// Entry is a rule with all that led to it: entries are looked at in their order, and jump forwards only.
type Entry struct {
	Rule *iptables.Rule
	// Of each field; nil: all that there is.
	Ranges [fieldFields]Ranges
	// What is asked of a packet that the ranges match; nil: nothing.
	Check  iptables.Match
	Action action
	// Skip: where to.
	To int
	// Where a packet goes on that the check refuses.
	Else int
	// It stands for a rule: that one's counters count. Others are of the rule's own way.
	Counts bool
}

// Program is a chain and all that it leads to.
type Program struct {
	Family  iptables.Family
	Entries []Entry
	Accept  bool // the chain's policy
	// What the numbers of fieldIn and fieldOut are called; 0 is any other.
	Devices []string
}

// mostEntries: chains that are jumped to from many places are as many times in the program.
const mostEntries = 1 << 20

// Compile makes a program of a chain whose rules have nothing foreign.
func Compile(t *iptables.Table, chain string, devices []string) (*Program, error) {
	c := compiler{table: t, program: &Program{Family: t.Family, Devices: devices, Accept: t.Chain(chain).Policy == "ACCEPT"}}
	if err := c.chain(t.Chain(chain), [fieldFields]Ranges{}); err != nil {
		return nil, err
	}
	return c.program, nil
}

// LineError is of a rule that cannot be compiled.
type LineError struct {
	Line int
	Why  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Why) }

type compiler struct {
	table   *iptables.Table
	program *Program
}

// chain appends the entries of a chain for packets that are within ranges. What comes back goes on behind them.
func (c *compiler) chain(chain *iptables.Chain, within [fieldFields]Ranges) error {
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
					gate, err := c.add(Entry{Rule: r, Ranges: both, Check: one.check})
					if err != nil {
						return err
					}
					gates = append(gates, gate)
					continue
				}
				back, err := c.rule(r, both, one.check)
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
		return 0, &LineError{e.Rule.Line, fmt.Errorf("with all their jumps the rules are more than %d: jump to long chains from fewer places", mostEntries)}
	}
	at := len(c.program.Entries)
	e.Else = at + 1
	c.program.Entries = append(c.program.Entries, e)
	return at, nil
}

// What targets come to; others are chains.
var actions = map[string]action{
	"": actionCount, "LOG": actionLog, "MARK": actionMark, "ACCEPT": actionAccept, "DROP": actionDrop, "REJECT": actionReject, "RETURN": actionSkip,
}

// rule appends what a rule comes to; it gives the entries that skip to the chain's end.
func (c *compiler) rule(r *iptables.Rule, ranges [fieldFields]Ranges, check iptables.Match) ([]int, error) {
	e := Entry{Rule: r, Ranges: ranges, Check: check, Counts: true}
	action, isVerdict := actions[r.Target.Name]
	e.Action = action
	switch {
	case action == actionSkip:
		at, err := c.add(e)
		return []int{at}, err
	case !isVerdict: // a chain
		gate, err := c.add(e)
		if err != nil {
			return nil, err
		}
		if err := c.chain(c.table.Chain(r.Target.Name), ranges); err != nil {
			return nil, err
		}
		var returns []int
		if r.Target.Goto {
			at, err := c.add(Entry{Rule: r, Ranges: ranges, Action: actionSkip})
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

func intersected(a, b [fieldFields]Ranges) ([fieldFields]Ranges, bool) {
	var both [fieldFields]Ranges
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

// most is a field's greatest number.
func (f field) most(family iptables.Family) Number {
	switch f {
	case fieldSource, fieldDestination:
		if family == iptables.IPv6 {
			return Number{^uint64(0), ^uint64(0)}
		}
		return Number{Low: 1<<32 - 1}
	case fieldSourcePort, fieldDestinationPort:
		return Number{Low: 1<<16 - 1}
	}
	return Number{Low: 1<<8 - 1}
}

// numbers gives a packet's fields.
func (p *Program) numbers(of *Packet) [fieldFields]Number {
	var n [fieldFields]Number
	n[fieldSource], n[fieldDestination] = numberOf(of.Source), numberOf(of.Destination)
	n[fieldProtocol].Low = uint64(of.Protocol)
	switch {
	case of.hasPorts():
		n[fieldSourcePort].Low, n[fieldDestinationPort].Low = uint64(of.SourcePort), uint64(of.DestinationPort)
		if of.Protocol == 6 {
			n[fieldFlags].Low = uint64(of.TCPFlags)
		}
	case of.isICMP():
		n[fieldDestinationPort].Low = uint64(of.Type)<<8 | uint64(of.Code)
	}
	for state := of.State; state > 1; state >>= 1 {
		n[fieldState].Low++
	}
	if of.IsLaterFragment {
		n[fieldState].Low |= uint64(stateLaterFragment)
	}
	n[fieldIn].Low, n[fieldOut].Low = p.device(of.In), p.device(of.Out)
	return n
}

func (p *Program) device(name string) uint64 { return uint64(slices.Index(p.Devices, name) + 1) }

// addressRanges is of an address whose mask is a prefix's.
func addressRanges(a iptables.Address) (Ranges, error) {
	if _, is := a.Bits(); !is {
		return nil, fmt.Errorf("the mask %s is none of a prefix", a.Mask)
	}
	last := a.Address.AsSlice()
	for i := range last {
		last[i] |= ^a.Mask.AsSlice()[i]
	}
	end, _ := netip.AddrFromSlice(last)
	return Ranges{{numberOf(a.Address), numberOf(end)}}, nil
}

// stage is what a rule says by ranges, as alternatives, and what is asked of a packet then. A limit counts what comes to it: what stands
// behind it in the rule is a stage of its own.
type stage struct {
	alternatives [][fieldFields]Ranges
	check        iptables.Match
}

func (c *compiler) stagesOf(r *iptables.Rule) ([]stage, error) {
	family := c.table.Family
	own := [fieldFields]Ranges{}
	var check iptables.Match
	var stages []stage
	alternatives := [][fieldFields]Ranges{{}}
	end := func() {
		var all [][fieldFields]Ranges
		for _, one := range alternatives {
			if both, isEmpty := intersected(own, one); !isEmpty {
				all = append(all, both)
			}
		}
		stages = append(stages, stage{all, check})
		check = nil
	}
	with := func(f field, ranges Ranges, not bool) {
		if not {
			ranges = ranges.not(f.most(family))
		}
		if own[f] != nil {
			ranges = own[f].and(ranges)
		}
		own[f] = ranges
	}
	for _, side := range []struct {
		field field
		of    *iptables.Address
	}{{fieldSource, r.Source}, {fieldDestination, r.Destination}} {
		if side.of == nil {
			continue
		}
		ranges, err := addressRanges(*side.of)
		if err != nil {
			return nil, &LineError{r.Line, err}
		}
		with(side.field, ranges, side.of.Not)
	}
	for _, side := range []struct {
		field field
		of    *iptables.Device
	}{{fieldIn, r.In}, {fieldOut, r.Out}} {
		if side.of != nil {
			with(side.field, c.devices(*side.of), side.of.Not)
		}
	}
	if p := r.Protocol; p != nil {
		with(fieldProtocol, Ranges{small(uint64(p.Number), uint64(p.Number))}, p.Not)
	}
	later := Ranges{small(uint64(stateLaterFragment), 255)}
	if r.Fragment != nil {
		with(fieldState, later, r.Fragment.Not)
	}
	for _, m := range r.Matches {
		if _, isNothing := m.(*iptables.Comment); check != nil && !isNothing {
			end()
		}
		switch m := m.(type) {
		case *iptables.Ports:
			with(fieldState, later, true)
			for _, side := range []struct {
				field field
				of    *iptables.PortRange
			}{{fieldSourcePort, m.Source}, {fieldDestinationPort, m.Destination}} {
				if side.of != nil {
					with(side.field, Ranges{small(uint64(side.of.From), uint64(side.of.To))}, side.of.Not)
				}
			}
			if m.Flags != nil {
				with(fieldFlags, flagRanges(*m.Flags), false)
			}
		case *iptables.Multiport:
			with(fieldState, later, true)
			ranges := portRanges(m.Ranges)
			switch {
			case m.Side == iptables.Source:
				with(fieldSourcePort, ranges, m.Not)
			case m.Side == iptables.Destination:
				with(fieldDestinationPort, ranges, m.Not)
			case m.Not: // neither
				with(fieldSourcePort, ranges, true)
				with(fieldDestinationPort, ranges, true)
			default: // the one, or else the other
				var next [][fieldFields]Ranges
				for _, one := range alternatives {
					var first, second [fieldFields]Ranges
					first[fieldSourcePort] = ranges
					second[fieldSourcePort], second[fieldDestinationPort] = ranges.not(fieldSourcePort.most(family)), ranges
					next = append(next, crossed([][fieldFields]Ranges{one}, [][fieldFields]Ranges{first, second})...)
				}
				alternatives = next
			}
		case *iptables.ICMP:
			with(fieldState, later, true)
			if !m.Any {
				with(fieldDestinationPort, Ranges{small(uint64(m.Type)<<8|uint64(m.Code), uint64(m.Type)<<8|uint64(m.LastCode))}, m.Not)
			}
		case *iptables.States:
			with(fieldState, stateRanges(m.Any), m.Not)
		case *iptables.IPRange:
			if s := m.Source; s != nil {
				with(fieldSource, Ranges{{numberOf(s.From), numberOf(s.To)}}, s.Not)
			}
			if s := m.Destination; s != nil {
				with(fieldDestination, Ranges{{numberOf(s.From), numberOf(s.To)}}, s.Not)
			}
		case *iptables.SetMatch:
			if !m.Set.HasPorts {
				with(fieldOf(m.Sides[0], fieldSource), addressesOfSet(m.Set.Members, family), m.Not)
				break
			}
			with(fieldState, later, true)
			alternatives = crossed(alternatives, portedAlternatives(m, family))
		case *iptables.Comment:
		default:
			check = m
		}
	}
	end()
	return stages, nil
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
	for at := range uint64(uint64(stateLaterFragment)) {
		if any&(1<<at) != 0 {
			spans = append(spans, small(at, at), small(at|uint64(stateLaterFragment), at|uint64(stateLaterFragment)))
		}
	}
	return rangesOf(spans)
}

// Judge runs a packet through the program, entry by entry: what an index finds faster is this.
func (p *Program) Judge(of Packet, first func(from int, numbers *[fieldFields]Number) int, passes Passes, matched func(*iptables.Rule)) Verdict {
	numbers := p.numbers(&of)
	for at := first(0, &numbers); at < len(p.Entries); {
		e := &p.Entries[at]
		next := at + 1
		switch {
		case e.Check != nil && !isPassed(e.Check, &of, passes):
			next = e.Else
		default:
			if e.Counts {
				matched(e.Rule)
			}
			switch e.Action {
			case actionMark:
				of.Mark = of.Mark&^e.Rule.Target.MarkMask ^ e.Rule.Target.MarkValue
			case actionAccept:
				return Verdict{true, e.Rule}
			case actionDrop, actionReject:
				return Verdict{false, e.Rule}
			case actionSkip:
				next = e.To
			}
		}
		at = first(next, &numbers)
	}
	return Verdict{Accept: p.Accept}
}

func isPassed(m iptables.Match, p *Packet, passes Passes) bool {
	if mark, is := m.(*iptables.Mark); is {
		return (p.Mark&mark.Mask == mark.Value) != mark.Not
	}
	return passes(m)
}

// First finds an entry by looking at each.
func (p *Program) First(from int, numbers *[fieldFields]Number) int {
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
