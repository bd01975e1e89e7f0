package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Protocols that have a module of their own: -p loads it.
var ofProtocol = map[uint8]string{6: "tcp", 17: "udp", 132: "sctp", 136: "udplite", 33: "dccp", 1: "icmp", 58: "icmp6", 50: "esp", 51: "ah"}

func isPorts(module string) bool {
	return slices.Contains([]string{"tcp", "udp", "sctp", "udplite", "dccp"}, module)
}

func readModule(s *spec, of word) {
	w, ok := s.operand(of)
	if !ok {
		return
	}
	if s.not != nil {
		s.wrong(*s.not, "write it before the module's option", "a ! does not go before -m")
		return
	}
	s.load(w, w.text)
}

func (s *spec) load(at word, name string) {
	if name == "icmpv6" {
		name = "icmp6"
	}
	var m Match
	switch {
	case isPorts(name):
		m = &Ports{Module: name}
	case name == "multiport":
		m = &Multiport{}
	case name == "icmp" && s.family == IPv4:
		m = &ICMP{Family: IPv4, Any: true}
	case name == "icmp6" && s.family == IPv6:
		m = &ICMP{Family: IPv6, Any: true}
	case name == "conntrack" || name == "state":
		m = &States{Module: name}
	case name == "iprange":
		m = &IPRange{}
	case name == "mark":
		m = &Mark{}
	case name == "set":
		m = &SetMatch{}
	case name == "limit":
		m = &Limit{Rate: Rate{3, "hour"}, Burst: 5}
	case name == "hashlimit":
		m = &HashLimit{Burst: 5}
	case name == "comment":
		m = &Comment{}
	case foreignModules[name]:
		m = &Other{Name: name, Text: []string{}}
		s.foreign(at, "-m "+name)
	default:
		s.wrong(at, "write it as man iptables-extensions has it", "there is no module %q for IPv%d", name, s.family)
		return
	}
	s.rule.Matches = append(s.rule.Matches, m)
	s.loaded = append(s.loaded, name)
}

func (s *spec) foreign(at word, what string) {
	s.rule.Foreign = append(s.rule.Foreign, Foreign{at.column, what})
}

var moduleOptions = map[string]map[string]reader{}

func init() {
	ports := map[string]reader{
		"--sport": readPort, "--source-port": readPort, "--dport": readPort, "--destination-port": readPort,
	}
	tcp := map[string]reader{"--tcp-flags": readFlags, "--syn": readSyn, "--tcp-option": readOther}
	for name, read := range ports {
		tcp[name] = read
	}
	for name, options := range map[string]map[string]reader{
		"tcp": tcp, "udp": ports, "udplite": ports,
		"sctp": with(ports, map[string]reader{"--chunk-types": readOther}),
		"dccp": with(ports, map[string]reader{"--dccp-types": readOther, "--dccp-option": readOther}),
		"multiport": {
			"--sports": readPorts, "--source-ports": readPorts, "--dports": readPorts, "--destination-ports": readPorts, "--ports": readPorts,
		},
		"icmp": {"--icmp-type": readICMP}, "icmp6": {"--icmpv6-type": readICMP},
		"conntrack": {"--ctstate": readStates},
		"state":     {"--state": readStates},
		"iprange":   {"--src-range": readSpan, "--dst-range": readSpan},
		"mark":      {"--mark": readMark},
		"set":       {"--match-set": readSet},
		"limit":     {"--limit": readLimit, "--limit-burst": readBurst},
		"comment":   {"--comment": readComment},
		"hashlimit": hashLimitOptions,
	} {
		moduleOptions[name] = options
	}
	for _, name := range strings.Fields("--ctproto --ctorigsrc --ctorigdst --ctreplsrc --ctrepldst --ctorigsrcport --ctorigdstport --ctreplsrcport --ctrepldstport --ctstatus --ctexpire --ctdir") {
		moduleOptions["conntrack"][name] = readOther
	}
	for _, name := range strings.Fields("--return-nomatch --packets-eq --packets-lt --packets-gt --bytes-eq --bytes-lt --bytes-gt --update-counters --update-subcounters") {
		moduleOptions["set"][name] = readOther
	}
}

func with(a, b map[string]reader) map[string]reader {
	all := map[string]reader{}
	for name, read := range a {
		all[name] = read
	}
	for name, read := range b {
		all[name] = read
	}
	return all
}

// readOther takes what a module can do beside what is done here: the rule stays in the kernel's own tables, in its own words.
func readOther(s *spec, of word) {
	text := []string{of.text}
	if s.isNot() {
		text = []string{"!", of.text}
	}
	s.others(&text)
	s.foreign(of, of.text)
	s.rule.Matches = append(s.rule.Matches, &Other{Text: text})
}

