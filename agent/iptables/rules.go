// Package iptables reads rules in iptables' words, as iptables-save prints them or as commands, and says what is wrong where.
package iptables

import (
	"net/netip"
)

// Family is of IP.
type Family int

const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) String() string {
	if f == IPv6 {
		return "ipv6"
	}
	return "ipv4"
}

// Set is all that a file says.
type Set struct {
	Tables []*Table
	Sets   []*IPSet
	// In the order of the file.
	Faults []Fault
}

// Table is one of iptables', of one family.
type Table struct {
	Family Family
	Name   string
	Chains []*Chain
}

// Chain has rules, and where it is the kernel's own a policy.
type Chain struct {
	Name   string
	Policy string // empty: of the user's
	Rules  []*Rule
	// Where it is first named.
	Line int
}

// Rule is one line of a chain. A line with several addresses is several rules.
type Rule struct {
	Line                int
	Source, Destination *Address
	In, Out             *Device
	Protocol            *Protocol
	Fragment            *Fragment
	Matches             []Match // in the order of the line; those of one module are one
	Target              Target
	Packets, Bytes      uint64 // as iptables-save -c has them
	Foreign             []Foreign
	text                string
}

// Foreign is what stands in a rule and only the kernel's own tables can do.
type Foreign struct {
	Column int
	What   string
}

// Address is one end of a packet.
type Address struct {
	Not     bool
	Address netip.Addr
	Mask    netip.Addr // need not be of a prefix
}

// Device is a name, or with a + at its end the beginning of one.
type Device struct {
	Not  bool
	Name string
}

// Protocol is of IP.
type Protocol struct {
	Not    bool
	Number uint8
}

// Fragment is a later one of IPv4.
type Fragment struct{ Not bool }

// Match is what a module looks at.
type Match interface {
	module() string
	words() []string
}

// Range has both ends.
type Range struct{ From, To uint16 }

// Ports are of tcp, udp, sctp, udplite or dccp.
type Ports struct {
	Module              string
	Source, Destination *PortRange
	Flags               *Flags // of tcp
}

// PortRange may be all but those.
type PortRange struct {
	Not bool
	Range
}

// Flags of TCP: those of the mask are as they are in Set.
type Flags struct {
	Not       bool
	Mask, Set uint8
}

// Side is which ports, addresses or interfaces are looked at.
type Side int

const (
	Source Side = iota
	Destination
	Either
)

// Multiport has up to 15 ports, a range is two.
type Multiport struct {
	Not    bool
	Side   Side
	Ranges []Range
}

// ICMP has a type and codes.
type ICMP struct {
	Family         Family
	Not            bool
	Any            bool
	Type           uint8
	Code, LastCode uint8
	isGiven        bool
}

// State of a connection, as bits.
type State uint

const (
	Invalid State = 1 << iota
	New
	Related
	Established
	Untracked
	SNAT
	DNAT
)

// States are some of a connection's.
type States struct {
	Module string // conntrack or state
	Not    bool
	Any    State
}

// Span is a range of addresses.
type Span struct {
	Not      bool
	From, To netip.Addr
}

// IPRange has spans of one or both ends.
type IPRange struct{ Source, Destination *Span }

// Mark is of a packet.
type Mark struct {
	Not         bool
	Value, Mask uint32
}

// SetMatch asks whether a packet is in a set of ipset's.
type SetMatch struct {
	Not   bool
	Name  string
	Sides []Side
	Set   *IPSet // as the file has it
}

// Limit lets so many packets match.
type Limit struct {
	Rate  Rate
	Burst uint32
}

// Rate is a number in a unit of time.
type Rate struct {
	Number uint32
	Unit   string // sec, min, hour, day
}

// Cost is how long one takes at this rate, in nanoseconds.
func (r Rate) Cost() uint64 {
	seconds := map[string]uint64{"sec": 1, "min": 60, "hour": 3600, "day": 86400}[r.Unit]
	return max(1, seconds*1_000_000_000/uint64(r.Number))
}

// HashLimit is a limit for each of many: sources, destinations.
type HashLimit struct {
	Name  string
	Above bool
	// A number of packets in a unit, or of bytes a second.
	Rate  string
	Burst uint32
	// Beyond these nothing is read: the rule stays in the kernel's own tables.
	Text []string
}

// Comment is for people.
type Comment struct{ Text string }

// Other is a module that is known by its name alone.
type Other struct {
	Name string
	Text []string
}

// Target is what is done with a packet that all of a rule matches.
type Target struct {
	// Empty: it is counted, and goes on.
	Name string
	// A user's chain that does not come back.
	Goto   bool
	Reject string
	Log    *Log
	// MARK: the packet's mark loses Mask's bits, and gets Value by exclusive or.
	MarkValue, MarkMask uint32
	Text                []string // of a target that is known by its name alone
}

// Log is what LOG writes.
type Log struct {
	Prefix  string
	Level   uint8
	Options []string
}
