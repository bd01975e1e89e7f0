package ila

import (
	"math/rand"
	"testing"
)

var allModes = []Mode{neutral, neutralAuto, adjustTransport, noAction}

func TestWireAddresses(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	for range 200_000 {
		sir, locator := randomSIR(random), randomHalf(random)
		for _, mode := range allModes {
			wire := onWire(sir, locator, mode)
			if wire.Locator != locator {
				t.Fatalf("%s in mode %d: %s has another locator", sir, mode, wire)
			}
			a, b := sir.bytes(), wire.bytes()
			if mode <= neutralAuto && wordSum(a[:]) != wordSum(b[:]) {
				t.Fatalf("%s and %s in mode %d have other sums", sir, wire, mode)
			}
			if mode > neutralAuto && wire.Identifier != sir.Identifier {
				t.Fatalf("%s and %s in mode %d have other identifiers", sir, wire, mode)
			}
			if has := wire.Identifier[0]&checksumFlag != 0; has != (mode == neutral) {
				t.Fatalf("%s in mode %d: C bit %v", wire, mode, has)
			}
		}
	}
}

// The kernel's arithmetic for the wire (net/ipv6/ila/ila_common.c), read from its documentation of the draft: what it
// gave in a guest for report S0's addresses.
func TestSpelledAddresses(t *testing.T) {
	sir, err := ParseAddress("face:b00c:0:7:2000:7:0:1")
	if err != nil {
		t.Fatal(err)
	}
	locator, err := parsePrefix("2001:db8:a:2::/64")
	if err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[Mode]string{
		noAction:        "2001:db8:a:2:2000:7:0:1",
		adjustTransport: "2001:db8:a:2:2000:7:0:1",
	} {
		if got := onWire(sir, locator, mode).String(); got != want {
			t.Errorf("mode %d: %s, not %s", mode, got, want)
		}
	}
	if isUsable(Address{}, neutral) || !isUsable(Address{}, noAction) {
		t.Error("an identifier whose low bits are 0 is usable in no-action only")
	}
}

func TestByHandAddresses(t *testing.T) {
	of := &network{NetworkConfig: NetworkConfig{VN: 7}}
	of.sir, _ = parsePrefix("face:b00c:0:7::/64")
	n := NetworkFacts{network: of}
	taken := map[string]bool{}
	for range 100 {
		// All from one seed: what is taken is passed over.
		address := n.ByHand([]byte{0, 0, 255, 254}, func(a string) bool { return taken[a] })
		if taken[address] {
			t.Fatalf("%s twice", address)
		}
		taken[address] = true
		a, _ := ParseAddress(address)
		if !isUsable(a, neutral) || a.Identifier[0] != 0x20 || a.Identifier[3] != 7 || a.Identifier[4] == 0 && a.Identifier[5] == 0 {
			t.Fatalf("%s is not of the half for containers started by hand", address)
		}
	}
}
