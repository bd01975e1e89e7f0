package evpn

import (
	"net"
	"os"
	"testing"

	"flipflap.local/agent/bpf"
	"github.com/cilium/ebpf"
)

// The programs themselves, in the kernel, by BPF_PROG_TEST_RUN. FLIPFLAP_BPF names the object; root is needed.

const (
	loopback = 1 // the device of a test run

	pass     = ^uint32(0) // TC_ACT_UNSPEC
	redirect = 7
)

var (
	here      = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	elsewhere = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	unknown   = net.HardwareAddr{2, 0, 0, 0, 0, 3}
	others    = net.HardwareAddr{2, 0, 0, 0, 0, 4}
	broadcast = net.HardwareAddr{255, 255, 255, 255, 255, 255}
	group     = net.HardwareAddr{1, 0, 0x5e, 0, 0, 1}
)

func frameTo(mac net.HardwareAddr) []byte {
	frame := make([]byte, 60)
	copy(frame, mac)
	copy(frame[6:], []byte{2, 0, 0, 0, 0, 9, 0x08, 0x00})
	return frame
}

func loaded(t *testing.T) overlayObjects {
	path := os.Getenv("FLIPFLAP_BPF")
	if path == "" {
		t.Skip("FLIPFLAP_BPF names no object")
	}
	var o overlayObjects
	if err := (bpf.Object{Path: path}).Load(&o); err != nil {
		t.Fatal(err)
	}
	put := func(m *ebpf.Map, key, value any) {
		if err := m.Put(key, value); err != nil {
			t.Fatal(err)
		}
	}
	put(o.Stations, keyOf(loopback, here), station{Device: loopback, Place: stationHere})
	put(o.Stations, keyOf(loopback, elsewhere), station{Device: loopback, Place: stationElsewhere})
	// Another network's.
	put(o.Stations, keyOf(loopback+1, others), station{Device: loopback, Place: stationHere})
	// By mistake: groups are never asked for.
	put(o.Stations, keyOf(loopback, broadcast), station{Device: loopback, Place: stationHere})
	return o
}

func verdictOf(t *testing.T, p *ebpf.Program, frame []byte) uint32 {
	t.Helper()
	verdict, out, err := p.Test(frame)
	if err != nil {
		t.Fatal(err)
	}
	if string(out[:len(frame)]) != string(frame) {
		t.Error("the frame was changed")
	}
	return verdict
}

func TestShortcutOfASystem(t *testing.T) {
	o := loaded(t)
	if got := verdictOf(t, o.SystemOut, frameTo(here)); got != pass {
		t.Errorf("a port that is not told: %d", got)
	}
	if err := o.Ports.Put(uint32(loopback), uint32(loopback)); err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]struct {
		to   net.HardwareAddr
		want uint32
	}{
		"to a system of this server":             {here, redirect},
		"to one of another server":               {elsewhere, redirect},
		"to nobody that is known":                {unknown, pass},
		"to all":                                 {broadcast, pass},
		"to a group":                             {group, pass},
		"to the MAC of another network's system": {others, pass},
	} {
		if got := verdictOf(t, o.SystemOut, frameTo(one.to)); got != one.want {
			t.Errorf("%s: %d, want %d", name, got, one.want)
		}
	}
}

func TestShortcutOfATunnel(t *testing.T) {
	o := loaded(t)
	for name, one := range map[string]struct {
		to   net.HardwareAddr
		want uint32
	}{
		"to a system of this server":              {here, redirect},
		"to one of another server: never back in": {elsewhere, pass},
		"to nobody that is known":                 {unknown, pass},
		"to all":                                  {broadcast, pass},
	} {
		if got := verdictOf(t, o.TunnelIn, frameTo(one.to)); got != one.want {
			t.Errorf("%s: %d, want %d", name, got, one.want)
		}
	}
}
