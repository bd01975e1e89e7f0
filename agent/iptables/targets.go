package iptables

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What a chain cannot be called.
func isKnownTarget(name string) bool {
	return foreignTargets[name] || name == "REJECT" || name == "LOG" || name == "MARK"
}

func init() {
	for name, options := range map[string]map[string]reader{
		"REJECT": {"--reject-with": readReject},
		"LOG": {
			"--log-prefix": readLogPrefix, "--log-level": readLogLevel, "--log-tcp-sequence": readLogOption, "--log-tcp-options": readLogOption,
			"--log-ip-options": readLogOption, "--log-uid": readLogOption, "--log-macdecode": readLogOption,
		},
		"MARK": {"--set-mark": readSetMark, "--set-xmark": readSetMark, "--and-mark": readSetMark, "--or-mark": readSetMark, "--xor-mark": readSetMark},
	} {
		targetOptions[name] = options
	}
}

var targetOptions = map[string]map[string]reader{}

func readTarget(s *spec, of word, isGoto bool) {
	if !s.once(of, "target") {
		return
	}
	if s.not != nil {
		s.wrong(*s.not, "leave it out", "a ! does not go before %s", of.text)
		return
	}
	w, ok := s.operand(of)
	if !ok {
		return
	}
	t := &s.rule.Target
	t.Name, t.Goto = w.text, isGoto
	if isGoto && (isVerdict(w.text) || isKnownTarget(w.text)) {
		s.wrong(w, "write -j "+w.text, "-g leads to chains")
		return
	}
	switch w.text {
	case "REJECT":
		t.Reject = map[Family]string{IPv4: "icmp-port-unreachable", IPv6: "icmp6-port-unreachable"}[s.family]
	case "LOG":
		t.Log = &Log{Level: 4}
	}
	if foreignTargets[w.text] {
		t.Text = []string{}
		s.foreign(w, "-j "+w.text)
		return
	}
	if isVerdict(w.text) {
		return
	}
	switch chain := s.table.Chain(w.text); {
	case chain == nil:
		s.wrong(w, fmt.Sprintf("make the chain before: -N %s, or :%s - [0:0]", w.text, w.text), "there is no chain and no target %s", w.text)
	case chain.Policy != "":
		s.wrong(w, "jump to a chain of your own", "%s is the kernel's own chain: nothing jumps there", w.text)
	}
}

// Names that iptables has for each, the first one being what it prints.
var rejects = map[Family][][]string{
	IPv4: {
		{"icmp-net-unreachable", "net-unreach"}, {"icmp-host-unreachable", "host-unreach"}, {"icmp-proto-unreachable", "proto-unreach"},
		{"icmp-port-unreachable", "port-unreach"}, {"icmp-net-prohibited", "net-prohib"}, {"icmp-host-prohibited", "host-prohib"},
		{"tcp-reset", "tcp-rst"}, {"icmp-admin-prohibited", "admin-prohib"},
	},
	IPv6: {
		{"icmp6-no-route", "no-route"}, {"icmp6-adm-prohibited", "adm-prohibited"}, {"icmp6-addr-unreachable", "addr-unreach"},
		{"icmp6-port-unreachable", "port-unreach"}, {"tcp-reset"}, {"icmp6-policy-fail", "policy-fail"}, {"icmp6-reject-route", "reject-route"},
	},
}

func readReject(s *spec, of word) {
	w, ok := s.operand(of)
	if !ok {
		return
	}
	for _, names := range rejects[s.family] {
		if slices.Contains(names, w.text) {
			s.rule.Target.Reject = names[0]
			return
		}
	}
	var all []string
	for _, names := range rejects[s.family] {
		all = append(all, names[0])
	}
	s.wrong(w, "it is one of "+strings.Join(all, ", "), "%q is no answer of REJECT for IPv%d", w.text, s.family)
}

const mostPrefixBytes = 29

func readLogPrefix(s *spec, of word) {
	w, ok := s.operand(of)
	if !ok {
		return
	}
	if len(w.text) > mostPrefixBytes {
		s.wrong(w, fmt.Sprintf("shorten it to %d", mostPrefixBytes), "the prefix has %d bytes", len(w.text))
	}
	s.rule.Target.Log.Prefix = w.text
}

var levels = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

func readLogLevel(s *spec, of word) {
	w, ok := s.operand(of)
	if !ok {
		return
	}
	text := map[string]string{"panic": "emerg", "error": "err", "warn": "warning"}[w.text]
	if text == "" {
		text = w.text
	}
	level := slices.Index(levels, text)
	if number, err := strconv.Atoi(text); err == nil && number >= 0 && number < len(levels) {
		level = number
	}
	if level < 0 {
		s.wrong(w, "it is one of "+strings.Join(levels, ", "), "%q is no level of a log", w.text)
		return
	}
	s.rule.Target.Log.Level = uint8(level)
}

func readLogOption(s *spec, of word) {
	s.rule.Target.Log.Options = append(s.rule.Target.Log.Options, of.text)
}

func readSetMark(s *spec, of word) {
	w, ok := s.operand(of)
	if !ok || !s.once(of, "mark") {
		return
	}
	value, mask, ok := s.marked(w)
	if !ok {
		return
	}
	t := &s.rule.Target
	switch of.text {
	case "--set-xmark":
		t.MarkValue, t.MarkMask = value, mask
	case "--set-mark":
		t.MarkValue, t.MarkMask = value, mask|value
	case "--and-mark":
		t.MarkValue, t.MarkMask = 0, ^value
	case "--or-mark":
		t.MarkValue, t.MarkMask = value, value
	case "--xor-mark":
		t.MarkValue, t.MarkMask = value, 0
	}
}
