package iptables

import "strings"

// hashlimit is read for what is wrong with it, and for how it is printed.
var hashLimitOptions = map[string]reader{}

func init() {
	for _, name := range strings.Fields("mode srcmask dstmask htable-size htable-max htable-gcinterval htable-expire rate-interval") {
		hashLimitOptions["--hashlimit-"+name] = func(s *spec, of word) {
			if w, ok := s.operand(of); ok {
				m := lastOf[*HashLimit](s)
				m.Text = append(m.Text, of.text, w.text)
			}
		}
	}
	hashLimitOptions["--hashlimit-rate-match"] = func(s *spec, of word) {
		m := lastOf[*HashLimit](s)
		m.Text = append(m.Text, of.text)
	}
	hashLimitOptions["--hashlimit-name"] = func(s *spec, of word) {
		if w, ok := s.operand(of); ok {
			lastOf[*HashLimit](s).Name = w.text
		}
	}
	hashLimitOptions["--hashlimit-burst"] = func(s *spec, of word) {
		if w, ok := s.operand(of); ok {
			lastOf[*HashLimit](s).Burst = s.burst(w)
		}
	}
	for _, name := range []string{"--hashlimit", "--hashlimit-upto", "--hashlimit-above"} {
		hashLimitOptions[name] = readHashRate
	}
}

func readHashRate(s *spec, of word) {
	m := lastOf[*HashLimit](s)
	m.Above = s.isNot() != (of.text == "--hashlimit-above")
	w, ok := s.operand(of)
	if !ok {
		return
	}
	if strings.HasSuffix(w.text, "b/s") {
		m.Rate = w.text
		return
	}
	if rate, ok := s.rate(w); ok {
		m.Rate = rate.String()
	}
}
