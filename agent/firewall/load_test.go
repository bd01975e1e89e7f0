package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"flipflap.local/agent/iptables"
	"github.com/cilium/ebpf"
)

func objectPath(t *testing.T) string {
	path := os.Getenv("FLIPFLAP_BPF")
	if path == "" {
		t.Skip("FLIPFLAP_BPF names no object")
	}
	return path
}

// judging are the programs of tests: one is given what state a packet's connection is in.
type judging struct {
	shared
	Judge *ebpf.Program `ebpf:"firewall_judge"`
}

func (j *judging) Close() {
	j.Judge.Close()
	j.shared.Close()
}

func loaded(path string, rules *Rules, counts counting) (*judging, error) {
	var j judging
	return &j, load(object(path, ""), rules, counts, &j)
}

// inForce loads the rules of a text: all count in the first place, and the policies in the second.
func inForce(t *testing.T, path, text string) (*Rules, *judging) {
	t.Helper()
	rules := Read(text, nil)
	if len(rules.Faults) > 0 {
		t.Fatal(rules.Faults[0])
	}
	l, err := loaded(path, rules, counting{2, everyPolicyAt(1), func(*iptables.Rule) uint32 { return 0 }})
	if err != nil {
		var said *ebpf.VerifierError
		if errors.As(err, &said) {
			t.Fatalf("%+v", said)
		}
		t.Fatal(err)
	}
	return rules, l
}

func everyPolicyAt(slot int) map[iptables.Family]uint32 {
	return map[iptables.Family]uint32{iptables.IPv4: uint32(slot), iptables.IPv6: uint32(slot)}
}

// context is what a program of tc is given and gives back, in a test: struct __sk_buff.
const (
	contextBytes = 192
	markAt       = 8
	cbAt         = 48
)

// inKernel runs a packet through the loaded program, and gives its verdict and mark.
func inKernel(t *testing.T, judge *ebpf.Program, program *Program, p Packet, repeat uint32) (accepts bool, mark, entry, tracked uint32) {
	t.Helper()
	return asked(t, judge, program, p, repeat, 0)
}

// asked is inKernel with more of what is asked (bpf/firewall/ask.h).
func asked(t *testing.T, judge *ebpf.Program, program *Program, p Packet, repeat, more uint32) (accepts bool, mark, entry, tracked uint32) {
	t.Helper()
	context, after := make([]byte, contextBytes), make([]byte, contextBytes)
	binary.LittleEndian.PutUint32(context[markAt:], p.Mark)
	numbers := program.numbers(&p)
	state := uint32(bits.TrailingZeros(uint(p.State)))
	binary.LittleEndian.PutUint32(context[cbAt:], state|uint32(numbers[fieldIn].Low)<<8|uint32(numbers[fieldOut].Low)<<16|more)
	verdict, err := judge.Run(&ebpf.RunOptions{Data: p.frame([6]byte{2}), Context: context, ContextOut: after, Repeat: repeat})
	if err != nil {
		t.Fatal(err)
	}
	return verdict == 0xffffffff, binary.LittleEndian.Uint32(after[markAt:]), binary.LittleEndian.Uint32(after[cbAt+4:]), binary.LittleEndian.Uint32(after[cbAt+8:])
}

// counted gives the packets of each counter, of all processors.
func counted(t *testing.T, m *ebpf.Map, count int) []uint64 {
	all := make([]uint64, count)
	for i := range all {
		var values []counterValue
		if err := m.Lookup(uint32(i), &values); err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			all[i] += v.Packets
		}
	}
	return all
}

