package main

import "testing"

func TestWhatRulesLearnIsNoChange(t *testing.T) {
	const rules = `table inet fw {
	set seen {
		type ipv4_addr
		size 65535
		flags dynamic,timeout
		timeout 1m
%s	}

	set friends {
		type ipv4_addr
		elements = { 10.0.0.1 }
	}

	chain in {
		type filter hook input priority filter; policy accept;
		add @seen { ip saddr }
	}
}
`
	fill := func(elements string) string {
		before, after := rules[:0], rules
		for i := range rules {
			if rules[i] == '%' {
				before, after = rules[:i], rules[i+2:]
				break
			}
		}
		return before + elements + after
	}
	empty := withoutLearned(fill(""))
	if empty != fill("") {
		t.Errorf("more than elements is gone:\n%s", empty)
	}
	one := withoutLearned(fill("\t\telements = { 10.0.0.9 timeout 1m expires 30s }\n"))
	more := withoutLearned(fill("\t\telements = { 10.0.0.7 timeout 1m expires 30s,\n\t\t\t     10.0.0.8 timeout 1m expires 3s }\n"))
	if one != empty || more != empty {
		t.Errorf("learned elements are a change:\n%s\n%s", one, more)
	}
}