// lastOf is the match that an option is of.
func lastOf[M Match](s *spec) M {
	for _, m := range slices.Backward(s.rule.Matches) {
		if is, ok := m.(M); ok {
			return is
		}
	}
	panic("an option without its module")
}

var services = map[string]uint16{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "bootps": 67, "bootpc": 68, "tftp": 69, "http": 80, "kerberos": 88,
	"pop3": 110, "sunrpc": 111, "ntp": 123, "imap2": 143, "snmp": 161, "bgp": 179, "ldap": 389, "https": 443, "syslog": 514, "ldaps": 636,
	"imaps": 993, "pop3s": 995, "mysql": 3306, "postgresql": 5432,
}

func (s *spec) port(w word) (uint16, bool) {
	if number, is := services[w.text]; is {
		return number, true
	}
	number, err := strconv.ParseUint(w.text, 10, 16)
	if err != nil {
		s.wrong(w, "write a number from 0 to 65535", "%q is no port", w.text)
		return 0, false
	}
	return uint16(number), true
}

// ports reads "80", "1:9", ":9", "1:".
func (s *spec) ports(w word) (Range, bool) {
	from, to, isRange := strings.Cut(w.text, ":")
	if !isRange {
		number, ok := s.port(w)
		return Range{number, number}, ok
	}
	r, ok := Range{0, 65535}, true
	if from != "" {
		r.From, ok = s.port(word{from, w.column})
	}
	if ok && to != "" {
		r.To, ok = s.port(word{to, w.column + len(from) + 1})
	}
	if ok && r.From > r.To {
		s.wrong(w, "write the smaller port first", "%q is no range of ports", w.text)
		return r, false
	}
	return r, ok
}

func isSourceOption(text string) bool { return strings.HasPrefix(text, "--s") }

func readPort(s *spec, of word) {
	not := s.isNot()
	w, ok := s.operand(of)
	if !ok {
		return
	}
	r, ok := s.ports(w)
	if !ok {
		return
	}
	m := lastOf[*Ports](s)
	into := &m.Destination
	if isSourceOption(of.text) {
		into = &m.Source
	}
	if *into != nil {
		s.wrong(of, "leave one of them out", "%s is here twice", of.text)
		return
	}
	if not && r == (Range{0, 65535}) {
		s.wrong(w, "leave the rule out", "no packet has another port than any")
		return
	}
	*into = &PortRange{not, r}
}

var flagNames = []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"}

func (s *spec) flags(w word) (uint8, bool) {
	var bits uint8
	for _, name := range strings.Split(strings.ToUpper(w.text), ",") {
		at := slices.Index(flagNames, name)
		switch {
		case at >= 0:
			bits |= 1 << at
		case name == "ALL":
			bits |= 0x3f
		case name != "NONE":
			s.wrong(w, "name some of FIN, SYN, RST, PSH, ACK, URG, or ALL, or NONE", "%q are no flags of TCP", w.text)
			return 0, false
		}
	}
	return bits, true
}

func readFlags(s *spec, of word) {
	not := s.isNot()
	first, ok := s.operand(of)
	if !ok {
		return
	}
	second, ok := s.operand(of)
	if !ok {
		return
	}
	mask, ok := s.flags(first)
	if !ok {
		return
	}
	set, ok := s.flags(second)
	if !ok {
		return
	}
	s.setFlags(of, Flags{not, mask, set})
}

func (s *spec) setFlags(of word, f Flags) {
	m := lastOf[*Ports](s)
	if m.Flags != nil {
		s.wrong(of, "begin another: -m tcp "+of.text, "one -m tcp has --syn or --tcp-flags once")
		return
	}
	m.Flags = &f
}

func readSyn(s *spec, of word) {
	s.setFlags(of, Flags{s.isNot(), 0x17, 0x02})
}

const mostPorts = 15

func readPorts(s *spec, of word) {
	m := lastOf[*Multiport](s)
	if len(m.Ranges) > 0 {
		s.wrong(of, "begin another: -m multiport "+of.text, "one multiport has one list of ports")
		return
	}
	m.Not = s.isNot()
	m.Side = Destination
	if of.text == "--ports" {
		m.Side = Either
	} else if isSourceOption(of.text) {
		m.Side = Source
	}
	w, ok := s.operand(of)
	if !ok {
		return
	}
	column, count := w.column, 0
	for _, text := range strings.Split(w.text, ",") {
		r, ok := s.ports(word{text, column})
		if !ok {
			return
		}
		column += len(text) + 1
		m.Ranges = append(m.Ranges, r)
		count++
		if strings.Contains(text, ":") {
			count++
		}
	}
	if count > mostPorts {
		s.wrong(w, "write several rules", "multiport has room for %d ports, a range takes two, and this are %d", mostPorts, count)
	}
}

