// Package firewall judges packets by a tenant's rules, as iptables would, in a time that does not grow with their number.
package firewall

import (
	"net/netip"

	"flipflap.local/agent/iptables"
)

// Packet is what rules look at.
type Packet struct {
	Family              iptables.Family
	Source, Destination netip.Addr
	Protocol            uint8
	// Of TCP, UDP, SCTP, DCCP and UDP-Lite; a later fragment has none.
	SourcePort, DestinationPort uint16
	TCPFlags                    uint8
	// Of ICMP.
	Type, Code uint8
	Identifier uint16
	// What an error of ICMP quotes.
	Quoted *Packet
	// Not the first of its datagram: what is behind the header of IP is not there.
	IsLaterFragment bool
	State           iptables.State
	Mark            uint32
	In, Out         string
}

func (p *Packet) hasPorts() bool {
	switch p.Protocol {
	case 6, 17, 33, 132, 136:
		return !p.IsLaterFragment
	}
	return false
}

func (p *Packet) isICMP() bool {
	return !p.IsLaterFragment && (p.Family == iptables.IPv4 && p.Protocol == 1 || p.Family == iptables.IPv6 && p.Protocol == 58)
}
