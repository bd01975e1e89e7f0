package iptables

import (
	"net/netip"
	"strconv"
	"strings"
)

// IPSet is a set of ipset's: what a file says of it in ipset's own words.
type IPSet struct {
	Name   string
	Family Family
	// Members have a protocol and a port beside their addresses.
	HasPorts bool
	Members  []Member

	hasSpans, hasNot bool
}

// Member is of a set.
type Member struct {
	From, To netip.Addr
	// Of the prefix that it is; -1: it is none.
	Bits int
	// What is in it is not in the set, though a larger prefix says so.
	Not      bool
	Protocol uint8
	Ports    Range
}

// What members are, by the type of a set.
var setTypes = map[string]bool{"hash:ip": false, "hash:net": false, "bitmap:ip": false, "hash:ip,port": true, "hash:net,port": true}

const setTypesText = "hash:ip, hash:net, bitmap:ip, hash:ip,port, hash:net,port"

// What a create or an add may say beside, and whether a word follows.
var setOptions = map[string]bool{
	"hashsize": true, "maxelem": true, "bucketsize": true, "initval": true, "range": true, "counters": false, "comment": false, "skbinfo": false, "forceadd": false,
	"-exist": false, "-!": false,
}
var memberOptions = map[string]bool{
	"comment": true, "packets": true, "bytes": true, "skbmark": true, "skbprio": true, "skbqueue": true, "-exist": false, "-!": false,
}

// Set gives one by its name; nil where there is none.
func (s *Set) Set(name string) *IPSet {
	for _, one := range s.Sets {
		if one.Name == name {
			return one
		}
	}
	return nil
}

// setCommand reads "create NAME TYPE ..." and "add NAME MEMBER ...".
func (p *parser) setCommand(words []word) {
	if len(words) < 3 {
		p.at(words[0].column, "write it as ipset save prints it: create NAME hash:net, add NAME 10.0.0.0/8", "%s says too little", words[0].text)
		return
	}
	switch words[0].text {
	case "create", "-N":
		p.createSet(words[1], words[2], words[3:])
	case "add", "-A":
		p.addMember(words[1], words[2], words[3:])
	default:
		p.at(words[0].column, "of ipset's commands create and add are read", "%q changes no set here", words[0].text)
	}
}

func (p *parser) createSet(name, kind word, options []word) {
	hasPorts, is := setTypes[kind.text]
	if !is {
		p.at(kind.column, "write rules of its members, or one of "+setTypesText, "sets of type %s are not held", kind.text)
		return
	}
	if p.set.Set(name.text) != nil {
		p.at(name.column, "create it once", "there is a set %s already", name.text)
		return
	}
	set := &IPSet{Name: name.text, Family: IPv4, HasPorts: hasPorts}
	for at := 0; at < len(options); at++ {
		switch text := options[at].text; {
		case text == "family" && at+1 < len(options):
			at++
			if options[at].text == "inet6" {
				set.Family = IPv6
			}
		case text == "timeout":
			p.at(options[at].column, "create it without", "members that end by themselves are not held")
			return
		default:
			hasWord, is := setOptions[text]
			if !is {
				p.at(options[at].column, "create it without", "%q of a set is not held", text)
				return
			}
			if hasWord {
				at++
			}
		}
	}
	p.set.Sets = append(p.set.Sets, set)
}

func (p *parser) addMember(name, entry word, options []word) {
	set := p.set.Set(name.text)
	if set == nil {
		p.at(name.column, "create it before: create "+name.text+" hash:net", "there is no set %s", name.text)
		return
	}
	member, ok := p.member(set, entry)
	if !ok {
		return
	}
	for at := 0; at < len(options); at++ {
		switch text := options[at].text; {
		case text == "nomatch" && !set.HasPorts && member.Bits >= 0:
			member.Not = true
		default:
			hasWord, is := memberOptions[text]
			if !is {
				p.at(options[at].column, "add it without", "%q of a member is not held", text)
				return
			}
			if hasWord {
				at++
			}
		}
	}
	set.hasSpans, set.hasNot = set.hasSpans || member.Bits < 0, set.hasNot || member.Not
	if set.hasSpans && set.hasNot {
		p.at(entry.column, "write its prefixes", "a range and nomatch in one set are not held")
		return
	}
	set.Members = append(set.Members, member)
}

