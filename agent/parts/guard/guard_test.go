package guard

import (
	"encoding/json"
	"math/rand"
	"net"
	"net/netip"
	"os"
	"testing"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
)

// The program itself, in the kernel, by BPF_PROG_TEST_RUN. FLIPFLAP_BPF names the object; root is needed.

const (
	loopback = 1 // the device of a test run

	pass = ^uint32(0) // TC_ACT_UNSPEC
	shot = 2
)

const own, foreign = "02:00:00:00:00:01", "02:00:00:00:00:09"

func loaded(t *testing.T) *plane {
	path := os.Getenv("FLIPFLAP_BPF")
	if path == "" {
		t.Skip("FLIPFLAP_BPF names no object")
	}
	p := &plane{allowed: map[uint32]map[source]rule{}}
	if err := (bpf.Object{Path: path}).Load(&p.objects); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *plane) guards(t *testing.T, iface contract.AttachInterface, args string) {
	t.Helper()
	rules, err := rulesOf(iface, json.RawMessage(args), loopback)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.allow(loopback, rules); err != nil {
		t.Fatal(err)
	}
}

func (p *plane) says(t *testing.T, frame []byte) string {
	t.Helper()
	verdict, _, err := p.Out.Test(frame)
	if err != nil {
		t.Fatal(err)
	}
	switch verdict {
	case pass:
		return "passes"
	case shot:
		return "dropped"
	}
	t.Fatalf("verdict %d", verdict)
	return ""
}

func ethernet(from string, etherType uint16, payload ...byte) []byte {
	mac, _ := net.ParseMAC(from)
	frame := append([]byte{2, 0, 0, 0, 0, 0x77}, mac...)
	frame = append(frame, byte(etherType>>8), byte(etherType))
	frame = append(frame, payload...)
	for len(frame) < 60 {
		frame = append(frame, 0)
	}
	return frame
}

func bytesOf(address string) []byte { return netip.MustParseAddr(address).AsSlice() }

func ipv4(from string) []byte {
	header := make([]byte, 20)
	header[0], header[3], header[8], header[9] = 0x45, 28, 64, 17
	copy(header[12:], bytesOf(from))
	copy(header[16:], []byte{10, 0, 0, 7})
	return append(header, make([]byte, 8)...)
}

func ipv6(from string, next byte, payload ...byte) []byte {
	header := make([]byte, 40)
	header[0], header[5], header[6], header[7] = 0x60, byte(len(payload)), next, 255
	copy(header[8:], bytesOf(from))
	copy(header[24:], bytesOf("ff02::1"))
	return append(header, payload...)
}

func arp(sender string) []byte {
	body := []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1}
	body = append(body, bytesOf(sender)...)
	return append(body, 0, 0, 0, 0, 0, 0, 10, 0, 0, 7)
}

func advertisement(target string) []byte {
	return append([]byte{136, 0, 0, 0, 0x20, 0, 0, 0}, bytesOf(target)...)
}

func behindHopByHop(next byte, payload []byte) []byte {
	return append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, payload...)
}

// behindRouting: segments left 0, which hosts take.
func behindRouting(next byte, payload []byte) []byte {
	return append([]byte{next, 0, 0, 0, 0, 0, 0, 0}, payload...)
}

func behindMany(count int, next byte, payload []byte) []byte {
	for i := range count {
		follows := byte(60)
		if i == 0 {
			follows = next
		}
		payload = append([]byte{follows, 0, 1, 4, 0, 0, 0, 0}, payload...)
	}
	return payload
}

const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeIPv6 = 0x86dd
)