func TestTheProgramJudgesAsTheChainsDo(t *testing.T) {
	path := objectPath(t)
	r := rand.New(rand.NewPCG(5, 6))
	verdicts := map[bool]int{}
	met := uint64(0)
	for n := range 30 {
		size := 1 + r.IntN(60)
		if n%20 == 0 {
			size = 3000 // several words of blocks
		}
		programs := map[iptables.Family]*Program{}
		tables := map[iptables.Family]*iptables.Table{}
		counter := map[*iptables.Rule]uint32{}
		for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
			var lines []string
			for _, line := range strings.Split(made(r, family, size), "\n") {
				if !strings.Contains(line, "-m limit") {
					lines = append(lines, line)
				}
			}
			set := iptables.Parse(strings.Join(lines, "\n"))
			if len(set.Faults) > 0 {
				t.Fatal(set.Faults[0])
			}
			tables[family] = set.Tables[0]
			for _, c := range set.Tables[0].Chains {
				for _, rule := range c.Rules {
					counter[rule] = uint32(len(counter))
				}
			}
			var err error
			if programs[family], err = Compile(set.Tables[0], "FORWARD", devices); err != nil {
				t.Fatal(err)
			}
		}
		l, err := loaded(path, &Rules{IPv4: programs[iptables.IPv4], IPv6: programs[iptables.IPv6]}, counting{uint32(len(counter) + 1), everyPolicyAt(len(counter)), func(rule *iptables.Rule) uint32 { return counter[rule] }})
		if err != nil {
			var said *ebpf.VerifierError
			if errors.As(err, &said) {
				t.Fatalf("%+v", said)
			}
			t.Fatal(err)
		}
		want := make([]uint64, len(counter))
		for range 300 {
			family := pick(r, iptables.IPv4, iptables.IPv6)
			p := packet(r, family)
			if p.IsLaterFragment && family == iptables.IPv6 {
				continue
			}
			p.Mark = pick[uint32](r, 0, 1, 2)
			program := programs[family]
			marked := p.Mark
			verdict := Walk(tables[family], "FORWARD", p, nil, func(rule *iptables.Rule) {
				want[counter[rule]]++
				if rule.Target.Name == "MARK" {
					marked = marked&^rule.Target.MarkMask ^ rule.Target.MarkValue
				}
			})
			accepts, mark, entry, _ := inKernel(t, l.Judge, program, p, 1)
			if accepts != verdict.Accept || mark != marked {
				t.Fatalf("%+v: the program says %v with mark %d by entry %d of %d, the chains %v with mark %d", p, accepts, mark, entry, len(program.Entries), verdict.Accept, marked)
			}
			verdicts[accepts]++
		}
		got := counted(t, l.Counters, len(counter))
		for rule, at := range counter {
			if got[at] != want[at] {
				t.Fatalf("%s: %d packets, want %d", rule.Spec(), got[at], want[at])
			}
			met += got[at]
		}
		l.Close()
	}
	if min(verdicts[true], verdicts[false]) < 1500 || met < 5000 {
		t.Fatalf("%v, %d rules met: that shows little", verdicts, met)
	}
	fmt.Printf("%d packets judged alike, %d rules met\n", verdicts[true]+verdicts[false], met)
}

// fitted is a packet that an entry takes.
func fitted(r *rand.Rand, p *Program, e *Entry) Packet {
	var n [fieldFields]uint64
	for f := range fieldFields {
		s := Span{Last: f.most(p.Family)}
		if e.Ranges[f] != nil {
			s = e.Ranges[f][r.IntN(len(e.Ranges[f]))]
		}
		n[f] = s.First.Low + r.Uint64N(s.Last.Low-s.First.Low+1)
	}
	address := func(n uint64) netip.Addr {
		var bytes [4]byte
		binary.BigEndian.PutUint32(bytes[:], uint32(n))
		return netip.AddrFrom4(bytes)
	}
	made := Packet{
		Family: iptables.IPv4, Source: address(n[fieldSource]), Destination: address(n[fieldDestination]), Protocol: uint8(n[fieldProtocol]),
		SourcePort: uint16(n[fieldSourcePort]), DestinationPort: uint16(n[fieldDestinationPort]), State: iptables.New,
	}
	if e.Ranges[fieldProtocol] == nil {
		made.Protocol = 17
	}
	return made
}

