package trace

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// FilterError says where an expression is wrong, and what could stand there.
type FilterError struct {
	Text string
	At   int // byte of the expression
	What string
	Fix  string
}

func (e *FilterError) Error() string {
	return fmt.Sprintf("filter: %s at column %d: %s\n  %s\n  %s^", e.What, e.At+1, e.Fix, e.Text, strings.Repeat(" ", e.At))
}

// A filter is an expression of tcpdump's, over packets as the programs read them: what a tunnel carries is the packet.
type filter interface{ isFilter() }

type (
	both   struct{ a, b filter }
	either struct{ a, b filter }
	not    struct{ a filter }
	// test compares a number of a packet: (field & mask) with a value.
	test struct {
		field field
		mask  uint32
		is    string // = < >
		value uint32
	}
	// within is an address's being in a prefix.
	within struct {
		field  field
		prefix netip.Prefix // IPv4 as IPv6 maps it
	}
)

func (both) isFilter()   {}
func (either) isFilter() {}
func (not) isFilter()    {}
func (test) isFilter()   {}
func (within) isFilter() {}

func allOf(list ...filter) filter { return fold(list, func(a, b filter) filter { return both{a, b} }) }
func anyOf(list ...filter) filter {
	return fold(list, func(a, b filter) filter { return either{a, b} })
}

func fold(list []filter, join func(a, b filter) filter) filter {
	result := list[0]
	for _, one := range list[1:] {
		result = join(result, one)
	}
	return result
}

const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd

	protocolICMP   = 1
	protocolTCP    = 6
	protocolUDP    = 17
	protocolESP    = 50
	protocolICMPv6 = 58
)

// without is f but for what the other wants; nil wants all as a filter, and nothing as what is left out.
func without(f, other filter) filter {
	switch {
	case other == nil:
		return f
	case f == nil:
		return not{other}
	}
	return both{f, not{other}}
}

func equals(f field, value uint32) filter { return test{f, ^uint32(0), "=", value} }

// isWhole: it has its upper header; later fragments have none.
var isWhole = test{fieldFlags, uint32(flagLaterFragment), "=", 0}

var isIPv4, isIPv6 = equals(fieldType, typeIPv4), equals(fieldType, typeIPv6)

// protocols are the words that name what a packet is.
var protocols = map[string]filter{
	"ip":    isIPv4,
	"ip6":   isIPv6,
	"arp":   equals(fieldType, typeARP),
	"tcp":   equals(fieldProtocol, protocolTCP),
	"udp":   equals(fieldProtocol, protocolUDP),
	"icmp":  both{isIPv4, equals(fieldProtocol, protocolICMP)},
	"icmp6": both{isIPv6, equals(fieldProtocol, protocolICMPv6)},
	"esp":   equals(fieldOutsideProtocol, protocolESP),
	"vxlan": equals(fieldOutsideProtocol, protocolUDP),
}

// numbers are what can be compared: `tcp[tcpflags] & tcp-syn != 0`, `len > 100`.
var numbers = map[string]struct {
	field field
	shift uint32 // the number is in the field's upper bits
	mask  uint32
	of    filter
}{
	"tcp[tcpflags]":    {fieldTCPFlags, 0, 0xff, protocols["tcp"]},
	"tcp[13]":          {fieldTCPFlags, 0, 0xff, protocols["tcp"]},
	"icmp[icmptype]":   {fieldSourcePort, 8, 0xff, protocols["icmp"]},
	"icmp[0]":          {fieldSourcePort, 8, 0xff, protocols["icmp"]},
	"icmp[icmpcode]":   {fieldSourcePort, 0, 0xff, protocols["icmp"]},
	"icmp[1]":          {fieldSourcePort, 0, 0xff, protocols["icmp"]},
	"icmp6[icmp6type]": {fieldSourcePort, 8, 0xff, protocols["icmp6"]},
	"icmp6[0]":         {fieldSourcePort, 8, 0xff, protocols["icmp6"]},
	"ip[8]":            {fieldHops, 0, 0xff, protocols["ip"]},
	"len":              {fieldLength, 0, ^uint32(0), nil},
}

