package iptables

import (
	"fmt"
	"strings"
)

// Spec is a rule as iptables -S prints it, behind its chain.
func (r *Rule) Spec() string {
	var words []string
	add := func(not bool, more ...string) {
		if not {
			words = append(words, "!")
		}
		words = append(words, more...)
	}
	if a := r.Source; a != nil {
		add(a.Not, "-s", a.String())
	}
	if a := r.Destination; a != nil {
		add(a.Not, "-d", a.String())
	}
	if d := r.In; d != nil {
		add(d.Not, "-i", d.Name)
	}
	if d := r.Out; d != nil {
		add(d.Not, "-o", d.Name)
	}
	if p := r.Protocol; p != nil {
		add(p.Not, "-p", p.String())
	}
	if f := r.Fragment; f != nil {
		add(f.Not, "-f")
	}
	for _, m := range r.Matches {
		if name := m.module(); name != "" {
			words = append(words, "-m", name)
		}
		words = append(words, m.words()...)
	}
	return strings.Join(append(words, r.Target.words()...), " ")
}

func (a Address) String() string {
	bits, is := a.Bits()
	if !is {
		return fmt.Sprintf("%s/%s", a.Address, a.Mask)
	}
	return fmt.Sprintf("%s/%d", a.Address, bits)
}

func (p Protocol) String() string {
	for name, number := range protocols {
		if number == p.Number && name != "icmpv6" {
			return name
		}
	}
	return fmt.Sprint(p.Number)
}

func (r Range) String() string {
	if r.From == r.To {
		return fmt.Sprint(r.From)
	}
	return fmt.Sprintf("%d:%d", r.From, r.To)
}

func (r Rate) String() string { return fmt.Sprintf("%d/%s", r.Number, r.Unit) }

func not(is bool, words ...string) []string {
	if is {
		return append([]string{"!"}, words...)
	}
	return words
}

func (m *Ports) module() string { return m.Module }

func (m *Ports) words() []string {
	var words []string
	for _, one := range []struct {
		name string
		of   *PortRange
	}{{"--sport", m.Source}, {"--dport", m.Destination}} {
		// All ports are none in particular.
		if one.of != nil && (one.of.Not || one.of.Range != Range{0, 65535}) {
			words = append(words, not(one.of.Not, one.name, one.of.String())...)
		}
	}
	if f := m.Flags; f != nil {
		words = append(words, not(f.Not, "--tcp-flags", flagsText(f.Mask), flagsText(f.Set))...)
	}
	return words
}

func flagsText(bits uint8) string {
	var names []string
	for at, name := range flagNames {
		if bits&(1<<at) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "NONE"
	}
	return strings.Join(names, ",")
}

func (m *Multiport) module() string { return "multiport" }

func (m *Multiport) words() []string {
	var all []string
	for _, r := range m.Ranges {
		all = append(all, r.String())
	}
	name := map[Side]string{Source: "--sports", Destination: "--dports", Either: "--ports"}[m.Side]
	return not(m.Not, name, strings.Join(all, ","))
}

func (m *ICMP) module() string {
	return map[Family]string{IPv4: "icmp", IPv6: "icmp6"}[m.Family]
}

func (m *ICMP) words() []string {
	option := map[Family]string{IPv4: "--icmp-type", IPv6: "--icmpv6-type"}[m.Family]
	switch {
	case m.Any && m.Family == IPv6:
		return nil
	case m.Any:
		return []string{option, "any"}
	case m.Code == m.LastCode:
		return not(m.Not, option, fmt.Sprintf("%d/%d", m.Type, m.Code))
	}
	return not(m.Not, option, fmt.Sprint(m.Type))
}

func (m *States) module() string { return m.Module }

func (m *States) words() []string {
	if m.Any == 0 {
		return nil
	}
	var names []string
	for at, name := range stateNames {
		if m.Any&(1<<at) != 0 {
			names = append(names, name)
		}
	}
	option := map[string]string{"conntrack": "--ctstate", "state": "--state"}[m.Module]
	return not(m.Not, option, strings.Join(names, ","))
}

func (m *IPRange) module() string { return "iprange" }

func (m *IPRange) words() []string {
	var words []string
	if s := m.Source; s != nil {
		words = append(words, not(s.Not, "--src-range", s.String())...)
	}
	if s := m.Destination; s != nil {
		words = append(words, not(s.Not, "--dst-range", s.String())...)
	}
	return words
}

func (s Span) String() string { return s.From.String() + "-" + s.To.String() }

func (m *Mark) module() string { return "mark" }

func (m *Mark) words() []string {
	text := fmt.Sprintf("0x%x", m.Value)
	if m.Mask != 1<<32-1 {
		text += fmt.Sprintf("/0x%x", m.Mask)
	}
	return not(m.Not, "--mark", text)
}

func (m *SetMatch) module() string { return "set" }

func (m *SetMatch) words() []string {
	var sides []string
	for _, side := range m.Sides {
		sides = append(sides, map[Side]string{Source: "src", Destination: "dst"}[side])
	}
	return not(m.Not, "--match-set", m.Name, strings.Join(sides, ","))
}

func (m *Limit) module() string { return "limit" }

const usualBurst = 5

func (m *Limit) words() []string {
	words := []string{"--limit", m.Rate.String()}
	if m.Burst != usualBurst {
		words = append(words, "--limit-burst", fmt.Sprint(m.Burst))
	}
	return words
}

func (m *HashLimit) module() string { return "hashlimit" }

func (m *HashLimit) words() []string {
	option := map[bool]string{false: "--hashlimit-upto", true: "--hashlimit-above"}[m.Above]
	return append([]string{option, m.Rate, "--hashlimit-burst", fmt.Sprint(m.Burst), "--hashlimit-name", m.Name}, m.Text...)
}

func (m *Comment) module() string  { return "comment" }
func (m *Comment) words() []string { return []string{"--comment", quoted(m.Text)} }

func (m *Other) module() string { return m.Name }

func (m *Other) words() []string {
	var words []string
	for _, text := range m.Text {
		if text == "!" {
			words = append(words, text)
		} else {
			words = append(words, quotedOption(text))
		}
	}
	return words
}

// quotedOption: what iptables itself would not quote is no text of the user's.
func quotedOption(text string) string {
	if strings.ContainsAny(text, " \t\"'\\") || text == "" {
		return quoted(text)
	}
	return text
}

func (t Target) words() []string {
	if t.Name == "" {
		return nil
	}
	words := []string{"-j", t.Name}
	if t.Goto {
		words[0] = "-g"
	}
	switch {
	case t.Reject != "":
		words = append(words, "--reject-with", t.Reject)
	case t.Log != nil:
		if t.Log.Prefix != "" {
			words = append(words, "--log-prefix", quoted(t.Log.Prefix))
		}
		if t.Log.Level != 4 {
			words = append(words, "--log-level", fmt.Sprint(t.Log.Level))
		}
		words = append(words, t.Log.Options...)
	case t.Name == "MARK":
		words = append(words, "--set-xmark", fmt.Sprintf("0x%x/0x%x", t.MarkValue, t.MarkMask))
	}
	for _, text := range t.Text {
		words = append(words, quotedOption(text))
	}
	return words
}