func (p *parser) member(set *IPSet, entry word) (Member, bool) {
	wrong := func(what string) (Member, bool) {
		fix := "write it like " + map[Family]string{IPv4: "10.0.0.0/24", IPv6: "fd00::/64"}[set.Family]
		if set.HasPorts {
			fix += ",tcp:80"
		}
		p.at(entry.column, fix, "%q %s", entry.text, what)
		return Member{}, false
	}
	addresses, port, hasPort := strings.Cut(entry.text, ",")
	if hasPort != set.HasPorts {
		return wrong("is no member of " + set.Name)
	}
	m := Member{Bits: -1}
	from, to, isSpan := strings.Cut(addresses, "-")
	var err error
	switch {
	case isSpan:
		m.From, err = netip.ParseAddr(from)
		if err == nil {
			m.To, err = netip.ParseAddr(to)
		}
	case strings.Contains(addresses, "/"):
		var prefix netip.Prefix
		if prefix, err = netip.ParsePrefix(addresses); err == nil {
			m.From, m.To, m.Bits = prefix.Masked().Addr(), lastOfPrefix(prefix), prefix.Bits()
		}
	default:
		m.From, err = netip.ParseAddr(addresses)
		m.To, m.Bits = m.From, m.From.BitLen()
	}
	if err != nil || m.To.Less(m.From) || m.From.Is4() != m.To.Is4() || m.From.Zone() != "" {
		return wrong("is no address")
	}
	if m.From.Is4() != (set.Family == IPv4) {
		return wrong("is of the other family than " + set.Name)
	}
	if !hasPort {
		return m, true
	}
	protocol, number, hasProtocol := strings.Cut(port, ":")
	if !hasProtocol {
		protocol, number = "tcp", port
	}
	known, is := map[string]uint8{"tcp": 6, "udp": 17, "sctp": 132, "udplite": 136}[protocol]
	if !is {
		return wrong("has a protocol without ports")
	}
	m.Protocol = known
	first, last, isRange := strings.Cut(number, "-")
	if !isRange {
		last = first
	}
	low, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return wrong("has no port")
	}
	high, err := strconv.ParseUint(last, 10, 16)
	if err != nil || high < low {
		return wrong("has no port")
	}
	m.Ports = Range{uint16(low), uint16(high)}
	return m, true
}

func lastOfPrefix(prefix netip.Prefix) netip.Addr {
	bytes, mask := prefix.Masked().Addr().AsSlice(), maskOf(prefix.Addr().Is4(), prefix.Bits()).AsSlice()
	for i := range bytes {
		bytes[i] |= ^mask[i]
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// matchedSets gives rules the sets that they name.
func (p *parser) matchedSets() {
	for _, t := range p.set.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				for _, match := range r.Matches {
					m, is := match.(*SetMatch)
					if !is {
						continue
					}
					m.Set = p.set.Set(m.Name)
					p.number = r.Line
					switch {
					case m.Set == nil:
						p.at(1, "say what is in it, before: create "+m.Name+" hash:net, add "+m.Name+" 10.0.0.0/8", "there is no set %s", m.Name)
					case m.Set.Family != t.Family:
						p.at(1, "name one of the rule's family", "the set %s is of IPv%d", m.Name, m.Set.Family)
					case m.Set.HasPorts && len(m.Sides) < 2:
						p.at(1, "write src,dst or the like: one for the address, one for the port", "the set %s has ports", m.Name)
					}
				}
			}
		}
	}
}