var constants = map[string]uint32{
	"tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-echo": 8, "icmp-timxceed": 11,
	"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136,
}

type token struct {
	text string
	at   int
}

type parser struct {
	text   string
	tokens []token
	next   int
	last   qualifiers
}

// qualifiers are what a bare value that follows has, too: `src host A or B`, `tcp port 80 or 443`.
type qualifiers struct {
	outside   bool
	way, what string
	of        filter // a protocol before them
}

// parseFilter reads an expression; nil where it is empty.
func parseFilter(text string) (filter, error) {
	p := &parser{text: text}
	if err := p.split(); err != nil {
		return nil, err
	}
	if len(p.tokens) == 0 {
		return nil, nil
	}
	f, err := p.or()
	if err != nil {
		return nil, err
	}
	if t, is := p.peek(); is {
		return nil, p.fail(t.at, fmt.Sprintf("%q comes after a whole expression", t.text), "join the two by `and` or `or`")
	}
	return f, nil
}

func (p *parser) fail(at int, what, fix string) error { return &FilterError{p.text, at, what, fix} }

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".:/-_", c) >= 0
}

func (p *parser) split() error {
	for i := 0; i < len(p.text); {
		switch c := p.text[i]; {
		case c == ' ' || c == '\t' || c == '\n':
			i++
		case isWord(c):
			begin := i
			for i < len(p.text) && isWord(p.text[i]) {
				i++
			}
			p.tokens = append(p.tokens, token{p.text[begin:i], begin})
		default:
			width := 1
			for _, two := range []string{"&&", "||", "!=", "==", "<=", ">="} {
				if strings.HasPrefix(p.text[i:], two) {
					width = 2
				}
			}
			if width == 1 && strings.IndexByte("()[]!&|=<>", c) < 0 {
				return p.fail(i, fmt.Sprintf("%q has no meaning", string(c)), "take it away, or quote the whole expression for your shell")
			}
			p.tokens = append(p.tokens, token{p.text[i : i+width], i})
			i += width
		}
	}
	return nil
}

func (p *parser) peek() (token, bool) {
	if p.next >= len(p.tokens) {
		return token{"", len(p.text)}, false
	}
	return p.tokens[p.next], true
}

// take goes on where the next word is one of these.
func (p *parser) take(words ...string) (token, bool) {
	t, is := p.peek()
	for _, word := range words {
		if is && t.text == word {
			p.next++
			return t, true
		}
	}
	return t, false
}

// or is also and: the two bind alike, from the left, as tcpdump has it.
func (p *parser) or() (filter, error) {
	a, err := p.unary()
	for err == nil {
		word, is := p.take("or", "||", "and", "&&")
		if !is {
			return a, nil
		}
		var b filter
		if b, err = p.unary(); word.text == "or" || word.text == "||" {
			a = either{a, b}
		} else {
			a = both{a, b}
		}
	}
	return nil, err
}

func (p *parser) unary() (filter, error) {
	if _, is := p.take("not", "!"); is {
		a, err := p.unary()
		return not{a}, err
	}
	if open, is := p.take("("); is {
		a, err := p.or()
		if err != nil {
			return nil, err
		}
		if _, is := p.take(")"); !is {
			return nil, p.fail(open.at, "this parenthesis is never closed", "write the `)` that is missing")
		}
		return a, nil
	}
	return p.primitive()
}

const primitives = "a protocol (ip, ip6, arp, tcp, udp, icmp, icmp6, esp, vxlan), [src|dst] host ADDRESS, net PREFIX, port N, portrange N-N, outside host ADDRESS, vni N, len > N, or tcp[tcpflags] & tcp-syn != 0 is wanted"

