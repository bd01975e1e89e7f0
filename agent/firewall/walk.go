package firewall

import (
	"net/netip"
	"slices"
	"strings"

	"flipflap.local/agent/iptables"
)

// Verdict is what becomes of a packet.
type Verdict struct {
	Accept bool
	// The rule that has decided; nil: the chain's policy.
	Rule *iptables.Rule
}

// Passes asks what only time and what came before tell: a limit. True where nothing but the packet counts.
type Passes func(iptables.Match) bool

// Walk follows a packet through the chains rule by rule, as the kernel's own tables do, and tells each rule that matches.
func Walk(t *iptables.Table, chain string, p Packet, passes Passes, matched func(*iptables.Rule)) Verdict {
	w := walker{table: t, passes: passes, matched: matched}
	first := t.Chain(chain)
	if v, decided := w.chain(first, &p); decided {
		return v
	}
	return Verdict{Accept: first.Policy == "ACCEPT"}
}

type walker struct {
	table   *iptables.Table
	passes  Passes
	matched func(*iptables.Rule)
}

// chain gives no verdict where the packet comes back from it.
func (w *walker) chain(c *iptables.Chain, p *Packet) (Verdict, bool) {
	for _, r := range c.Rules {
		if !w.matches(r, p) {
			continue
		}
		w.matched(r)
		switch name := r.Target.Name; name {
		case "", "LOG":
		case "MARK":
			p.Mark = p.Mark&^r.Target.MarkMask ^ r.Target.MarkValue
		case "ACCEPT":
			return Verdict{true, r}, true
		case "DROP", "REJECT":
			return Verdict{false, r}, true
		case "RETURN":
			return Verdict{}, false
		default:
			if v, decided := w.chain(w.table.Chain(name), p); decided {
				return v, true
			}
			if r.Target.Goto {
				return Verdict{}, false
			}
		}
	}
	return Verdict{}, false
}

func (w *walker) matches(r *iptables.Rule, p *Packet) bool {
	if !hasAddress(r.Source, p.Source) || !hasAddress(r.Destination, p.Destination) || !hasDevice(r.In, p.In) || !hasDevice(r.Out, p.Out) {
		return false
	}
	if r.Protocol != nil && (r.Protocol.Number == p.Protocol) == r.Protocol.Not {
		return false
	}
	if r.Fragment != nil && p.IsLaterFragment == r.Fragment.Not {
		return false
	}
	return !slices.ContainsFunc(r.Matches, func(m iptables.Match) bool { return !w.has(m, p) })
}

func hasAddress(a *iptables.Address, ip netip.Addr) bool {
	if a == nil {
		return true
	}
	bytes, mask, want := ip.AsSlice(), a.Mask.AsSlice(), a.Address.AsSlice()
	is := true
	for i := range bytes {
		is = is && bytes[i]&mask[i] == want[i]
	}
	return is != a.Not
}

func hasDevice(d *iptables.Device, name string) bool {
	if d == nil {
		return true
	}
	begin, isBegin := strings.CutSuffix(d.Name, "+")
	return (isBegin && strings.HasPrefix(name, begin) || name == d.Name) != d.Not
}

func hasPort(r *iptables.PortRange, port uint16) bool {
	return r == nil || (r.From <= port && port <= r.To) != r.Not
}

func hasSpan(s *iptables.Span, ip netip.Addr) bool {
	return s == nil || (!ip.Less(s.From) && !s.To.Less(ip)) != s.Not
}

func (w *walker) has(m iptables.Match, p *Packet) bool {
	switch m := m.(type) {
	case *iptables.Ports:
		if !p.hasPorts() || !hasPort(m.Source, p.SourcePort) || !hasPort(m.Destination, p.DestinationPort) {
			return false
		}
		return m.Flags == nil || (p.TCPFlags&m.Flags.Mask == m.Flags.Set) != m.Flags.Not
	case *iptables.Multiport:
		if !p.hasPorts() {
			return false
		}
		in := func(port uint16) bool {
			return slices.ContainsFunc(m.Ranges, func(r iptables.Range) bool { return r.From <= port && port <= r.To })
		}
		is := m.Side != iptables.Destination && in(p.SourcePort) || m.Side != iptables.Source && in(p.DestinationPort)
		return is != m.Not
	case *iptables.ICMP:
		return p.isICMP() && (m.Any || (p.Type == m.Type && m.Code <= p.Code && p.Code <= m.LastCode) != m.Not)
	case *iptables.States:
		return (m.Any&p.State != 0) != m.Not
	case *iptables.IPRange:
		return hasSpan(m.Source, p.Source) && hasSpan(m.Destination, p.Destination)
	case *iptables.Mark:
		return (p.Mark&m.Mask == m.Value) != m.Not
	case *iptables.SetMatch:
		return isInSet(m, p) != m.Not
	case *iptables.Comment:
		return true
	}
	return w.passes(m)
}

// isInSet: the longest prefix decides.
func isInSet(m *iptables.SetMatch, p *Packet) bool {
	if m.Set.HasPorts && !p.hasPorts() {
		return false
	}
	address, port := p.Source, p.SourcePort
	if m.Sides[0] == iptables.Destination {
		address = p.Destination
	}
	if m.Set.HasPorts && m.Sides[1] == iptables.Destination {
		port = p.DestinationPort
	}
	is, bits := false, -2
	for _, one := range m.Set.Members {
		if address.Less(one.From) || one.To.Less(address) || one.Bits < bits {
			continue
		}
		if m.Set.HasPorts && (p.Protocol != one.Protocol || port < one.Ports.From || one.Ports.To < port) {
			continue
		}
		is, bits = !one.Not, one.Bits
	}
	return is
}
