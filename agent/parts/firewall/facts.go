package firewall

import (
	"errors"
	"os"
	"path/filepath"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	wall "flipflap.local/agent/firewall"
	"flipflap.local/agent/iptables"
	"flipflap.local/agent/part"
	"github.com/cilium/ebpf"
)

// ReadFacts gives what this server's firewalls hold and have counted. It changes nothing.
func ReadFacts(files part.Files, isShort bool) (*contract.FirewallFacts, error) {
	facts := &contract.FirewallFacts{Contract: contract.Version, Firewalls: []contract.FirewallFact{}, Dropped: map[string]uint64{}}
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
	o := taps(files)
	drops, err := ebpf.LoadPinnedMap(filepath.Join(o.Pins, "drops"), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return facts, nil
	}
	if err != nil {
		return nil, err
	}
	defer drops.Close()
	spec, err := o.Spec()
	if err != nil {
		return nil, err
	}
	reasons, err := bpf.Reasons(spec, "tap_reason")
	if err != nil {
		return nil, err
	}
	facts.Dropped, err = bpf.Drops(drops, reasons)
	return facts, err
}

func factOf(files part.Files, name string, isShort bool) (*contract.FirewallFact, error) {
	w, err := openWall(files, name)
	if err != nil {
		return nil, err
	}
	fact := &contract.FirewallFact{Name: name, Rules: []contract.FirewallRule{}, Dropped: map[string]uint64{}}
	fact.InForce, fact.Entries = w.InForce()
	if !isShort {
		counts, err := w.Counts()
		if err != nil {
			return nil, err
		}
		for _, one := range counts {
			rule := ruleOf(one.Ruled)
			rule.Packets, rule.Bytes = one.Packets, one.Bytes
			fact.Rules = append(fact.Rules, rule)
		}
	}
	if fact.Connections, err = w.Connections(false); err != nil {
		return nil, err
	}
	faults, err := w.Faults()
	if faults != nil {
		fact.Dropped = faults
	}
	return fact, err
}

// Reading is what is to be said of a file of rules.
func Reading(text string, networks []string, isShort bool) contract.FirewallReading {
	rules := wall.Read(text, networks)
	reading := contract.FirewallReading{Contract: contract.Version, Faults: []contract.FirewallFault{}, Rules: []contract.FirewallRule{}, Families: rules.Families()}
	for _, fault := range rules.Faults {
		reading.Faults = append(reading.Faults, contract.FirewallFault(fault))
	}
	for _, one := range rules.All {
		if isShort {
			break
		}
		reading.Rules = append(reading.Rules, ruleOf(one))
	}
	if rules.IPv4 != nil {
		reading.Entries = len(rules.IPv4.Entries) + len(rules.IPv6.Entries)
	}
	return reading
}

// ruleOf says a rule in the contract's words.
func ruleOf(one wall.Ruled) contract.FirewallRule {
	return contract.FirewallRule{
		Family: familyName(one.Family), Table: one.Table, Chain: one.Chain, Line: one.Rule.Line, Text: one.Rule.Spec(), Target: one.Rule.Target.Name,
		Refused: one.Refused, Fix: one.Fix,
	}
}

func familyName(family iptables.Family) string {
	if family == iptables.IPv6 {
		return "ipv6"
	}
	return "ipv4"
}
