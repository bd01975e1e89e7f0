package firewall

import (
	"net/netip"

	"flipflap.local/agent/contract"
	wall "flipflap.local/agent/firewall"
	"flipflap.local/agent/iptables"
	"flipflap.local/agent/part"
)

// ReadFacts gives what this server's firewalls hold and have counted. It changes nothing.
func ReadFacts(files part.Files, isShort bool) (*contract.FirewallFacts, error) {
	facts := &contract.FirewallFacts{Contract: contract.Version, Firewalls: []contract.FirewallFact{}}
	names, err := wall.Walls(stateFolder(files))
	if err != nil {
		return nil, err
	}
	for _, one := range names {
		fact, err := factOf(files, one, isShort)
		if err != nil {
			return nil, err
		}
		facts.Firewalls = append(facts.Firewalls, *fact)
	}
	facts.Dropped, err = taps(files).PinnedDrops("drops", "tap_reason")
	return facts, err
}

func factOf(files part.Files, name string, isShort bool) (*contract.FirewallFact, error) {
	w, err := openWall(files, name)
	if err != nil {
		return nil, err
	}
	fact := &contract.FirewallFact{Name: name, Rules: []contract.FirewallRule{}}
	fact.InForce, fact.Entries = w.InForce()
	if !isShort {
		counts, err := w.Counts()
		if err != nil {
			return nil, err
		}
		for _, one := range counts {
			fact.Rules = append(fact.Rules, ruleOf(one))
		}
	}
	if fact.Connections, err = w.Connections(false); err != nil {
		return nil, err
	}
	fact.Dropped, err = w.Faults()
	return fact, err
}

// Reading is what is to be said of a file of rules.
func Reading(question contract.FirewallQuestion) (*contract.FirewallReading, error) {
	rules := wall.Read(question.Text, question.Networks)
	reading := &contract.FirewallReading{
		Contract: contract.Version, Faults: []contract.FirewallFault{}, Rules: []contract.FirewallRule{}, Families: rules.Families(), Verdicts: []contract.FirewallVerdict{},
	}
	for _, fault := range rules.Faults {
		reading.Faults = append(reading.Faults, contract.FirewallFault(fault))
	}
	if !question.Short {
		for _, one := range rules.All {
			reading.Rules = append(reading.Rules, ruleOf(wall.Counted{Ruled: one}))
		}
		for _, one := range rules.Policies() {
			reading.Rules = append(reading.Rules, ruleOf(one))
		}
	}
	if rules.IPv4 == nil {
		return reading, nil
	}
	reading.Entries = len(rules.IPv4.Entries) + len(rules.IPv6.Entries)
	for _, one := range question.Packets {
		p, err := packetOf(one)
		if err != nil {
			return nil, err
		}
		var verdict contract.FirewallVerdict
		verdict.Accept, verdict.Met, verdict.ByPolicy = rules.Judge(p)
		reading.Verdicts = append(reading.Verdicts, verdict)
	}
	return reading, nil
}

var states = map[string]iptables.State{
	"INVALID": iptables.Invalid, "NEW": iptables.New, "RELATED": iptables.Related, "ESTABLISHED": iptables.Established, "UNTRACKED": iptables.Untracked,
}

func packetOf(one contract.FirewallPacket) (wall.Packet, error) {
	p := wall.Packet{
		Family: iptables.IPv4, Protocol: uint8(one.Protocol), SourcePort: uint16(one.SourcePort), DestinationPort: uint16(one.DestinationPort),
		In: one.In, Out: one.Out, State: states[one.State],
	}
	var err error
	if p.Source, err = netip.ParseAddr(one.Source); err != nil {
		return p, err
	}
	if p.Destination, err = netip.ParseAddr(one.Destination); err != nil {
		return p, err
	}
	if p.Destination.Is6() {
		p.Family = iptables.IPv6
	}
	p.Type = uint8(one.DestinationPort)
	if one.Protocol == 6 && one.State == "NEW" {
		p.TCPFlags = 0x02 // SYN
	} else if one.Protocol == 6 {
		p.TCPFlags = 0x10
	}
	return p, nil
}

// ruleOf says a rule in the contract's words.
func ruleOf(one wall.Counted) contract.FirewallRule {
	rule := contract.FirewallRule{
		Family: one.Family.String(), Table: one.Table, Chain: one.Chain, Line: one.Rule.Line, Text: one.Rule.Spec(), Target: one.Rule.Target.Name,
		Refused: one.Refused, Fix: one.Fix, Packets: one.Packets, Bytes: one.Bytes,
	}
	if one.Policy != "" {
		rule.Policy, rule.Target = true, one.Policy
	}
	return rule
}
