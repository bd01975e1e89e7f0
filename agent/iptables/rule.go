package iptables

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// spec reads the words of one rule.
type spec struct {
	*parser
	table  *Table
	family Family
	words  []word
	next   int
	rule   *Rule
	// A line may have several of each: it is a rule for each pair.
	sources, destinations []Address
	not                   *word
	seen                  map[string]bool
	loaded                []string // modules, the last one's options first
	isWrong               bool
}

func (s *spec) wrong(at word, fix, what string, args ...any) {
	s.at(at.column, fix, what, args...)
	s.isWrong = true
}

// rules gives what a line comes to; false where it has a fault.
func (p *parser) rules(t *Table, words []word) ([]*Rule, bool) {
	s := spec{parser: p, table: t, family: t.Family, words: words, rule: &Rule{Line: p.number}, seen: map[string]bool{}}
	for s.next < len(words) && !s.isWrong {
		s.option()
	}
	if s.not != nil && !s.isWrong {
		s.wrong(*s.not, "write what is not to match behind it, or leave it out", "nothing follows the !")
	}
	if s.isWrong {
		return nil, false
	}
	s.checked()
	if s.isWrong {
		return nil, false
	}
	return s.each(), true
}

func (s *spec) take() word {
	s.next++
	return s.words[s.next-1]
}

// operand gives the word behind an option.
func (s *spec) operand(of word) (word, bool) {
	if s.next == len(s.words) {
		s.wrong(of, "write it behind it", "%s is without its value", of.text)
		return word{}, false
	}
	return s.take(), true
}

// isNot takes the ! before an option; it is a fault where the option cannot have one.
func (s *spec) isNot() bool {
	is := s.not != nil
	s.not = nil
	return is
}

func (s *spec) once(of word, what string) bool {
	if s.seen[what] {
		s.wrong(of, "leave one of them out", "%s is here twice", of.text)
		return false
	}
	s.seen[what] = true
	return true
}

func (s *spec) option() {
	w := s.take()
	if w.text == "!" {
		if s.not != nil {
			s.wrong(w, "leave one out", "a ! behind a !")
			return
		}
		s.not = &w
		return
	}
	text, value, hasValue := strings.Cut(w.text, "=")
	if hasValue && strings.HasPrefix(text, "--") {
		// --dport=80
		s.words = slices.Insert(slices.Clone(s.words), s.next, word{value, w.column + len(text) + 1})
		w.text = text
	}
	if read := baseOptions[w.text]; read != nil {
		read(s, w)
		return
	}
	for _, name := range slices.Backward(s.loaded) {
		if read := moduleOptions[name][w.text]; read != nil {
			s.optionOf(name, w, read)
			return
		}
	}
	if read := targetOptions[s.rule.Target.Name][w.text]; read != nil {
		if s.not != nil {
			s.wrong(*s.not, "leave it out", "a ! does not go before %s", w.text)
			return
		}
		if s.once(w, w.text) {
			read(s, w)
		}
		return
	}
	// -p tcp knows the options of -m tcp.
	if of := s.rule.Protocol; of != nil && !of.Not && moduleOptions[ofProtocol[of.Number]][w.text] != nil {
		s.load(w, ofProtocol[of.Number])
		s.optionOf(ofProtocol[of.Number], w, moduleOptions[ofProtocol[of.Number]][w.text])
		return
	}
	s.unknown(w)
}

// optionOf reads an option of the module that was loaded last under this name: each of them has it once.
func (s *spec) optionOf(name string, w word, read reader) {
	loaded := 0
	for _, one := range s.loaded {
		if one == name {
			loaded++
		}
	}
	if s.once(w, fmt.Sprint(name, loaded, w.text)) {
		read(s, w)
	}
}

// others takes the values of an option that is known by its name alone: they have one, if any, but for those of sets.
func (s *spec) others(text *[]string) {
	most := 1
	if strings.HasSuffix((*text)[len(*text)-1], "-set") {
		most = 2
	}
	for ; most > 0 && s.next < len(s.words) && !strings.HasPrefix(s.words[s.next].text, "-") && s.words[s.next].text != "!"; most-- {
		*text = append(*text, s.take().text)
	}
}

