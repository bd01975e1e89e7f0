package firewall

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"flipflap.local/agent/iptables"
)

// Ruled is a rule and where it stands.
type Ruled struct {
	Family iptables.Family
	Table  string
	Chain  string
	Rule   *iptables.Rule
	// Why it cannot be held; empty: it can.
	Refused, Fix string
}

// Identity is what a rule keeps over changes of others: its counters go with it. Equal rules of a chain are told by their order.
func (r Ruled) Identity() string { return fmt.Sprintf("%d %s %s", r.Family, r.Chain, r.Rule.Spec()) }

func (r Ruled) isLimited() bool {
	return slices.ContainsFunc(r.Rule.Matches, func(m iptables.Match) bool { _, is := m.(*iptables.Limit); return is })
}

// Rules are a file's, as programs of both families.
type Rules struct {
	All []Ruled
	// A family of which the file says nothing lets nothing through.
	IPv4, IPv6 *Program
	Faults     []iptables.Fault
	set        *iptables.Set
	numbers    map[*iptables.Rule]int // in All
}

const chainOfTenants = "FORWARD"

// Read gives a file's rules; networks are what -i and -o may name.
func Read(text string, networks []string) *Rules {
	rules := parse(text, networks)
	if len(rules.Faults) > 0 {
		return rules
	}
	rules.IPv4, rules.IPv6 = &Program{Family: iptables.IPv4, Devices: networks}, &Program{Family: iptables.IPv6, Devices: networks}
	for _, t := range rules.set.Tables {
		if t.Name != "filter" {
			continue
		}
		p, err := Compile(t, chainOfTenants, networks)
		if err != nil {
			fault := iptables.Fault{Line: 1, Column: 1, What: err.Error(), Fix: "write less of it"}
			var at *LineError
			if errors.As(err, &at) {
				fault.Line, fault.What = at.Line, at.Why.Error()
			}
			rules.Faults = append(rules.Faults, fault)
			return rules
		}
		if t.Family == iptables.IPv4 {
			rules.IPv4 = p
		} else {
			rules.IPv6 = p
		}
	}
	return rules
}

// parse is Read without the programs.
func parse(text string, networks []string) *Rules {
	set := iptables.Parse(text)
	rules := &Rules{Faults: set.Faults, set: set, numbers: map[*iptables.Rule]int{}}
	for _, t := range set.Tables {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				one := Ruled{Family: t.Family, Table: t.Name, Chain: c.Name, Rule: r}
				one.Refused, one.Fix = refusal(t, c, r, networks)
				if one.Refused != "" {
					rules.Faults = append(rules.Faults, iptables.Fault{Line: r.Line, Column: 1, What: one.Refused, Fix: one.Fix})
				}
				rules.numbers[r] = len(rules.All)
				rules.All = append(rules.All, one)
			}
		}
	}
	slices.SortStableFunc(rules.Faults, func(a, b iptables.Fault) int { return a.Line - b.Line })
	return rules
}

// refusal says why the programs cannot hold a rule.
func refusal(t *iptables.Table, c *iptables.Chain, r *iptables.Rule, networks []string) (what, fix string) {
	if t.Name != "filter" {
		return fmt.Sprintf("the table %s is the server's: a tenant's packets meet the table filter alone", t.Name), "leave it out"
	}
	if c.Name == "INPUT" || c.Name == "OUTPUT" {
		return "FORWARD is what enters or leaves the tenant's systems; " + c.Name + " is of the server itself", "write it for FORWARD, or leave it out"
	}
	if len(r.Foreign) > 0 {
		return r.Foreign[0].What + " is of the kernel's own tables alone", "write the rule without it"
	}
	for _, side := range []struct {
		option string
		of     *iptables.Device
	}{{"-i", r.In}, {"-o", r.Out}} {
		if side.of != nil && !namesNetwork(side.of.Name, networks) {
			return fmt.Sprintf("%s %s: the firewall looks at no network of this name", side.option, side.of.Name),
				"name one of " + strings.Join(networks, ", ")
		}
	}
	for _, side := range []*iptables.Address{r.Source, r.Destination} {
		if side == nil {
			continue
		}
		if _, err := addressRanges(*side); err != nil {
			return err.Error(), "write one rule for each prefix"
		}
	}
	limits := 0
	for _, m := range r.Matches {
		switch m := m.(type) {
		case *iptables.Limit:
			limits++
		case *iptables.HashLimit:
			return "hashlimit is not held yet", "write -m limit, which counts all packets of the rule together"
		case *iptables.SetMatch:
			if m.Set != nil && m.Set.HasPorts && m.Not {
				return fmt.Sprintf("! --match-set %s is not held: its members have ports", m.Name), "write a chain that returns what is in it"
			}
		}
	}
	if limits > 1 {
		return "a rule has one limit", "write a chain with the second one"
	}
	return "", ""
}

func namesNetwork(name string, networks []string) bool {
	begin, isBegin := strings.CutSuffix(name, "+")
	return slices.ContainsFunc(networks, func(one string) bool { return one == name || isBegin && strings.HasPrefix(one, begin) })
}

// Families names those that the file says something of.
func (r *Rules) Families() []string {
	families := []string{}
	for _, t := range r.set.Tables {
		if t.Name == "filter" && !slices.Contains(families, t.Family.String()) {
			families = append(families, t.Family.String())
		}
	}
	return families
}

// Policies are what the families' chains say of all that no rule decides.
func (r *Rules) Policies() []Counted {
	var policies []Counted
	for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
		policy := "DROP"
		if t := r.filter(family); t != nil {
			policy = t.Chain(chainOfTenants).Policy
		}
		policies = append(policies, Counted{Ruled: Ruled{Family: family, Table: "filter", Chain: chainOfTenants, Rule: &iptables.Rule{}}, Policy: policy})
	}
	return policies
}

func (r *Rules) filter(family iptables.Family) *iptables.Table {
	for _, t := range r.set.Tables {
		if t.Name == "filter" && t.Family == family {
			return t
		}
	}
	return nil
}

// Judge follows a packet through the rules, and gives those that it meets by their numbers; the last decides unless the policy does.
func (r *Rules) Judge(p Packet) (accept bool, met []int, byPolicy bool) {
	met = []int{}
	t := r.filter(p.Family)
	if t == nil {
		return false, met, true
	}
	verdict := Walk(t, chainOfTenants, p, func(iptables.Match) bool { return true }, func(rule *iptables.Rule) { met = append(met, r.numbers[rule]) })
	return verdict.Accept, met, verdict.Rule == nil
}