func (p *parser) primitive() (filter, error) {
	t, is := p.peek()
	if !is {
		return nil, p.fail(t.at, "the expression ends too early", primitives)
	}
	if f, is := protocols[t.text]; is {
		p.next++
		if _, bracket := p.peek(); bracket && p.tokens[p.next].text == "[" {
			p.next--
			return p.comparison()
		}
		// `tcp port 80` is both.
		if follows, more := p.peek(); more && isQualifier(follows.text) {
			rest, err := p.qualified()
			p.last.of = f
			return both{f, rest}, err
		}
		return f, nil
	}
	switch t.text {
	case "len":
		return p.comparison()
	case "less", "greater":
		p.next++
		value, err := p.number("a length in bytes")
		if t.text == "less" {
			return not{test{fieldLength, ^uint32(0), ">", value}}, err
		}
		return not{test{fieldLength, ^uint32(0), "<", value}}, err
	case "vni":
		p.next++
		value, err := p.number("a VXLAN network's number")
		return both{protocols["vxlan"], equals(fieldVNI, value)}, err
	}
	if isQualifier(t.text) {
		return p.qualified()
	}
	if _, err := netip.ParseAddr(t.text); err == nil {
		return p.bare()
	}
	if p.last.what == "port" || p.last.what == "portrange" {
		if _, _, err := ports(t.text, p.last.what == "portrange"); err == nil {
			return p.bare()
		}
	}
	if _, err := netip.ParsePrefix(t.text); err == nil {
		return nil, p.fail(t.at, fmt.Sprintf("%q is a prefix", t.text), "write `net "+t.text+"`")
	}
	return nil, p.fail(t.at, fmt.Sprintf("%q is no word of a filter", t.text), primitives)
}

func isQualifier(word string) bool {
	return word == "src" || word == "dst" || word == "host" || word == "net" || word == "port" || word == "portrange" || word == "outside"
}

// bare is a value with the qualifiers of the one before it; without any it is a host.
func (p *parser) bare() (filter, error) {
	q := p.last
	f, err := p.value(q)
	if err == nil && q.of != nil {
		f = both{q.of, f}
	}
	return f, err
}

// qualified is [outside] [src|dst] (host|net|port|portrange) VALUE; without a word it is a host.
func (p *parser) qualified() (filter, error) {
	_, outside := p.take("outside")
	way, hasWay := p.take("src", "dst")
	what, said := p.take("host", "net", "port", "portrange")
	q := qualifiers{outside: outside}
	if hasWay {
		q.way = way.text
	}
	if said {
		q.what = what.text
	}
	p.last = q
	if outside && (q.what == "port" || q.what == "portrange") {
		return nil, p.fail(what.at, "a tunnel's ports are not judged", "write `outside host ADDRESS`, or `vni N`")
	}
	return p.value(q)
}

func (p *parser) value(q qualifiers) (filter, error) {
	value, is := p.peek()
	if !is {
		return nil, p.fail(value.at, "the expression ends too early", "an address, a prefix or a port is wanted")
	}
	p.next++
	ends := func(source, target field, of func(field) filter) filter {
		switch {
		case q.way == "src":
			return of(source)
		case q.way == "dst":
			return of(target)
		}
		return either{of(source), of(target)}
	}
	if q.what == "port" || q.what == "portrange" {
		low, high, err := ports(value.text, q.what == "portrange")
		if err != nil {
			return nil, p.fail(value.at, err.Error(), "write a number from 0 to 65535, of a range two: 5000-5100")
		}
		hasPorts := both{either{protocols["tcp"], protocols["udp"]}, isWhole}
		return both{hasPorts, ends(fieldSourcePort, fieldTargetPort, func(f field) filter {
			if low == high {
				return equals(f, low)
			}
			return both{not{test{f, ^uint32(0), "<", low}}, not{test{f, ^uint32(0), ">", high}}}
		})}, nil
	}
	prefix, err := netip.ParsePrefix(value.text)
	if err != nil || q.what != "net" {
		address, err := netip.ParseAddr(value.text)
		if err != nil {
			fix := "write an address as numbers: names are not looked up; systems are chosen by --system"
			if q.what == "net" {
				fix = "write a prefix: 10.0.0.0/24"
			}
			return nil, p.fail(value.at, fmt.Sprintf("%q is no address", value.text), fix)
		}
		prefix = netip.PrefixFrom(address, address.BitLen())
	}
	source, target := fieldInsideSource, fieldInsideTarget
	if q.outside {
		source, target = fieldOutsideSource, fieldOutsideTarget
	}
	judged := ends(source, target, func(f field) filter { return within{f, mapped(prefix)} })
	if prefix.Addr().Is6() && !q.outside {
		// Mapped IPv4 is within ::/0.
		return both{isIPv6, judged}, nil
	}
	return judged, nil
}

func mapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4() {
		return netip.PrefixFrom(netip.AddrFrom16(p.Addr().As16()), p.Bits()+96)
	}
	return p
}

func ports(text string, isRange bool) (low, high uint32, err error) {
	first, last := text, text
	if isRange {
		var is bool
		if first, last, is = strings.Cut(text, "-"); !is {
			return 0, 0, fmt.Errorf("%q is no range", text)
		}
	}
	for _, one := range []struct {
		text string
		to   *uint32
	}{{first, &low}, {last, &high}} {
		n, err := strconv.ParseUint(one.text, 10, 16)
		if err != nil {
			return 0, 0, fmt.Errorf("%q is no port", one.text)
		}
		*one.to = uint32(n)
	}
	if low > high {
		return 0, 0, fmt.Errorf("%d is more than %d", low, high)
	}
	return low, high, nil
}

func (p *parser) number(what string) (uint32, error) {
	t, is := p.peek()
	if is {
		if value, known := constants[t.text]; known {
			p.next++
			return value, nil
		}
		if value, err := strconv.ParseUint(t.text, 0, 32); err == nil {
			p.next++
			return uint32(value), nil
		}
	}
	return 0, p.fail(t.at, fmt.Sprintf("%q is no number", t.text), what+" is wanted")
}

// comparison is `len > 100`, `icmp[icmptype] = icmp-echo`, `tcp[tcpflags] & (tcp-syn|tcp-ack) != 0`.
func (p *parser) comparison() (filter, error) {
	begin, _ := p.peek()
	name := begin.text
	p.next++
	if name != "len" {
		p.next++ // the bracket
		inside, is := p.peek()
		p.next++
		if _, closed := p.take("]"); !is || !closed {
			return nil, p.fail(begin.at, "this bracket is never closed", "write one of "+known())
		}
		name += "[" + inside.text + "]"
	}
	n, is := numbers[name]
	if !is {
		return nil, p.fail(begin.at, fmt.Sprintf("%s cannot be compared", name), "write one of "+known())
	}
	mask := n.mask
	if _, is := p.take("&"); is {
		value, err := p.bits()
		if err != nil {
			return nil, err
		}
		mask &= value
	}
	is2, ok := p.take("=", "==", "!=", "<", ">", "<=", ">=")
	if !ok {
		return nil, p.fail(is2.at, "a comparison is wanted", "write = != < > <= or >= and a number")
	}
	value, err := p.bits()
	if err != nil {
		return nil, err
	}
	compared := func(how string) filter { return test{n.field, mask << n.shift, how, value << n.shift} }
	var f filter
	switch is2.text {
	case "=", "==":
		f = compared("=")
	case "!=":
		f = not{compared("=")}
	case "<":
		f = compared("<")
	case ">":
		f = compared(">")
	case "<=":
		f = not{compared(">")}
	case ">=":
		f = not{compared("<")}
	}
	if n.of != nil {
		f = both{both{n.of, isWhole}, f}
	}
	return f, nil
}

// bits is a number, or several with | between them, in parentheses or not.
func (p *parser) bits() (uint32, error) {
	open, parenthesis := p.take("(")
	value, err := p.number("a number")
	for err == nil {
		if _, is := p.take("|"); !is {
			break
		}
		var more uint32
		more, err = p.number("a number")
		value |= more
	}
	if err == nil && parenthesis {
		if _, is := p.take(")"); !is {
			return 0, p.fail(open.at, "this parenthesis is never closed", "write the `)` that is missing")
		}
	}
	return value, err
}

func known() string {
	return "len, tcp[tcpflags], icmp[icmptype], icmp[icmpcode], icmp6[icmp6type], ip[8]"
}
