package firewall

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"flipflap.local/agent/iptables"
)

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

var (
	addresses4 = strings.Fields("10.0.0.1 10.0.0.2 10.0.1.0/24 10.0.0.0/16 10.0.0.0/30 10.128.0.0/9 0.0.0.0/1 10.0.0.1,10.0.1.7")
	addresses6 = strings.Fields("fd00::1 fd00::2 fd00:0:0:1::/64 fd00::/48 fd00::/126 8000::/1 fd00::1,fd00:0:0:1::7")
	ports      = strings.Fields("80 1:100 443 1024: :79 0 65535")
	devices    = []string{"red", "red-db", "blue"}
)

var sets4 = `create ips hash:ip
add ips 10.0.0.1
add ips 10.0.1.0-10.0.1.5
create nets hash:net
add nets 10.0.0.0/16
add nets 10.0.1.0/24 nomatch
add nets 10.0.1.7
create ends hash:net,port
add ends 10.0.0.0/24,tcp:80
add ends 10.0.0.0/30,tcp:1-100
add ends 10.0.1.7,udp:443
`

var sets6 = strings.NewReplacer("ips", "ips6", "nets", "nets6", "ends", "ends6", "hash:ip\n", "hash:ip family inet6\n", "hash:net\n", "hash:net family inet6\n",
	"hash:net,port\n", "hash:net,port family inet6\n", "10.0.1.0-10.0.1.5", "fd00:0:0:1::3", "10.0.0.0/16", "fd00::/48", "10.0.1.0/24", "fd00:0:0:1::/64",
	"10.0.1.7", "fd00:0:0:1::7", "10.0.0.0/24", "fd00::/64", "10.0.0.0/30", "fd00::/126", "10.0.0.1", "fd00::1").Replace(sets4)

// made gives commands of a small world, so that packets meet rules.
func made(r *rand.Rand, family iptables.Family, rules int) string {
	program, icmp, types, addresses, sets, six := "iptables", "icmp", "--icmp-type", addresses4, sets4, ""
	if family == iptables.IPv6 {
		program, icmp, types, addresses, sets, six = "ip6tables", "ipv6-icmp", "--icmpv6-type", addresses6, sets6, "6"
	}
	lines := strings.Split(strings.TrimSpace(sets), "\n")
	say := func(format string, args ...any) { lines = append(lines, program+" "+fmt.Sprintf(format, args...)) }
	chains := []string{"FORWARD", "a", "b", "c"}
	for _, c := range chains[1:] {
		say("-N %s", c)
	}
	say("-P FORWARD %s", pick(r, "ACCEPT", "DROP"))
	not := func() string { return pick(r, "", "", "", "! ") }
	for range rules {
		at := r.IntN(len(chains))
		words := []string{"-A", chains[at]}
		add := func(chance int, format string, args ...any) {
			if r.IntN(100) < chance {
				words = append(words, fmt.Sprintf(format, args...))
			}
		}
		end := func(option string) {
			address := pick(r, addresses...)
			if strings.Contains(address, ",") {
				words = append(words, option+" "+address)
			} else {
				words = append(words, not()+option+" "+address)
			}
		}
		if r.IntN(100) < 40 {
			end("-s")
		}
		if r.IntN(100) < 40 && !strings.Contains(strings.Join(words, " "), "! ") {
			end("-d")
		}
		if line := strings.Join(words, " "); strings.Contains(line, ",") && strings.Contains(line, "! ") {
			continue
		}
		add(15, "%s-i %s", not(), pick(r, "red", "red+", "blue", "other"))
		add(15, "%s-o %s", not(), pick(r, "red-db", "r+"))
		limit := func(chance int) { add(chance, "-m limit --limit %d/second", 1+r.IntN(50)) }
		switch r.IntN(6) {
		case 0:
			add(100, "-p tcp")
			limit(10)
			add(60, "-m tcp %s--dport %s", not(), pick(r, ports...))
			add(30, "-m tcp %s--sport %s", not(), pick(r, ports...))
			add(30, "-m tcp %s", pick(r, "--syn", "! --syn", "--tcp-flags ALL SYN,ACK", "--tcp-flags SYN,RST NONE"))
		case 1:
			add(100, "-p udp -m multiport %s--%s %s", not(), pick(r, "dports", "sports", "ports", "ports"), pick(r, "80,443", "1:100,1024:", "0"))
		case 2:
			add(100, "-p %s -m %s %s%s %s", icmp, map[iptables.Family]string{iptables.IPv4: "icmp", iptables.IPv6: "icmp6"}[family], not(), types, pick(r, "1", "3/1", "8", "128"))
		case 3:
			add(100, "%s-p %s", not(), pick(r, "tcp", "udp", "47"))
		}
		add(20, "-m conntrack %s--ctstate %s", not(), pick(r, "NEW", "RELATED,ESTABLISHED", "INVALID"))
		if family == iptables.IPv4 {
			add(5, "%s-f", not())
			add(10, "-m iprange %s--src-range 10.0.0.2-10.0.1.3", not())
		}
		add(15, "-m set %s--match-set %s %s", not(), pick(r, "ips", "nets")+six, pick(r, "src", "dst"))
		add(10, "-m set --match-set ends%s %s", six, pick(r, "src,dst", "dst,dst", "src,src"))
		add(15, "-m mark %s--mark %s", not(), pick(r, "1", "0x2/0x2", "0"))
		limit(10)
		add(20, "-m comment --comment %q", "a rule")
		// Chains lead forwards only.
		target := pick(r, "-j ACCEPT", "-j DROP", "-j REJECT", "-j LOG", "", "-j RETURN", "-j MARK --set-mark 1", "-j MARK --or-mark 2")
		// What a chain has comes as many times as it is jumped to.
		if at < len(chains)-1 && r.IntN(100) < min(40, 300/rules) {
			target = pick(r, "-j ", "-j ", "-g ") + chains[at+1+r.IntN(len(chains)-1-at)]
		}
		say("%s %s", strings.Join(words, " "), target)
	}
	return strings.Join(lines, "\n")
}

