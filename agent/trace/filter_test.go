package trace

import (
	"errors"
	"math/rand"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

func packetOf(t *testing.T, from, to string, protocol uint8, source, target uint16) packet {
	t.Helper()
	p := packet{Protocol: protocol, SourcePort: source, TargetPort: target, Length: 98, Hops: 64, Type: typeIPv4}
	p.Inside.Source, p.Inside.Target = netip.MustParseAddr(from).As16(), netip.MustParseAddr(to).As16()
	if netip.MustParseAddr(from).Is6() {
		p.Type = typeIPv6
	}
	return p
}

func samples(t *testing.T) map[string]packet {
	echo := packetOf(t, "10.0.0.1", "10.0.0.2", protocolICMP, 8<<8, 7)
	inTunnel := packetOf(t, "10.1.0.1", "10.1.0.2", protocolTCP, 5201, 40000)
	inTunnel.Outside.Source, inTunnel.Outside.Target = netip.MustParseAddr("198.18.0.1").As16(), netip.MustParseAddr("198.18.0.2").As16()
	inTunnel.OutsideProtocol, inTunnel.Vni, inTunnel.TcpFlags = protocolUDP, 7, 2
	return map[string]packet{
		"echo":   echo,
		"tunnel": inTunnel,
		"dns":    packetOf(t, "fd00::1", "fd00::2", protocolUDP, 40000, 53),
		"arp":    {Type: typeARP, Length: 42},
	}
}

var judged = map[string][]string{
	"icmp":                                  {"echo"},
	"icmp and host 10.0.0.2":                {"echo"},
	"icmp && src host 10.0.0.2":             nil,
	"src 10.0.0.1":                          {"echo"},
	"10.0.0.1":                              {"echo"},
	"net 10.0.0.0/8":                        {"echo", "tunnel"},
	"dst net 10.1.0.0/16":                   {"tunnel"},
	"net fd00::/64":                         {"dns"},
	"ip6 and udp dst port 53":               {"dns"},
	"portrange 5200-5300":                   {"tunnel"},
	"port 53 or arp":                        {"dns", "arp"},
	"not (icmp or arp)":                     {"tunnel", "dns"},
	"! ip6 and ! arp":                       {"echo", "tunnel"},
	"outside host 198.18.0.2":               {"tunnel"},
	"outside dst host 198.18.0.1":           nil,
	"host 198.18.0.2":                       nil,
	"vni 7":                                 {"tunnel"},
	"vni 8":                                 nil,
	"vxlan":                                 {"tunnel"},
	"tcp[tcpflags] & (tcp-syn|tcp-ack) = 2": {"tunnel"},
	"tcp[tcpflags] & tcp-ack != 0":          nil,
	"icmp[icmptype] = icmp-echo":            {"echo"},
	"icmp[icmptype] != icmp-echo":           nil,
	"less 50":                               {"arp"},
	"greater 50":                            {"echo", "tunnel", "dns"},
	"len > 42 and len <= 98":                {"echo", "tunnel", "dns"},
	"":                                      {"echo", "tunnel", "dns", "arp"},
	"tcp or udp or icmp and host 10.0.0.1":  {"echo"}, // from the left, as tcpdump has it
	"tcp or (icmp and host 10.0.0.1)":       {"tunnel", "echo"},
	"src host 10.0.0.2 or 10.1.0.1":         {"tunnel"},
	"dst host 10.0.0.1 or 10.1.0.1":         nil,
	"udp port 80 or 53":                     {"dns"},
	"tcp port 80 or 53":                     nil,
	"net ::/0":                              {"dns"},
	"((icmp)) and (not tcp)":                {"echo"},
	"net 0.0.0.0/0 and not portrange 5000-6000": {"echo"},
}

func TestFiltersJudge(t *testing.T) {
	for text, want := range judged {
		f, err := parseFilter(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		wanted := map[string]bool{}
		for _, name := range want {
			wanted[name] = true
		}
		for name, p := range samples(t) {
			if got := matches(f, p); got != wanted[name] {
				t.Errorf("%q, %s: %v", text, name, got)
			}
		}
	}
}

func TestFiltersThatDoNotParse(t *testing.T) {
	for text, want := range map[string]struct {
		column int
		says   string
	}{
		"icmp and hots 10.0.0.1": {10, `"hots" is no word`},
		"host":                   {5, "ends too early"},
		"host red-web":           {6, "names are not looked up"},
		"port 70000":             {6, "is no port"},
		"portrange 9-8":          {11, "9 is more than 8"},
		"(icmp":                  {1, "never closed"},
		"icmp)":                  {5, "after a whole expression"},
		"tcp[12] > 3":            {1, "cannot be compared"},
		"10.0.0.0/8":             {1, "write `net 10.0.0.0/8`"},
		"icmp and":               {9, "ends too early"},
		"icmp; reboot":           {5, "has no meaning"},
		"outside port 4789":      {9, "ports are not judged"},
		"len":                    {4, "comparison is wanted"},
		"net 10.0.0.300/8":       {5, "write a prefix"},
	} {
		_, err := parseFilter(text)
		var wrong *FilterError
		if !errors.As(err, &wrong) {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if wrong.At+1 != want.column || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%q: column %d: %v", text, wrong.At+1, err)
		}
	}
}

// asProgram wraps a filter's instructions in a program of its own, whose packet is the input's beginning.
func asProgram(t *testing.T, f filter) *ebpf.Program {
	size := int32(packetBytes)
	code := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -size),
		asm.Mov.Imm(asm.R2, 0), asm.Mov.Imm(asm.R4, size),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "short"),
		asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -size),
	}
	code = append(code, compile(f)...)
	code = append(code, asm.Mov.Imm(asm.R0, 7).WithSymbol("short"), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, Instructions: code, License: "GPL"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// TestCompiledFiltersJudgeAlike: the instructions and the expression say the same of a hundred thousand packets.
func TestCompiledFiltersJudgeAlike(t *testing.T) {
	if os.Getenv("FLIPFLAP_BPF") == "" {
		t.Skip("FLIPFLAP_BPF names no object: no root")
	}
	random := rand.New(rand.NewSource(1))
	var all []packet
	for _, p := range samples(t) {
		all = append(all, p)
	}
	for text := range judged {
		f, err := parseFilter(text)
		if err != nil {
			t.Fatal(err)
		}
		program := asProgram(t, f)
		for range 3000 {
			p := all[random.Intn(len(all))]
			// Near what filters ask for, and far from it.
			for range random.Intn(4) {
				bytes := bytesOf(p)
				bytes[random.Intn(len(bytes))] = byte(random.Intn(256))
				p = packetFrom(bytes)
			}
			verdict, err := program.Run(&ebpf.RunOptions{Data: bytesOf(p)})
			if err != nil {
				t.Fatal(err)
			}
			if got := verdict == 1; got != matches(f, p) {
				t.Fatalf("%q: the program says %d, the expression %v, of %+v", text, verdict, matches(f, p), p)
			}
		}
	}
}