func TestSources(t *testing.T) {
	p := loaded(t)
	if got := p.says(t, ethernet(own, typeIPv4, ipv4("10.0.0.5")...)); got != "dropped" {
		t.Errorf("a port that nobody told the program of: %s", got)
	}
	iface := contract.AttachInterface{MAC: own, Addresses: []string{"10.0.0.5/24", "fd00::5/64"}}
	for name, one := range map[string]struct {
		frame                          []byte
		plain, untagged, router, asked string
	}{
		"own IPv4":                         {ethernet(own, typeIPv4, ipv4("10.0.0.5")...), "passes", "passes", "passes", "passes"},
		"another's IPv4":                   {ethernet(own, typeIPv4, ipv4("10.0.0.6")...), "dropped", "dropped", "passes", "passes"},
		"own IPv4, another's MAC":          {ethernet(foreign, typeIPv4, ipv4("10.0.0.5")...), "dropped", "dropped", "passes", "dropped"},
		"own ARP":                          {ethernet(own, typeARP, arp("10.0.0.5")...), "passes", "passes", "passes", "passes"},
		"ARP in another's name":            {ethernet(own, typeARP, arp("10.0.0.6")...), "dropped", "dropped", "passes", "passes"},
		"ARP probe":                        {ethernet(own, typeARP, arp("0.0.0.0")...), "passes", "passes", "passes", "passes"},
		"no IPv4 address":                  {ethernet(own, typeIPv4, ipv4("0.0.0.0")...), "dropped", "dropped", "passes", "passes"},
		"own IPv6":                         {ethernet(own, typeIPv6, ipv6("fd00::5", 17, make([]byte, 8)...)...), "passes", "passes", "passes", "passes"},
		"another's IPv6":                   {ethernet(own, typeIPv6, ipv6("fd00::6", 17, make([]byte, 8)...)...), "dropped", "dropped", "passes", "dropped"},
		"own IPv4, mapped":                 {ethernet(own, typeIPv6, ipv6("::ffff:10.0.0.6", 17, make([]byte, 8)...)...), "dropped", "dropped", "passes", "dropped"},
		"link-local":                       {ethernet(own, typeIPv6, ipv6("fe80::1", 17, make([]byte, 8)...)...), "passes", "passes", "passes", "passes"},
		"address detection":                {ethernet(own, typeIPv6, ipv6("::", 58, 135, 0, 0, 0, 0, 0, 0, 0)...), "passes", "passes", "passes", "passes"},
		"own advertisement":                {ethernet(own, typeIPv6, ipv6("fe80::1", 58, advertisement("fd00::5")...)...), "passes", "passes", "passes", "passes"},
		"advertisement of another's":       {ethernet(own, typeIPv6, ipv6("fd00::5", 58, advertisement("fd00::6")...)...), "dropped", "dropped", "passes", "dropped"},
		"the same behind a header":         {ethernet(own, typeIPv6, ipv6("fd00::5", 0, behindHopByHop(58, advertisement("fd00::6"))...)...), "dropped", "dropped", "passes", "dropped"},
		"own advertisement, forged source": {ethernet(own, typeIPv6, ipv6("fd00::6", 58, advertisement("fd00::5")...)...), "dropped", "dropped", "passes", "dropped"},
		"a VLAN tag":                       {ethernet(own, 0x8100, append([]byte{0, 7, 8, 0}, ipv4("10.0.0.6")...)...), "passes", "dropped", "passes", "passes"},
		"a tag of no VLAN":                 {ethernet(own, 0x8100, append([]byte{0, 0, 8, 0}, ipv4("10.0.0.6")...)...), "dropped", "dropped", "passes", "dropped"},
		"a claim behind a routing header":  {ethernet(own, typeIPv6, ipv6("fd00::5", 43, behindRouting(58, advertisement("fd00::6"))...)...), "dropped", "dropped", "passes", "dropped"},
		"a claim behind nine headers":      {ethernet(own, typeIPv6, ipv6("fd00::5", 60, behindMany(9, 58, advertisement("fd00::6"))...)...), "dropped", "dropped", "passes", "dropped"},
		"a provider's tag":                 {ethernet(own, 0x88a8, append([]byte{0, 7, 8, 0}, ipv4("10.0.0.5")...)...), "passes", "dropped", "passes", "passes"},
		"a tag of before the standard":     {ethernet(own, 0x9100, append([]byte{0, 7, 8, 0}, ipv4("10.0.0.5")...)...), "passes", "dropped", "passes", "passes"},
		"another protocol":                 {ethernet(own, 0x88cc), "passes", "passes", "passes", "passes"},
		"another protocol, another's MAC":  {ethernet(foreign, 0x88cc), "dropped", "dropped", "passes", "dropped"},
	} {
		asking := iface
		asking.DHCP = true
		for mode, want := range map[string]string{"{}": one.plain, `{"untagged":true}`: one.untagged, `{"anySource":true}`: one.router, "asking": one.asked} {
			if mode == "asking" {
				p.guards(t, asking, "{}")
			} else {
				p.guards(t, iface, mode)
			}
			if got := p.says(t, one.frame); got != want {
				t.Errorf("%s, %s: %s", name, mode, got)
			}
		}
	}
}

