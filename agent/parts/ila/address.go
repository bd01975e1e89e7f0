// Package ila keeps a server's part of its ILA networks: who is here, who is elsewhere, and how packets are translated.
package ila

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// Address is an IPv6 address in ILA's two halves, as on the wire; bpf/abi/ila.h has the same.
type Address struct {
	Locator    [8]byte // or the network's SIR prefix
	Identifier [8]byte
}

// modes say what becomes of checksums when an address is translated.
var modes = map[string]Mode{"neutral": neutral, "neutral-auto": neutralAuto, "adjust-transport": adjustTransport, "no-action": noAction}

// checksumFlag is the C bit of an identifier: its low bits make up for the locator.
const checksumFlag = 0x10

func ParseAddress(text string) (Address, error) {
	ip, err := netip.ParseAddr(text)
	if err != nil || !ip.Is6() {
		return Address{}, fmt.Errorf("%q is no IPv6 address", text)
	}
	bytes := ip.As16()
	return fromBytes(bytes[:]), nil
}

// parsePrefix gives the first half of a /64.
func parsePrefix(text string) ([8]byte, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Bits() != 64 || !prefix.Addr().Is6() {
		return [8]byte{}, fmt.Errorf("%q is no /64", text)
	}
	bytes := prefix.Addr().As16()
	return [8]byte(bytes[:8]), nil
}

func fromBytes(bytes []byte) Address {
	return Address{[8]byte(bytes[:8]), [8]byte(bytes[8:16])}
}

func (a Address) bytes() [16]byte {
	var all [16]byte
	copy(all[:8], a.Locator[:])
	copy(all[8:], a.Identifier[:])
	return all
}

func (a Address) String() string { return netip.AddrFrom16(a.bytes()).String() }

// fold brings a one's complement sum to 16 bits.
func fold(sum uint64) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// sum is the one's complement sum of an address, in words as the machine has them: checksums are the same in either order.
func (a Address) sum() uint64 {
	bytes := a.bytes()
	var total uint64
	for i := 0; i < 16; i += 2 {
		total += uint64(binary.NativeEndian.Uint16(bytes[i:]))
	}
	return total
}

// difference is what a sum over the address changes by when `from` becomes `to`.
func difference(from, to Address) uint32 {
	return uint32(fold(to.sum() + uint64(^fold(from.sum()))))
}

// onWire is the address that packets to a SIR address have between servers: RFC 1624's arithmetic, as the kernel's ILA does it.
func onWire(sir Address, locator [8]byte, mode Mode) Address {
	wire := Address{locator, sir.Identifier}
	if mode > neutralAuto {
		return wire
	}
	if mode == neutral {
		wire.Identifier[0] |= checksumFlag
	}
	// The low 16 bits are what is left of the whole sum.
	wire.Identifier[6], wire.Identifier[7] = 0, 0
	low := fold(sir.sum() + uint64(^fold(wire.sum())))
	binary.NativeEndian.PutUint16(wire.Identifier[6:], low)
	return wire
}

// isUsable: in the neutral modes the low 16 bits of an identifier come back from the wire, but 0 and ffff are the same number there.
func isUsable(sir Address, mode Mode) bool {
	low := binary.BigEndian.Uint16(sir.Identifier[6:])
	return mode > neutralAuto || low != 0 && low != 0xffff
}
