package ila

import (
	"encoding/binary"
	"math/rand"
	"os"
	"strings"
	"testing"

	"flipflap.local/agent/bpf"
	"github.com/cilium/ebpf"
)

// The programs themselves, in the kernel, by BPF_PROG_TEST_RUN. FLIPFLAP_BPF names the object; root is needed.

const (
	loopback = 1 // the device of a test run

	pass     = ^uint32(0) // TC_ACT_UNSPEC
	shot     = 2
	redirect = 7
)

type bed struct {
	objects
	t     testing.TB
	names []string
}

func load(t testing.TB, capacity int) *bed {
	path := os.Getenv("FLIPFLAP_BPF")
	if path == "" {
		t.Skip("FLIPFLAP_BPF names no object")
	}
	spec, err := object(path, "").Spec()
	if err != nil {
		t.Fatal(err)
	}
	names, err := bpf.Reasons(spec, "ila_reason")
	if err != nil {
		t.Fatal(err)
	}
	if capacity > 0 {
		spec.Maps["mappings"].MaxEntries = uint32(capacity)
	}
	b := &bed{t: t, names: names}
	if err := spec.LoadAndAssign(&b.objects, nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func put(t testing.TB, m *ebpf.Map, key, value any) {
	t.Helper()
	if err := m.Put(key, value); err != nil {
		t.Fatal(err)
	}
}

func (b *bed) run(p *ebpf.Program, packet []byte) (uint32, []byte) {
	b.t.Helper()
	out := make([]byte, len(packet)+256)
	options := ebpf.RunOptions{Data: packet, DataOut: out}
	verdict, err := p.Run(&options)
	if err != nil {
		b.t.Fatal(err)
	}
	return verdict, options.DataOut
}

func (b *bed) drops() map[string]uint64 {
	found, err := bpf.Drops(b.Drops, b.names)
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

// world: our system on this server, a peer of its network elsewhere, in one mode.
type world struct {
	own, peer, near       Address
	ownWire, peerWire     Address
	ownLocator, farServer [8]byte
	mode                  Mode
}

func (b *bed) world(mode Mode, seed int64) world {
	random := rand.New(rand.NewSource(seed))
	w := world{own: randomSIR(random), mode: mode, ownLocator: randomHalf(random), farServer: randomHalf(random)}
	w.own.Locator[0], w.ownLocator[0], w.farServer[0] = 0xfa, 0xfd, 0xfd
	w.peer, w.near = randomSIR(random), randomSIR(random)
	w.peer.Locator, w.near.Locator = w.own.Locator, w.own.Locator
	w.ownWire, w.peerWire = onWire(w.own, w.ownLocator, mode), onWire(w.peer, w.farServer, mode)
	put(b.t, b.Ports, uint32(loopback), portValue{Self: w.own})
	put(b.t, b.Servers, uint32(1), serverValue{Device: loopback, MTUBytes: 9000, HasMAC: 1, NextMAC: [6]byte{2, 1}, OwnMAC: [6]byte{2, 2}})
	put(b.t, b.Mappings, w.peer, mappingValue{Wire: w.peerWire, CsumDiff: difference(w.peer, w.peerWire), Mode: mode, Place: placeElsewhere, Server: 1})
	put(b.t, b.Mappings, w.near, mappingValue{Wire: w.near, Mode: mode, Place: placeHere, Device: loopback})
	put(b.t, b.Mappings, w.own, mappingValue{Wire: w.own, Mode: mode, Place: placeHere, Device: loopback})
	put(b.t, b.Arrivals, w.ownWire, arrivalValue{Self: w.own, CsumDiff: difference(w.ownWire, w.own), Mode: mode, Device: loopback})
	put(b.t, b.Prefixes, w.own.Locator, prefixSIR)
	put(b.t, b.Prefixes, w.ownLocator, prefixLocator)
	put(b.t, b.Prefixes, w.farServer, prefixLocator)
	return w
}

var (
	jumbo    = headers{{protoHop, []byte{0, 0xc2, 4, 0, 1, 0, 0}}}
	options  = headers{{protoOptions, []byte{1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
	first    = headers{{protoFragment, []byte{0, 0, 1, 0, 0, 0, 7}}}
	later    = headers{{protoFragment, []byte{0, 5, 1, 0, 0, 0, 7}}}
	several  = append(append(append(headers{}, jumbo...), options...), first...)
	routing  = headers{{protoRouting, []byte{2, 0, 1, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}}
	covering = headers{{protoAH, []byte{4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
)

var carried = map[string]packetSpec{
	"TCP":                      {protocol: protoTCP, payload: []byte("some words of a stream")},
	"UDP":                      {protocol: protoUDP, payload: []byte("a datagram")},
	"UDP of odd length":        {protocol: protoUDP, payload: []byte("odd")},
	"ICMPv6":                   {protocol: protoICMP, icmp: [2]byte{128, 0}, payload: []byte("echo")},
	"SCTP":                     {protocol: protoSCTP, payload: []byte("chunks")},
	"TCP behind a jumbo":       {protocol: protoTCP, before: jumbo, payload: []byte("of many")},
	"UDP behind options":       {protocol: protoUDP, before: options, payload: []byte("optional")},
	"a first fragment":         {protocol: protoUDP, before: first, payload: []byte("the beginning")},
	"several headers":          {protocol: protoTCP, before: several, payload: []byte("all of them")},
	"no transport":             {protocol: protoNone},
	"another protocol (OSPF)":  {protocol: 89, payload: []byte{1, 2, 3, 4}},
	"a later fragment":         {protocol: protoNone, before: later, payload: []byte("and the rest of it")},
	"an empty transport (ESP)": {protocol: 50, payload: make([]byte, 20)},
}

func TestTranslation(t *testing.T) {
	b := load(t, 0)
	for _, mode := range allModes {
		w := b.world(mode, 40+int64(mode))
		for name, spec := range carried {
			spec.from, spec.to = w.own, w.peer
			sent := build(spec)
			verdict, out := b.run(b.PortOut, sent)
			if verdict != redirect || destination(out) != w.peerWire || out[l3+7] != 63 || out[0] != 2 || out[1] != 1 {
				t.Errorf("mode %d, %s: verdict %d, to %s, hops %d", mode, name, verdict, destination(out), out[l3+7])
				continue
			}
			// On the wire: right for the wire address, or, where nothing is done, for the SIR address.
			rightFor := w.peerWire
			if mode == noAction {
				rightFor = w.peer
			}
			if !isValid(out, rightFor) {
				t.Errorf("mode %d, %s: a wrong checksum on the wire", mode, name)
			}
			if _, protocol, ok := upperOf(out); mode == adjustTransport && ok && checksumOffset(protocol) >= 0 && isValid(out, w.peer) {
				t.Errorf("mode %d, %s: the check of checksums cannot fail", mode, name)
			}
			// And back: as it would come to us.
			spec.from, spec.to = w.peer, w.own
			whole := build(spec)
			spec.to = w.ownWire
			arriving := build(spec)
			if mode == noAction {
				copy(arriving[l4:], whole[l4:])
			}
			verdict, out = b.run(b.UplinkIn, arriving)
			if verdict != redirect || destination(out) != w.own || out[l3+7] != 63 {
				t.Errorf("mode %d, %s arriving: verdict %d, to %s", mode, name, verdict, destination(out))
				continue
			}
			if !isValid(out, w.own) {
				t.Errorf("mode %d, %s: a wrong checksum at the system", mode, name)
			}
		}
	}
}

func TestNearSystemsAreNotTranslated(t *testing.T) {
	b := load(t, 0)
	w := b.world(adjustTransport, 3)
	sent := build(packetSpec{from: w.own, to: w.near, protocol: protoTCP})
	verdict, out := b.run(b.PortOut, sent)
	if verdict != redirect || destination(out) != w.near || out[l3+7] != 63 || !isValid(out, w.near) {
		t.Errorf("verdict %d, to %s", verdict, destination(out))
	}
}

func TestTheStackAnswers(t *testing.T) {
	b := load(t, 0)
	w := b.world(neutral, 4)
	if verdict, out := b.run(b.PortOut, build(packetSpec{from: w.own, to: w.peer, hops: 1, protocol: protoUDP})); verdict != pass || destination(out) != w.peer || out[l3+7] != 1 {
		t.Errorf("the last hop, sent: verdict %d, to %s, hops %d", verdict, destination(out), out[l3+7])
	}
	if verdict, out := b.run(b.UplinkIn, build(packetSpec{from: w.peer, to: w.ownWire, hops: 1, protocol: protoUDP})); verdict != pass || destination(out) != w.own || out[l3+7] != 1 {
		t.Errorf("the last hop, arriving: verdict %d, to %s, hops %d", verdict, destination(out), out[l3+7])
	}
	put(t, b.Servers, uint32(1), serverValue{Device: loopback, MTUBytes: 1300, HasMAC: 1})
	if verdict, _ := b.run(b.PortOut, build(packetSpec{from: w.own, to: w.peer, protocol: protoUDP, payload: make([]byte, 1400)})); verdict != pass {
		t.Errorf("too big: verdict %d", verdict)
	}
	// Neighbour discovery with the next hop.
	link, _ := ParseAddress("fe80::1")
	if verdict, _ := b.run(b.PortOut, build(packetSpec{from: w.own, to: link, hops: 255, protocol: protoICMP, icmp: [2]byte{135, 0}})); verdict != pass {
		t.Errorf("a solicitation: verdict %d", verdict)
	}
}

func TestDrops(t *testing.T) {
	b := load(t, 0)
	w := b.world(adjustTransport, 5)
	stranger, group := w.peer, Address{Locator: [8]byte{0xff, 2}}
	stranger.Identifier[7] ^= 1
	elsewhere := Address{Locator: [8]byte{0x20, 1}, Identifier: [8]byte{1}}
	foreign := w.peer
	foreign.Locator = [8]byte{0xfa, 0xce, 0xff}
	put(t, b.Prefixes, foreign.Locator, prefixSIR)
	own := func(to Address) packetSpec { return packetSpec{from: w.own, to: to, protocol: protoUDP} }
	with := func(s packetSpec, before headers) packetSpec { s.before = before; return s }
	short := build(with(own(w.peer), first))
	short = short[:len(short)-4]
	binary.BigEndian.PutUint16(short[l3+4:], uint16(len(short)-l4))
	many := headers{}
	for range 9 {
		many = append(many, options...)
	}
	other := build(own(w.peer))
	binary.BigEndian.PutUint16(other[12:], 0x0800)
	cut := build(with(own(w.peer), options))[:l4+2]
	unknownHere := w.ownWire
	unknownHere.Identifier[7] ^= 4
	for _, c := range []struct {
		reason string
		at     *ebpf.Program
		packet []byte
	}{
		{"spoofed identifier", b.PortOut, build(packetSpec{from: w.near, to: w.peer, protocol: protoUDP})},
		{"spoofed network", b.PortOut, build(packetSpec{from: foreign, to: w.peer, protocol: protoUDP})},
		{"foreign sir", b.PortOut, build(own(foreign))},
		{"to locator", b.PortOut, build(own(w.peerWire))},
		{"to locator", b.PortOut, build(own(w.ownWire))},
		{"outside", b.PortOut, build(own(elsewhere))},
		{"multicast", b.PortOut, build(own(group))},
		{"no mapping", b.PortOut, build(own(stranger))},
		{"routing header", b.PortOut, build(with(own(w.peer), routing))},
		{"authenticated", b.PortOut, build(with(own(w.peer), covering))},
		{"too many headers", b.PortOut, build(with(own(w.peer), many))},
		{"short fragment", b.PortOut, short},
		{"malformed", b.PortOut, cut},
		{"not ipv6", b.PortOut, other},
		{"no system", b.UplinkIn, build(packetSpec{from: w.peer, to: unknownHere, protocol: protoUDP})},
		{"foreign source", b.UplinkIn, build(packetSpec{from: foreign, to: w.ownWire, protocol: protoUDP})},
		{"foreign source", b.UplinkIn, build(packetSpec{from: w.peerWire, to: w.ownWire, protocol: protoUDP})},
		{"untranslated", b.UplinkIn, build(packetSpec{from: w.peer, to: w.own, protocol: protoUDP})},
		{"untranslated", b.UplinkIn, build(packetSpec{from: w.peer, to: stranger, protocol: protoUDP})},
		{"from server", b.PortIn, build(packetSpec{from: elsewhere, to: w.own, protocol: protoUDP})},
		{"from server", b.PortIn, build(packetSpec{from: w.peer, to: w.own, protocol: protoTCP})},
	} {
		before := b.drops()
		verdict, out := b.run(c.at, c.packet)
		after := b.drops()
		if verdict != shot || string(out) != string(c.packet) {
			t.Errorf("%s: verdict %d, changed %v", c.reason, verdict, string(out) != string(c.packet))
		}
		for reason, count := range after {
			if want := map[bool]uint64{true: 1}[reason == c.reason]; count-before[reason] != want {
				t.Errorf("%s: %s counted %d times", c.reason, reason, count-before[reason])
			}
		}
	}
	// What is not of ILA goes on.
	if verdict, _ := b.run(b.UplinkIn, build(packetSpec{from: elsewhere, to: elsewhere, protocol: protoUDP})); verdict != pass {
		t.Errorf("others' packets at the uplink: verdict %d", verdict)
	}
	if err := b.Ports.Delete(uint32(loopback)); err != nil {
		t.Fatal(err)
	}
	if verdict, _ := b.run(b.PortOut, build(own(w.peer))); verdict != shot {
		t.Errorf("a port that is not told: verdict %d", verdict)
	}
}

func TestByStackOnlyGuards(t *testing.T) {
	b := load(t, 0)
	w := b.world(noAction, 6)
	put(t, b.Ports, uint32(loopback), portValue{Self: w.own, Flags: flagByStack})
	if verdict, out := b.run(b.PortOut, build(packetSpec{from: w.own, to: w.peer, protocol: protoTCP})); verdict != pass || destination(out) != w.peer {
		t.Errorf("allowed: verdict %d, to %s", verdict, destination(out))
	}
	if verdict, _ := b.run(b.PortOut, build(packetSpec{from: w.near, to: w.peer, protocol: protoTCP})); verdict != shot {
		t.Errorf("spoofed: verdict %d", verdict)
	}
	if verdict, _ := b.run(b.PortIn, build(packetSpec{from: w.peer, to: w.own, protocol: protoTCP})); verdict != pass {
		t.Errorf("delivered by the stack: verdict %d", verdict)
	}
	if verdict, _ := b.run(b.PortIn, build(packetSpec{from: w.peerWire, to: w.own, protocol: protoTCP})); verdict != shot {
		t.Errorf("from elsewhere by the stack: verdict %d", verdict)
	}
}

// An error by a router between servers quotes what it saw: the system must find the packet that it sent.
func TestQuotedPackets(t *testing.T) {
	b := load(t, 0)
	router := Address{Locator: [8]byte{0xfd, 0xf1}, Identifier: [8]byte{7: 9}}
	for _, mode := range allModes {
		w := b.world(mode, 60+int64(mode))
		_, seen := b.run(b.PortOut, build(packetSpec{from: w.own, to: w.peer, protocol: protoUDP, payload: []byte("a packet that was too big")}))
		for name, to := range map[string]Address{"translated by the router's server": w.ownWire, "to the source that it saw": w.own} {
			arriving := build(packetSpec{from: router, to: to, protocol: protoICMP, icmp: [2]byte{2, 0}, payload: seen[l3:]})
			if mode == noAction && to == w.ownWire {
				copy(arriving[l4:], build(packetSpec{from: router, to: w.own, protocol: protoICMP, icmp: [2]byte{2, 0}, payload: seen[l3:]})[l4:])
			}
			verdict, out := b.run(b.UplinkIn, arriving)
			if verdict != redirect || destination(out) != w.own {
				t.Errorf("mode %d, %s: verdict %d, to %s", mode, name, verdict, destination(out))
				continue
			}
			if quoted := fromBytes(out[l4+8+24:]); quoted != w.peer {
				t.Errorf("mode %d, %s: it quotes %s, not %s", mode, name, quoted, w.peer)
			}
			if !isValid(out, w.own) {
				t.Errorf("mode %d, %s: a wrong checksum", mode, name)
			}
		}
		// By the other server's own stack, out by the uplink.
		error := build(packetSpec{from: router, to: w.peer, protocol: protoICMP, icmp: [2]byte{3, 0}, payload: seen[l3:]})
		copy(error, []byte{0x02, 0xff, 0x11, 0xa0, 0x00, 0x01})
		verdict, out := b.run(b.UplinkOut, error)
		if verdict != pass && verdict != redirect || destination(out) != w.peerWire {
			t.Errorf("mode %d, an error of our own: verdict %d, to %s", mode, verdict, destination(out))
		}
		notError := build(packetSpec{from: router, to: w.peer, protocol: protoUDP})
		copy(notError, []byte{0x02, 0xff, 0x11, 0xa0, 0x00, 0x01})
		if verdict, _ := b.run(b.UplinkOut, notError); verdict != shot {
			t.Errorf("mode %d, the server's own datagram: verdict %d", mode, verdict)
		}
	}
}

const fuzzed = 1_000_000

// TestHostilePackets: no packet is let through without a mapping, and none gets a checksum that is wrong where it was right
// or right where it was wrong.
func TestHostilePackets(t *testing.T) {
	b := load(t, 0)
	random := rand.New(rand.NewSource(7))
	verdicts := map[uint32]int{}
	out := make([]byte, 2048)
	worlds := map[Mode]world{}
	seen := 0
	for _, mode := range allModes {
		w := b.world(mode, 80+int64(mode))
		worlds[mode] = w
		var templates [][]byte
		for _, spec := range carried {
			for _, ends := range [][2]Address{{w.own, w.peer}, {w.own, w.near}, {w.peer, w.ownWire}, {w.own, w.peerWire}} {
				spec.from, spec.to = ends[0], ends[1]
				templates = append(templates, build(spec))
			}
		}
		for _, before := range []headers{routing, covering} {
			templates = append(templates, build(packetSpec{from: w.own, to: w.peer, protocol: protoTCP, before: before}))
		}
		for i := range fuzzed / len(allModes) {
			packet := append([]byte{}, templates[random.Intn(len(templates))]...)
			mutate(random, packet, i)
			if random.Intn(3) == 0 {
				// A test run takes no IPv6 packet that is shorter than its first header (6.18).
				packet = packet[:l4+random.Intn(len(packet)-l4+1)]
			}
			program := b.PortOut
			if i%2 == 1 {
				program = b.UplinkIn
			}
			options := ebpf.RunOptions{Data: packet, DataOut: out[:cap(out)]}
			verdict, err := program.Run(&options)
			if err != nil {
				t.Fatalf("%x: %v", packet, err)
			}
			seen++
			verdicts[verdict]++
			judge(t, w, i%2 == 0, packet, options.DataOut, verdict)
			if t.Failed() {
				t.Fatalf("mode %d, program %d: %x became %x with verdict %d", mode, i%2, packet, options.DataOut, verdict)
			}
		}
	}
	for _, verdict := range []uint32{pass, shot, redirect} {
		if verdicts[verdict] < seen/100 {
			t.Errorf("verdict %d only %d times of %d: the packets are not hostile in every way", int32(verdict), verdicts[verdict], seen)
		}
	}
	t.Logf("%d packets: %d on, %d dropped, %d redirected", seen, verdicts[pass], verdicts[shot], verdicts[redirect])
}

// mutate changes a few bytes; i makes each packet another one where there is room for it.
func mutate(random *rand.Rand, packet []byte, i int) {
	if len(packet) >= l4+24 {
		binary.BigEndian.PutUint32(packet[len(packet)-4:], uint32(i))
	}
	for range random.Intn(3) {
		packet[l3+random.Intn(len(packet)-l3)] = byte(random.Uint32())
	}
	switch random.Intn(8) {
	case 0:
		packet[l3+6] = []byte{protoHop, protoRouting, protoFragment, protoAH, protoICMP, protoTCP, protoNone, protoOptions}[random.Intn(8)]
	case 1:
		packet[l3+7] = byte(random.Intn(3))
	}
}

func judge(t *testing.T, w world, isSent bool, before, after []byte, verdict uint32) {
	if verdict != redirect {
		if verdict == shot && string(before) != string(after) {
			t.Error("a dropped packet was changed")
		}
		return
	}
	from, to, now := fromBytes(before[l3+8:]), destination(before), destination(after)
	want := map[bool]map[Address]Address{
		true:  {w.peer: w.peerWire, w.near: w.near, w.own: w.own},
		false: {w.ownWire: w.own, w.own: w.own, w.near: w.near},
	}[isSent]
	expected, is := want[to]
	if !is || now != expected {
		t.Errorf("let through without a mapping: %s became %s", to, now)
		return
	}
	if isSent && from != w.own {
		t.Errorf("let through from %s", from)
	}
	start, protocol, ok := upperOf(before)
	at := checksumOffset(protocol)
	if !ok || at < 0 || start+at+2 > len(before) {
		return
	}
	// Whatever stood there: the checksum's error must stay what it was.
	wrong := func(packet []byte, to Address) uint16 {
		return wordSum(pseudo(packet, to, uint32(len(packet)-start), protocol), packet[start:])
	}
	was, is16 := wrong(before, to), wrong(after, now)
	if w.mode == noAction {
		is16 = wrong(after, to)
	}
	isUDPWithout := protocol == protoUDP && before[start+6] == 0 && before[start+7] == 0
	isQuote := protocol == protoICMP && before[start] < 128
	if was%0xffff != is16%0xffff && !isUDPWithout && !isQuote {
		t.Errorf("the checksum was off by %04x and is by %04x", ^was, ^is16)
	}
}

// TestReasonNames: they come of the programs own BTF.
func TestReasonNames(t *testing.T) {
	b := load(t, 0)
	for _, name := range b.names {
		if name == "" || strings.ToLower(name) != name {
			t.Errorf("reason %q", name)
		}
	}
	if len(b.names) < 15 {
		t.Errorf("%d reasons", len(b.names))
	}
}
