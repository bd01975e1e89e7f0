package ila

import (
	"encoding/binary"
	"math/rand"
)

// What follows knows nothing of the arithmetic under test: sums are taken over whole packets, word by word.

const (
	protoHop      = 0
	protoTCP      = 6
	protoUDP      = 17
	protoRouting  = 43
	protoFragment = 44
	protoAH       = 51
	protoICMP     = 58
	protoNone     = 59
	protoOptions  = 60
	protoSCTP     = 132

	l3 = 14
	l4 = l3 + 40
)

// headers are extension headers with their numbers, in order.
type headers []struct {
	number byte
	bytes  []byte // from the second byte on: the first is the next header's number
}

type packetSpec struct {
	from, to Address
	hops     byte
	protocol byte
	before   headers
	payload  []byte // after the transport's header
	icmp     [2]byte
	zeroSum  bool
}

func transportSize(protocol byte) int {
	switch protocol {
	case protoTCP:
		return 20
	case protoUDP, protoICMP:
		return 8
	case protoSCTP:
		return 12
	}
	return 0
}

func checksumOffset(protocol byte) int {
	switch protocol {
	case protoTCP:
		return 16
	case protoUDP:
		return 6
	case protoICMP:
		return 2
	}
	return -1
}

// build makes a packet with a right checksum.
func build(s packetSpec) []byte {
	hops := s.hops
	if hops == 0 {
		hops = 64
	}
	var extension []byte
	first := s.protocol
	for i := len(s.before) - 1; i >= 0; i-- {
		extension = append(append([]byte{first}, s.before[i].bytes...), extension...)
		first = s.before[i].number
	}
	size := transportSize(s.protocol)
	body := append(make([]byte, size), s.payload...)
	switch s.protocol {
	case protoTCP, protoUDP:
		binary.BigEndian.PutUint16(body, 40000)
		binary.BigEndian.PutUint16(body[2:], 5201)
	case protoICMP:
		copy(body, s.icmp[:])
	}
	if s.protocol == protoTCP {
		body[12] = 5 << 4
	}
	if s.protocol == protoUDP {
		binary.BigEndian.PutUint16(body[4:], uint16(len(body)))
	}
	packet := make([]byte, l4, l4+len(extension)+len(body))
	binary.BigEndian.PutUint16(packet[12:], 0x86dd)
	packet[l3] = 0x60
	binary.BigEndian.PutUint16(packet[l3+4:], uint16(len(extension)+len(body)))
	packet[l3+6], packet[l3+7] = first, hops
	from, to := s.from.bytes(), s.to.bytes()
	copy(packet[l3+8:], from[:])
	copy(packet[l3+24:], to[:])
	packet = append(append(packet, extension...), body...)
	if at := checksumOffset(s.protocol); at >= 0 && !s.zeroSum {
		start := l4 + len(extension)
		sum := ^wordSum(pseudo(packet, s.to, uint32(len(body)), s.protocol), packet[start:])
		binary.BigEndian.PutUint16(packet[start+at:], sum)
	}
	return packet
}

// pseudo is the pseudo header of RFC 8200, 8.1.
func pseudo(packet []byte, to Address, length uint32, protocol byte) []byte {
	all := append([]byte{}, packet[l3+8:l3+24]...)
	destination := to.bytes()
	all = append(all, destination[:]...)
	all = binary.BigEndian.AppendUint32(all, length)
	return append(all, 0, 0, 0, protocol)
}

func wordSum(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
		if len(part)%2 == 1 {
			sum += uint32(part[len(part)-1]) << 8
		}
		for sum>>16 != 0 {
			sum = sum&0xffff + sum>>16
		}
	}
	return uint16(sum)
}

// upperOf walks a packet's headers: where its transport begins, and what it is. ok is false where there is none to be seen.
func upperOf(packet []byte) (start int, protocol byte, ok bool) {
	if len(packet) < l4 {
		return 0, 0, false
	}
	start, protocol = l4, packet[l3+6]
	for range 8 {
		switch protocol {
		case protoHop, protoOptions, 135:
			if start+4 > len(packet) {
				return 0, 0, false
			}
			protocol, start = packet[start], start+8*(int(packet[start+1])+1)
		case protoFragment:
			if start+4 > len(packet) {
				return 0, 0, false
			}
			if binary.BigEndian.Uint16(packet[start+2:])&0xfff8 != 0 {
				return 0, 0, false
			}
			protocol, start = packet[start], start+8
		default:
			return start, protocol, true
		}
	}
	return 0, 0, false
}

// isValid tells whether the transport's checksum is right for a destination.
func isValid(packet []byte, to Address) bool {
	start, protocol, ok := upperOf(packet)
	if !ok || checksumOffset(protocol) < 0 {
		return true
	}
	return wordSum(pseudo(packet, to, uint32(len(packet)-start), protocol), packet[start:]) == 0xffff
}

func destination(packet []byte) Address { return fromBytes(packet[l3+24:]) }

func randomHalf(random *rand.Rand) (half [8]byte) {
	binary.BigEndian.PutUint64(half[:], random.Uint64())
	return half
}

// randomSIR is any address that systems may have: type LUID, no C bit, low bits that survive.
func randomSIR(random *rand.Rand) Address {
	a := Address{randomHalf(random), randomHalf(random)}
	a.Identifier[0] = a.Identifier[0]&0x0f | 0x20
	for low := binary.BigEndian.Uint16(a.Identifier[6:]); low == 0 || low == 0xffff; low = binary.BigEndian.Uint16(a.Identifier[6:]) {
		binary.BigEndian.PutUint16(a.Identifier[6:], uint16(random.Uint32()))
	}
	return a
}