func readICMP(s *spec, of word) {
	m := lastOf[*ICMP](s)
	m.Not, m.isGiven = s.isNot(), true
	w, ok := s.operand(of)
	if !ok {
		return
	}
	m.Any = w.text == "any" && m.Family == IPv4
	if m.Any {
		if m.Not {
			s.wrong(w, "leave the rule out", "no packet of ICMP has another type than any")
		}
		return
	}
	for _, one := range icmpNames[m.Family] {
		if one.name == w.text {
			m.Type, m.Code, m.LastCode = one.kind, one.code, one.lastCode
			return
		}
	}
	kind, code, hasCode := strings.Cut(w.text, "/")
	number, err := strconv.ParseUint(kind, 10, 8)
	m.Type, m.LastCode = uint8(number), 255
	if err == nil && hasCode {
		number, err = strconv.ParseUint(code, 10, 8)
		m.Code, m.LastCode = uint8(number), uint8(number)
	}
	if err != nil {
		s.wrong(w, "write a type, or type/code: 3/4, echo-request", "%q is no type of ICMP", w.text)
	}
}

// In the order of the bits, in which iptables prints them.
var stateNames = []string{"INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT"}

func readStates(s *spec, of word) {
	m := lastOf[*States](s)
	m.Not = s.isNot()
	w, ok := s.operand(of)
	if !ok {
		return
	}
	for _, name := range strings.Split(strings.ToUpper(w.text), ",") {
		at := slices.Index(stateNames, name)
		if at < 0 || m.Module == "state" && at > 4 {
			s.wrong(w, "name some of INVALID, NEW, RELATED, ESTABLISHED, UNTRACKED", "%q is no state of a connection", name)
			return
		}
		m.Any |= 1 << at
	}
	if m.Any&(SNAT|DNAT) != 0 {
		s.foreign(w, "a connection's NAT")
	}
}

func readSpan(s *spec, of word) {
	not := s.isNot()
	w, ok := s.operand(of)
	if !ok {
		return
	}
	first, last, isRange := strings.Cut(w.text, "-")
	if !isRange {
		last = first
	}
	from, err := netip.ParseAddr(first)
	to, other := netip.ParseAddr(last)
	if err != nil || other != nil || from.Is4() != (s.family == IPv4) || to.Is4() != from.Is4() || to.Less(from) {
		s.wrong(w, "write it like 10.0.0.1-10.0.0.9", "%q is no range of addresses of IPv%d", w.text, s.family)
		return
	}
	m := lastOf[*IPRange](s)
	if of.text == "--src-range" {
		m.Source = &Span{not, from, to}
	} else {
		m.Destination = &Span{not, from, to}
	}
}

// marked reads "0x1/0xff".
func (s *spec) marked(w word) (value, mask uint32, ok bool) {
	first, second, hasMask := strings.Cut(w.text, "/")
	v, err := strconv.ParseUint(first, 0, 32)
	m := uint64(1<<32 - 1)
	if err == nil && hasMask {
		m, err = strconv.ParseUint(second, 0, 32)
	}
	if err != nil {
		s.wrong(w, "write it like 0x1 or 0x1/0xff", "%q is no mark", w.text)
	}
	return uint32(v), uint32(m), err == nil
}

func readMark(s *spec, of word) {
	m := lastOf[*Mark](s)
	m.Not = s.isNot()
	if w, ok := s.operand(of); ok {
		m.Value, m.Mask, _ = s.marked(w)
	}
}

func readSet(s *spec, of word) {
	m := lastOf[*SetMatch](s)
	m.Not = s.isNot()
	name, ok := s.operand(of)
	if !ok {
		return
	}
	sides, ok := s.operand(of)
	if !ok {
		return
	}
	m.Name, m.Sides = name.text, nil
	for _, side := range strings.Split(sides.text, ",") {
		switch side {
		case "src":
			m.Sides = append(m.Sides, Source)
		case "dst":
			m.Sides = append(m.Sides, Destination)
		default:
			s.wrong(sides, "write src or dst for each of the set's fields", "%q does not say which end is looked up", sides.text)
			return
		}
	}
}

var unitNames = map[string]string{
	"s": "sec", "sec": "sec", "second": "sec", "m": "min", "min": "min", "minute": "min", "h": "hour", "hour": "hour", "d": "day", "day": "day",
}