func TestRoutersTagsAreDroppedToo(t *testing.T) {
	p := loaded(t)
	p.guards(t, contract.AttachInterface{MAC: own, Addresses: []string{"10.0.0.5/24"}}, `{"anySource":true,"untagged":true}`)
	if got := p.says(t, ethernet(foreign, 0x8100, append([]byte{0, 7, 8, 0}, ipv4("10.0.0.6")...)...)); got != "dropped" {
		t.Error(got)
	}
}

func TestWhatIsNotAllowedAnyMoreIsForgotten(t *testing.T) {
	p := loaded(t)
	p.guards(t, contract.AttachInterface{MAC: own, Addresses: []string{"10.0.0.5/24"}}, "{}")
	p.guards(t, contract.AttachInterface{MAC: own, Addresses: []string{"10.0.0.8/24"}}, "{}")
	if got := p.says(t, ethernet(own, typeIPv4, ipv4("10.0.0.5")...)); got != "dropped" {
		t.Errorf("the address of before: %s", got)
	}
	if err := p.keepOnly(loopback, nil); err != nil {
		t.Fatal(err)
	}
	if entries := p.Sources.Iterate(); entries.Next(&source{}, &rule{}) {
		t.Error("something is left in the map")
	}
}

func TestDropsAreCountedByReason(t *testing.T) {
	p := loaded(t)
	p.guards(t, contract.AttachInterface{MAC: own, Addresses: []string{"10.0.0.5/24"}}, `{"untagged":true}`)
	p.says(t, ethernet(own, typeIPv4, ipv4("10.0.0.6")...))
	p.says(t, ethernet(foreign, typeIPv4, ipv4("10.0.0.5")...))
	p.says(t, ethernet(own, 0x8100))
	p.says(t, ethernet(own, 0x8100))
	spec, err := bpf.Object{Path: os.Getenv("FLIPFLAP_BPF")}.Spec()
	if err != nil {
		t.Fatal(err)
	}
	reasons, err := bpf.Reasons(spec, "guard_reason")
	if err != nil {
		t.Fatal(err)
	}
	counted, err := bpf.Drops(p.Drops, reasons)
	if err != nil {
		t.Fatal(err)
	}
	if counted["address"] != 1 || counted["mac"] != 1 || counted["tagged"] != 2 {
		t.Error(counted)
	}
}

// TestHostileFrames: whatever is sent from another's MAC and without a router's flag is dropped, and nothing ends in an error.
func TestHostileFrames(t *testing.T) {
	p := loaded(t)
	p.guards(t, contract.AttachInterface{MAC: own, Addresses: []string{"10.0.0.5/24", "fd00::5/64"}}, "{}")
	random := rand.New(rand.NewSource(1))
	types := []uint16{typeIPv4, typeARP, typeIPv6, 0x8100, 0x88cc}
	for range 100_000 {
		payload := make([]byte, random.Intn(200))
		random.Read(payload)
		if got := p.says(t, ethernet(foreign, types[random.Intn(len(types))], payload...)); got != "dropped" {
			t.Fatalf("% x passes", payload)
		}
	}
}