func packet(r *rand.Rand, family iptables.Family) Packet {
	ends := strings.Fields("10.0.0.1 10.0.0.2 10.0.0.3 10.0.1.7 10.0.1.3 10.0.255.255 10.1.0.0 10.200.0.1 192.168.0.1 0.0.0.0 255.255.255.255")
	if family == iptables.IPv6 {
		ends = strings.Fields("fd00::1 fd00::2 fd00::3 fd00:0:0:1::7 fd00:0:0:2::1 fd00:0:1::1 2001:db8::1 :: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	}
	p := Packet{
		Family: family, Source: netip.MustParseAddr(pick(r, ends...)), Destination: netip.MustParseAddr(pick(r, ends...)),
		Protocol: pick[uint8](r, 6, 6, 17, 17, 1, 58, 47, 132), State: pick(r, iptables.New, iptables.Established, iptables.Related, iptables.Invalid, iptables.Untracked),
		In: pick(r, append(devices, "")...), Out: pick(r, append(devices, "")...),
	}
	port := func() uint16 { return pick[uint16](r, 0, 1, 79, 80, 81, 100, 101, 443, 1023, 1024, 65535) }
	p.SourcePort, p.DestinationPort = port(), port()
	p.TCPFlags = pick[uint8](r, 0x02, 0x12, 0x10, 0x04, 0, 0x3f, 0xd2)
	p.Type, p.Code = pick[uint8](r, 0, 1, 3, 8, 128, 255), pick[uint8](r, 0, 1, 255)
	p.IsLaterFragment = r.IntN(20) == 0
	return p
}

// run follows a packet, and writes down what it meets.
type run struct {
	verdict Verdict
	met     []string
}

func followed(judge func(Passes, func(*iptables.Rule)) Verdict) run {
	var met run
	met.verdict = judge(func(m iptables.Match) bool {
		limit := m.(*iptables.Limit)
		met.met = append(met.met, "limit "+limit.Rate.String())
		return limit.Rate.Number%3 != 0
	}, func(r *iptables.Rule) { met.met = append(met.met, fmt.Sprint(r.Line, " ", r.Spec())) })
	return met
}

func TestProgramsAndTheirIndexJudgeAsTheChainsDo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	verdicts := map[bool]int{}
	met := 0
	for n := range 1500 {
		family := pick(r, iptables.IPv4, iptables.IPv6)
		size := 1 + r.IntN(60)
		if n%100 == 0 {
			size = 2000 // several blocks
		}
		text := made(r, family, size)
		set := iptables.Parse(text)
		if len(set.Faults) > 0 {
			t.Fatalf("%s\n%v", text, set.Faults[0])
		}
		program, err := Compile(set.Tables[0], "FORWARD", devices)
		if err != nil {
			t.Fatal(err)
		}
		index := NewIndex(program)
		for range 100 {
			p := packet(r, family)
			want := followed(func(passes Passes, matched func(*iptables.Rule)) Verdict {
				return Walk(set.Tables[0], "FORWARD", p, passes, matched)
			})
			for name, first := range map[string]func(int, *[fieldFields]Number) int{"one by one": program.First, "by the index": index.First} {
				got := followed(func(passes Passes, matched func(*iptables.Rule)) Verdict {
					return program.Judge(p, first, passes, matched)
				})
				if got.verdict != want.verdict || !slices.Equal(got.met, want.met) {
					t.Fatalf("%s: %+v\n%s\n got %v %q\nwant %v %q", name, p, text, got.verdict.Accept, got.met, want.verdict.Accept, want.met)
				}
			}
			verdicts[want.verdict.Accept]++
			met += len(want.met)
		}
	}
	if min(verdicts[true], verdicts[false]) < 30_000 || met < 100_000 {
		t.Fatalf("%v, %d rules met: that shows little", verdicts, met)
	}
	fmt.Printf("%d packets judged alike, %d rules met\n", verdicts[true]+verdicts[false], met)
}