func (s *spec) rate(w word) (Rate, bool) {
	number, unit, hasUnit := strings.Cut(w.text, "/")
	r := Rate{Unit: "sec"}
	parsed, err := strconv.ParseUint(number, 10, 32)
	if hasUnit {
		r.Unit = unitNames[strings.ToLower(unit)]
	}
	if err != nil || parsed == 0 || r.Unit == "" {
		s.wrong(w, "write it like 10/second, 5/minute", "%q is no rate", w.text)
		return r, false
	}
	r.Number = uint32(parsed)
	return r, true
}

func readLimit(s *spec, of word) {
	if s.isNot() {
		s.wrong(of, "use -m hashlimit --hashlimit-above", "--limit goes with no !")
		return
	}
	if w, ok := s.operand(of); ok {
		lastOf[*Limit](s).Rate, _ = s.rate(w)
	}
}

func readBurst(s *spec, of word) {
	if w, ok := s.operand(of); ok {
		lastOf[*Limit](s).Burst = s.burst(w)
	}
}

func (s *spec) burst(w word) uint32 {
	number, err := strconv.ParseUint(w.text, 10, 32)
	if err != nil || number == 0 || number > 10000 {
		s.wrong(w, "write a number from 1 to 10000", "%q is no burst", w.text)
	}
	return uint32(number)
}

const mostCommentBytes = 255

func readComment(s *spec, of word) {
	w, ok := s.operand(of)
	if !ok {
		return
	}
	if len(w.text) > mostCommentBytes {
		s.wrong(w, fmt.Sprintf("shorten it to %d", mostCommentBytes), "the comment has %d bytes", len(w.text))
	}
	lastOf[*Comment](s).Text = w.text
}

// checked finds what only the whole rule shows.
func (s *spec) checked() {
	r := s.rule
	at := word{column: 1}
	ends := slices.Concat(s.sources, s.destinations)
	if (len(s.sources) > 1 || len(s.destinations) > 1) && slices.ContainsFunc(ends, func(a Address) bool { return a.Not }) {
		s.wrong(at, "write a rule for each of them, or a chain that returns for them", "a ! does not go with several addresses")
		return
	}
	for _, m := range r.Matches {
		need, what := uint8(0), m.module()
		switch m := m.(type) {
		case *Ports:
			for number, name := range ofProtocol {
				if name == m.Module {
					need = number
				}
			}
		case *ICMP:
			need = map[Family]uint8{IPv4: 1, IPv6: 58}[m.Family]
			if m.Any && m.Family == IPv4 && !m.isGiven {
				s.wrong(at, "write it: --icmp-type any", "icmp is without a type")
			}
		case *Multiport:
			if len(m.Ranges) == 0 {
				s.wrong(at, "write --dports, --sports or --ports", "multiport is without ports")
			}
			if p := r.Protocol; p == nil || p.Not || !isPorts(ofProtocol[p.Number]) {
				s.wrong(at, "write -p tcp or -p udp", "multiport is of a protocol with ports, and the rule has none")
			}
		case *States:
			if m.Any == 0 && !s.hasOther() {
				s.wrong(at, "write some behind it: ESTABLISHED,RELATED", "%s is without states", what)
			}
		case *IPRange:
			if m.Source == nil && m.Destination == nil {
				s.wrong(at, "write --src-range or --dst-range", "iprange is without a range")
			}
		case *SetMatch:
			if m.Name == "" {
				s.wrong(at, "write --match-set NAME src or dst", "set is without its name")
			}
		case *Comment:
			if m.Text == "" {
				s.wrong(at, "write it: --comment \"...\"", "comment is without its text")
			}
		case *HashLimit:
			if m.Name == "" || m.Rate == "" {
				s.wrong(at, "write both", "hashlimit is without --hashlimit-name, or without --hashlimit-upto or --hashlimit-above")
			}
		}
		if need != 0 && (r.Protocol == nil || r.Protocol.Not || r.Protocol.Number != need) {
			s.wrong(at, fmt.Sprintf("write -p %s", what), "-m %s is of a protocol that the rule does not have", what)
		}
		if s.isWrong {
			return
		}
	}
	if reject := r.Target.Reject; reject == "tcp-reset" && (r.Protocol == nil || r.Protocol.Not || r.Protocol.Number != 6) {
		s.wrong(at, "write -p tcp", "only a connection of TCP is reset")
	}
}

func (s *spec) hasOther() bool {
	return slices.ContainsFunc(s.rule.Matches, func(m Match) bool { other, is := m.(*Other); return is && other.Name == "" })
}