// The time that one packet takes, and what rules take: FLIPFLAP_RULES names a file of IPv4.
func TestPriceOfAPacket(t *testing.T) {
	path := objectPath(t)
	file := os.Getenv("FLIPFLAP_RULES")
	if file == "" {
		t.Skip("FLIPFLAP_RULES names no file")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	set := iptables.Parse(string(text) + "\nip6tables -P FORWARD DROP\n")
	if len(set.Faults) > 0 {
		t.Fatal(set.Faults[0])
	}
	parsed := time.Now()
	program, err := Compile(set.Tables[0], "FORWARD", nil)
	if err != nil {
		t.Fatal(err)
	}
	none, err := Compile(set.Tables[1], "FORWARD", nil)
	if err != nil {
		t.Fatal(err)
	}
	compiled := time.Now()
	index := NewIndex(program)
	indexed := time.Now()
	load := func(p *Program) *judging {
		l, err := loaded(path, &Rules{IPv4: p, IPv6: none}, counting{1, everyPolicyAt(0), func(*iptables.Rule) uint32 { return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := load(program)
	defer l.Close()
	fmt.Printf("%d entries: parsed in %v, compiled in %v, indexed in %v, indexed and loaded in %v; %.1f MiB\n", len(program.Entries), parsed.Sub(begin),
		compiled.Sub(parsed), indexed.Sub(compiled), time.Since(indexed), float64(index.Bytes())/(1<<20))
	open := &Program{Family: iptables.IPv4, Accept: true}
	bare := load(open)
	defer bare.Close()
	r := rand.New(rand.NewPCG(1, 2))
	const packets, repeats = 3000, 200
	var with, without time.Duration
	wrong := 0
	for range packets {
		p := fitted(r, program, &program.Entries[r.IntN(len(program.Entries))])
		numbers := program.numbers(&p)
		want := index.First(0, &numbers)
		if _, _, entry, _ := inKernel(t, l.Judge, program, p, 1); int(entry) != want {
			wrong++
		}
		begin := time.Now()
		inKernel(t, bare.Judge, open, p, repeats)
		without += time.Since(begin)
		begin = time.Now()
		inKernel(t, l.Judge, program, p, repeats)
		with += time.Since(begin)
	}
	fmt.Printf("%d packets, %d judged otherwise; %d ns more a packet than with no rules (%d)\n", packets, wrong, (with-without).Nanoseconds()/packets/repeats,
		without.Nanoseconds()/packets/repeats)
}

// A limit lets its burst pass, and then so many in a time.
func TestLimitsPassWhatTheySay(t *testing.T) {
	path := objectPath(t)
	rules, l := inForce(t, path, "iptables -P FORWARD DROP\niptables -A FORWARD -m limit --limit 10/second --limit-burst 3 -p udp -j ACCEPT\n")
	defer l.Close()
	p := Packet{Family: iptables.IPv4, Protocol: 17, Source: netip.MustParseAddr("10.0.0.1"), Destination: netip.MustParseAddr("10.0.0.2"), State: iptables.New}
	begin, passed, sent := time.Now(), 0, 0
	for ; time.Since(begin) < time.Second; sent++ {
		if accepts, _, _, _ := inKernel(t, l.Judge, rules.IPv4, p, 1); accepts {
			passed++
		}
	}
	// The burst, and one for each tenth of the time that all took.
	most := 3 + int(time.Since(begin)/(100*time.Millisecond))
	if passed > most || passed < most-2 || sent < 100 {
		t.Errorf("%d of %d passed, %d were to", passed, sent, most)
	}
	if counts := counted(t, l.Counters, 2); counts[0] != uint64(passed) || counts[1] != uint64(sent-passed) {
		t.Errorf("counted %v, of %d %d passed", counts, sent, passed)
	}
}
