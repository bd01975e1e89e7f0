package trace

import (
	"encoding/binary"
	"math/rand"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// parsed says of a frame what the programs should, in the plainest way.
func parsed(frame []byte) packet {
	p := packet{Type: binary.BigEndian.Uint16(frame[12:]), Length: uint32(len(frame))}
	if p.Type < 0x600 {
		p.Type = 4 // a length, and LLC behind it
		if frame[14] == 0xff && len(frame) > 15 && frame[15] == 0xff {
			p.Type = 1
		}
	}
	if tunnel := p.parse(frame[14:]); tunnel != nil && len(tunnel) >= 8+8+14 {
		inner := packet{
			Outside: p.Inside, OutsideProtocol: protocolUDP, Vni: binary.BigEndian.Uint32(tunnel[12:]) >> 8,
			Type: binary.BigEndian.Uint16(tunnel[28:]), Length: uint32(len(tunnel) - 16),
		}
		inner.parse(tunnel[30:])
		return inner
	}
	return p
}

func asIPv6(four []byte) (a [16]uint8) {
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], four)
	return a
}

// parse gives what follows the IP header where that is a tunnel.
func (p *packet) parse(data []byte) []byte {
	word := func(at int) uint16 { return binary.BigEndian.Uint16(data[at:]) }
	switch {
	case p.Type == typeIPv4 && len(data) >= 20:
		header := int(data[0]&15) * 4
		p.Inside.Source, p.Inside.Target = asIPv6(data[12:16]), asIPv6(data[16:20])
		p.Protocol, p.Id, p.Hops, p.PayloadBytes = data[9], word(4), data[8], word(2)-uint16(header)
		if fragment := word(6); fragment&0x1fff != 0 {
			p.Flags, p.Sequence = uint8(flagLaterFragment), uint32(fragment&0x1fff)
			return nil
		} else if fragment&0x2000 != 0 {
			p.Flags = uint8(flagFirstFragment)
		}
		if len(data) < header {
			return nil
		}
		return p.parseUpper(data[header:])
	case p.Type == typeIPv6 && len(data) >= 40:
		copy(p.Inside.Source[:], data[8:24])
		copy(p.Inside.Target[:], data[24:40])
		p.Protocol, p.Hops, p.PayloadBytes = data[6], data[7], word(4)
		rest := data[40:]
		for range 4 {
			if p.Protocol != 0 && p.Protocol != 43 && p.Protocol != 44 && p.Protocol != 60 {
				return p.parseUpper(rest)
			}
			if len(rest) < 8 {
				return nil
			}
			bytes := (int(rest[1]) + 1) * 8
			isFragment := p.Protocol == 44
			if isFragment {
				bytes = 8
				p.Id = binary.BigEndian.Uint16(rest[6:])
				if at := binary.BigEndian.Uint16(rest[2:]); at&0xfff8 != 0 {
					p.Flags |= uint8(flagLaterFragment)
					p.Sequence = uint32(at >> 3)
				} else {
					p.Flags |= uint8(flagFirstFragment)
				}
			}
			p.Protocol = rest[0]
			p.PayloadBytes -= uint16(bytes)
			if p.Flags&uint8(flagLaterFragment) != 0 || len(rest) < bytes {
				return nil
			}
			rest = rest[bytes:]
		}
		return nil
	case p.Type == typeARP && len(data) >= 28:
		p.Inside.Source, p.Inside.Target = asIPv6(data[14:18]), asIPv6(data[24:28])
		p.Sequence = uint32(word(6))
	}
	return nil
}

func (p *packet) parseUpper(data []byte) []byte {
	if len(data) < 8 {
		return nil
	}
	word := func(at int) uint16 { return binary.BigEndian.Uint16(data[at:]) }
	long := func(at int) uint32 { return binary.BigEndian.Uint32(data[at:]) }
	switch p.Protocol {
	case protocolTCP:
		if len(data) >= 20 {
			p.SourcePort, p.TargetPort, p.Sequence, p.Acknowledged, p.TcpFlags = word(0), word(2), long(4), long(8), data[13]
			p.PayloadBytes -= uint16(data[12]>>4) * 4
		}
	case protocolUDP:
		p.SourcePort, p.TargetPort = word(0), word(2)
		p.PayloadBytes -= 8
		if p.TargetPort == 4789 || p.TargetPort == 4788 || p.TargetPort == 8472 {
			return data
		}
		p.digest(data[8:])
	case protocolICMP, protocolICMPv6:
		p.SourcePort, p.TargetPort, p.Sequence = word(0), word(4), uint32(word(6))
		p.PayloadBytes -= 8
		p.digest(data[8:])
	case protocolESP:
		p.Outside, p.OutsideProtocol, p.Vni, p.Sequence = p.Inside, protocolESP, long(0), long(4)
	}
	return nil
}

func (p *packet) digest(payload []byte) {
	bytes := min(int(p.PayloadBytes), 16)
	if bytes == 0 || bytes > len(payload) {
		return
	}
	var words [16]byte
	copy(words[:], payload[:bytes])
	sum := uint32(2166136261)
	for i := range 4 {
		sum = (sum^binary.LittleEndian.Uint32(words[4*i:]))*16777619 ^ sum>>15
	}
	p.Digest = max(1, sum)
}