func (s *spec) unknown(w word) {
	for _, name := range []string{"tcp", "udp"} {
		if moduleOptions[name][w.text] != nil {
			s.wrong(w, "write -p tcp or -p udp before it", "%s is of a protocol, and the rule has none", w.text)
			return
		}
	}
	var of []string
	for name, options := range moduleOptions {
		if options[w.text] != nil {
			of = append(of, "-m "+name)
		}
	}
	slices.Sort(of)
	switch {
	case len(of) > 0:
		s.wrong(w, "write "+strings.Join(of, " or ")+" before it", "%s is a module's, and the rule has none that knows it", w.text)
	case strings.HasPrefix(w.text, "-"):
		s.wrong(w, "write it as man iptables-extensions has it", "%s is no option of iptables, nor of the modules before it", w.text)
	default:
		s.wrong(w, "leave it out, or put it into quotes with the word before it", "%q belongs to no option", w.text)
	}
}

type reader func(s *spec, of word)

var baseOptions map[string]reader

func init() {
	baseOptions = map[string]reader{}
	for words, read := range map[string]reader{
		"-s --source --src":      readSource,
		"-d --destination --dst": readDestination,
		"-p --protocol --proto":  readProtocol,
		"-i --in-interface":      readIn,
		"-o --out-interface":     readOut,
		"-f --fragment":          readFragment,
		"-m --match":             readModule,
		"-j --jump":              func(s *spec, of word) { readTarget(s, of, false) },
		"-g --goto":              func(s *spec, of word) { readTarget(s, of, true) },
		"-c --set-counters":      readCounters,
		"-4 --ipv4":              func(s *spec, of word) { s.onlyFor(of, IPv4) },
		"-6 --ipv6":              func(s *spec, of word) { s.onlyFor(of, IPv6) },
		"-w --wait":              func(s *spec, of word) {},
	} {
		for _, one := range strings.Fields(words) {
			baseOptions[one] = read
		}
	}
}

func (s *spec) onlyFor(of word, family Family) {
	if s.family != family {
		s.wrong(of, "leave the rule out here", "the rule is not for IPv%d", s.family)
	}
}

func readCounters(s *spec, of word) {
	for _, into := range []*uint64{&s.rule.Packets, &s.rule.Bytes} {
		w, ok := s.operand(of)
		if !ok {
			return
		}
		number, err := strconv.ParseUint(w.text, 10, 64)
		if err != nil {
			s.wrong(w, "write packets and bytes: -c 12 3400", "%q is no counter", w.text)
			return
		}
		*into = number
	}
}

func readSource(s *spec, of word) {
	if s.once(of, "source") {
		s.sources = s.addresses(of)
	}
}

func readDestination(s *spec, of word) {
	if s.once(of, "destination") {
		s.destinations = s.addresses(of)
	}
}

func (s *spec) addresses(of word) []Address {
	not := s.isNot()
	w, ok := s.operand(of)
	if !ok {
		return nil
	}
	var all []Address
	column := w.column
	for _, text := range strings.Split(w.text, ",") {
		address, ok := s.address(word{text, column})
		if !ok {
			return nil
		}
		column += len(text) + 1
		address.Not = not
		all = append(all, address)
	}
	if bits, is := all[0].Bits(); not && is && bits == 0 {
		s.wrong(w, "leave the rule out", "no address is outside of %s", w.text)
	}
	return all
}

func (s *spec) address(w word) (Address, bool) {
	fix := map[Family]string{IPv4: "write one like 10.0.0.0/24", IPv6: "write one like fd00::/64"}[s.family]
	refuse := func() (Address, bool) {
		s.wrong(w, fix, "%q is no address of IPv%d", w.text, s.family)
		return Address{}, false
	}
	text, mask, hasMask := strings.Cut(w.text, "/")
	ip, err := netip.ParseAddr(text)
	if err != nil && s.family == IPv4 {
		ip, err = shortened(text)
	}
	if err != nil {
		if strings.IndexFunc(text, func(r rune) bool { return r >= 'g' && r <= 'z' }) >= 0 {
			s.wrong(w, "write its address: who it is when it is asked for may change", "%q is a name", w.text)
			return Address{}, false
		}
		return refuse()
	}
	if ip.Zone() != "" {
		return refuse()
	}
	if ip.Is4() != (s.family == IPv4) {
		other := map[Family]string{IPv4: "ip6tables", IPv6: "iptables"}[s.family]
		s.wrong(w, fmt.Sprintf("write the rule with %s, or behind a line \"# Generated by %s-save\"", other, other), "%q is no address of IPv%d, and the rule is", w.text, s.family)
		return Address{}, false
	}
	all := ip.BitLen()
	bits := all
	if hasMask {
		if number, err := strconv.Atoi(mask); err == nil {
			bits = number
		} else if m, err := netip.ParseAddr(mask); err == nil && m.Is4() == ip.Is4() {
			return Address{Address: masked(ip, m), Mask: m}, true
		} else {
			return refuse()
		}
	}
	if bits < 0 || bits > all {
		return refuse()
	}
	m := maskOf(ip.Is4(), bits)
	return Address{Address: masked(ip, m), Mask: m}, true
}