// frames to begin with: of each sort that the parser knows.
func frames() [][]byte {
	ethernet := func(kind uint16, data []byte) []byte {
		return append(binary.BigEndian.AppendUint16(make([]byte, 12), kind), data...)
	}
	ipv4 := func(protocol byte, options int, data []byte) []byte {
		head := make([]byte, 20+options)
		head[0], head[8], head[9] = byte(0x40|(5+options/4)), 64, protocol
		binary.BigEndian.PutUint16(head[2:], uint16(len(head)+len(data)))
		binary.BigEndian.PutUint16(head[4:], 4711)
		copy(head[12:], []byte{10, 0, 0, 1, 10, 0, 0, 2})
		return append(head, data...)
	}
	ipv6 := func(next byte, data []byte) []byte {
		head := make([]byte, 40)
		head[0], head[6], head[7] = 0x60, next, 64
		binary.BigEndian.PutUint16(head[4:], uint16(len(data)))
		for i, text := range []string{"fd00::1", "fd00::2"} {
			address := netip.MustParseAddr(text).As16()
			copy(head[8+16*i:], address[:])
		}
		return append(head, data...)
	}
	udp := func(port uint16, data []byte) []byte {
		head := binary.BigEndian.AppendUint16([]byte{0x30, 0x39}, port)
		return append(append(head, 0, byte(8+len(data)), 0, 0), data...)
	}
	tcp := append([]byte{0x14, 0x51, 0x9c, 0x40, 0, 0, 1, 2, 0, 0, 3, 4, 0x80, 0x18, 1, 0, 0, 0, 0, 0}, make([]byte, 32)...)
	text := []byte("a payload that is longer than a digest")
	echo := append([]byte{8, 0, 0, 0, 0, 7, 0, 1}, text...)
	extension := func(next byte, more ...byte) []byte {
		return append([]byte{next, 0}, append(more, make([]byte, 6-len(more))...)...)
	}
	inner := ethernet(typeIPv4, ipv4(protocolTCP, 0, tcp))
	tunnel := func(port uint16, inner []byte) []byte {
		return udp(port, append([]byte{8, 0, 0, 0, 0, 0, 136, 0}, inner...))
	}
	return [][]byte{
		ethernet(typeIPv4, ipv4(protocolTCP, 0, tcp)),
		ethernet(typeIPv4, ipv4(protocolTCP, 12, tcp)),
		ethernet(typeIPv4, ipv4(protocolUDP, 0, udp(53, text))),
		ethernet(typeIPv4, ipv4(protocolUDP, 0, udp(53, []byte("hello")))),
		ethernet(typeIPv4, ipv4(protocolICMP, 0, echo)),
		ethernet(typeIPv4, ipv4(protocolESP, 0, text)),
		ethernet(typeIPv6, ipv6(protocolTCP, tcp)),
		ethernet(typeIPv6, ipv6(protocolUDP, udp(53, text))),
		ethernet(typeIPv6, ipv6(protocolICMPv6, echo)),
		ethernet(typeIPv6, ipv6(0, append(extension(43), append(extension(44), append(extension(protocolUDP, 0, 1, 0, 0, 0, 9), udp(53, text)...)...)...))),
		ethernet(typeIPv6, ipv6(60, append(extension(protocolTCP), tcp...))),
		ethernet(typeIPv4, ipv4(protocolUDP, 0, tunnel(4789, inner))),
		ethernet(typeIPv4, ipv4(protocolUDP, 8, tunnel(8472, ethernet(typeIPv6, ipv6(protocolUDP, udp(53, text)))))),
		ethernet(typeIPv6, ipv6(protocolUDP, tunnel(4788, inner))),
		ethernet(typeARP, []byte{0, 1, 8, 0, 6, 4, 0, 1, 2, 2, 2, 2, 2, 2, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2}),
		ethernet(0x88cc, text),
	}
}

// TestAMillionPacketsAreReadAlike: the programs and the plain reading say the same of frames near to what they know, and far from it.
func TestAMillionPacketsAreReadAlike(t *testing.T) {
	object := os.Getenv("FLIPFLAP_BPF")
	if object == "" {
		t.Skip("FLIPFLAP_BPF names no object: no root")
	}
	p, err := load(filepath.Join(filepath.Dir(object), "trace.bpf.o"), nil, 1, true, true)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	inode, err := inodeOf(ownNamespace)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.setNamespaces([]uint32{inode}); err != nil {
		t.Fatal(err)
	}
	program := p.collection.Programs[ingressProgram]
	reader, err := ringbuf.NewReader(p.collection.Maps["events"])
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()

	const count = 1_000_000
	random := rand.New(rand.NewSource(1))
	begun := frames()
	var record ringbuf.Record
	var waiting [][]byte
	check := func() {
		reader.SetDeadline(time.Now()) // nobody wakes the reader
		for _, frame := range waiting {
			if err := reader.ReadInto(&record); err != nil {
				t.Fatal(err)
			}
			got := packetFrom(record.RawSample[unsafe.Offsetof(event{}.Packet):])
			if want := parsed(frame); got != want {
				t.Fatalf("%x:\nthe program reads %+v\n        wanted is %+v", frame, got, want)
			}
		}
		waiting = waiting[:0]
	}
	for tried := 0; tried < count; {
		frame := append([]byte{}, begun[random.Intn(len(begun))]...)
		for range random.Intn(4) {
			frame[random.Intn(len(frame))] = byte(random.Intn(256))
		}
		if random.Intn(4) == 0 {
			frame = frame[:15+random.Intn(len(frame)-15)]
		}
		if random.Intn(50) == 0 {
			random.Read(frame[14:])
		}
		// The kernel tries none whose IP header is not whole (6.18).
		if least := map[uint16]int{typeIPv4: 14 + 20, typeIPv6: 14 + 40}[binary.BigEndian.Uint16(frame[12:])]; len(frame) < least {
			continue
		}
		if _, err := program.Run(&ebpf.RunOptions{Data: frame}); err != nil {
			t.Fatalf("%x (%d bytes): %v", frame, len(frame), err)
		}
		tried++
		if waiting = append(waiting, frame); len(waiting) == 4096 {
			check()
		}
	}
	check()
	t.Logf("%d packets", count)
}