// shortened: iptables takes 10 and 10.1 for 10.0.0.0 and 10.1.0.0.
func shortened(text string) (netip.Addr, error) {
	parts := strings.Split(text, ".")
	if len(parts) > 3 {
		return netip.ParseAddr(text)
	}
	for len(parts) < 4 {
		parts = append(parts, "0")
	}
	return netip.ParseAddr(strings.Join(parts, "."))
}

func maskOf(isIPv4 bool, bits int) netip.Addr {
	if isIPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), bits).Masked().Addr()
	}
	all := [16]byte{}
	for i := range all {
		all[i] = 255
	}
	return netip.PrefixFrom(netip.AddrFrom16(all), bits).Masked().Addr()
}

func masked(ip, mask netip.Addr) netip.Addr {
	bytes, other := ip.AsSlice(), mask.AsSlice()
	for i := range bytes {
		bytes[i] &= other[i]
	}
	address, _ := netip.AddrFromSlice(bytes)
	return address
}

// Bits gives the length of the prefix; false where the mask is none of a prefix.
func (a Address) Bits() (int, bool) {
	length := 0
	for _, one := range a.Mask.AsSlice() {
		ones := bits.LeadingZeros8(^one)
		length += ones
		if ones < 8 {
			break
		}
	}
	return length, maskOf(a.Mask.Is4(), length) == a.Mask
}

var protocols = map[string]uint8{
	"icmp": 1, "igmp": 2, "ipencap": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "icmpv6": 58,
	"ospf": 89, "vrrp": 112, "sctp": 132, "udplite": 136,
}

func readProtocol(s *spec, of word) {
	if !s.once(of, "protocol") {
		return
	}
	not := s.isNot()
	w, ok := s.operand(of)
	if !ok {
		return
	}
	text := strings.ToLower(w.text)
	number, known := protocols[text]
	if !known {
		parsed, err := strconv.ParseUint(text, 0, 8)
		if err != nil && text != "all" {
			s.wrong(w, "write its number, or one of tcp, udp, icmp, ipv6-icmp, esp, ah, gre, sctp", "%q is no protocol", w.text)
			return
		}
		number = uint8(parsed)
	}
	if number == 0 {
		if not {
			s.wrong(w, "leave it out", "no packet is of no protocol")
		}
		return
	}
	s.rule.Protocol = &Protocol{Not: not, Number: number}
}

func readIn(s *spec, of word)  { readDevice(s, of, "in", &s.rule.In) }
func readOut(s *spec, of word) { readDevice(s, of, "out", &s.rule.Out) }

const mostDeviceBytes = 15

func readDevice(s *spec, of word, side string, into **Device) {
	if !s.once(of, side) {
		return
	}
	not := s.isNot()
	w, ok := s.operand(of)
	if !ok {
		return
	}
	if w.text == "" || len(w.text) > mostDeviceBytes || strings.ContainsAny(w.text, "/ \t") {
		s.wrong(w, fmt.Sprintf("write one of up to %d characters, a + at its end for any that begins so", mostDeviceBytes), "%q is no name of an interface", w.text)
		return
	}
	if w.text == "+" {
		if not {
			s.wrong(w, "leave the rule out", "no interface has another name than any")
		}
		return
	}
	*into = &Device{Not: not, Name: w.text}
}

func readFragment(s *spec, of word) {
	if s.family == IPv6 {
		s.wrong(of, "use -m frag", "-f is of IPv4")
		return
	}
	if s.once(of, "fragment") {
		s.rule.Fragment = &Fragment{Not: s.isNot()}
	}
}

// each gives a rule for each pair of addresses.
func (s *spec) each() []*Rule {
	var all []*Rule
	sources, destinations := s.sources, s.destinations
	if len(sources) == 0 {
		sources = []Address{{}}
	}
	if len(destinations) == 0 {
		destinations = []Address{{}}
	}
	for _, source := range sources {
		for _, destination := range destinations {
			r := *s.rule
			r.Source, r.Destination = s.end(source), s.end(destination)
			all = append(all, &r)
		}
	}
	return all
}

// end is nil where all addresses match.
func (s *spec) end(a Address) *Address {
	if !a.Address.IsValid() {
		return nil
	}
	if bits, is := a.Bits(); is && bits == 0 && !a.Not {
		return nil
	}
	return &a
}
