package firewall

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"flipflap.local/agent/iptables"
	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	isSent = 1 << 30 // as bpf/firewall/ask.h has it
	// What a program of tc says: the packet goes elsewhere.
	redirected = 7
)

// onesSum is what checksums are made of: 0xffff where they are right.
func onesSum(parts ...[]byte) uint16 {
	var sum uint32
	for _, part := range parts {
		for ; len(part) > 1; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

// split gives a frame's header of IP and what is behind it.
func split(frame []byte) (ip, upper []byte) {
	if frame[12] == 0x86 {
		return frame[14:54], frame[54:]
	}
	return frame[14:34], frame[34:]
}

func hasRightSums(frame []byte) bool {
	ip, upper := split(frame)
	if frame[12] == 0x86 {
		return onesSum(ip[8:40], []byte{0, ip[6], 0, byte(len(upper))}, upper) == 0xffff
	}
	if ip[9] == 1 {
		return onesSum(ip) == 0xffff && onesSum(upper) == 0xffff
	}
	return onesSum(ip) == 0xffff && onesSum(ip[12:], []byte{0, ip[9], 0, byte(len(upper))}, upper) == 0xffff
}

// capture gives the next frame that comes to a device and that is one.
func capture(t *testing.T, device string, is func([]byte) bool) func() []byte {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(binary.LittleEndian.Uint16([]byte{unix.ETH_P_ALL >> 8, unix.ETH_P_ALL & 0xff})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	link, err := net.InterfaceByName(device)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: unix.ETH_P_ALL << 8, Ifindex: link.Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}); err != nil {
		t.Fatal(err)
	}
	return func() []byte {
		frame := make([]byte, 2000)
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
			n, from, err := unix.Recvfrom(fd, frame, 0)
			if err == nil && from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING && is(frame[:n]) {
				return frame[:n]
			}
		}
		return nil
	}
}

// segment is a packet with ten bytes in it, whose checksums and lengths are right.
func segment(p Packet, target [6]byte) []byte {
	frame := append(p.frame(target), "some bytes"...)
	ip, addresses := frame[14:34], frame[26:34]
	if p.Family == iptables.IPv6 {
		ip, addresses = frame[14:54], frame[22:54]
		binary.BigEndian.PutUint16(ip[4:], uint16(len(frame)-54))
	} else {
		binary.BigEndian.PutUint16(ip[2:], uint16(len(frame)-14))
		copy(ip[10:], []byte{0, 0})
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
	}
	upper := frame[14+len(ip):]
	switch p.Protocol {
	case 6:
		binary.BigEndian.PutUint32(upper[4:], 77)
		binary.BigEndian.PutUint32(upper[8:], 99)
	case 17:
		binary.BigEndian.PutUint16(upper[4:], uint16(len(upper)))
	}
	if at, has := map[uint8]int{1: 2, 6: 16, 17: 6, 58: 2}[p.Protocol]; has {
		pseudo := append(bytes.Clone(addresses), 0, p.Protocol, 0, byte(len(upper)))
		if p.Protocol == 1 {
			pseudo = nil
		}
		binary.BigEndian.PutUint16(upper[at:], ^onesSum(pseudo, upper))
	}
	return frame
}

// What REJECT answers is what the kernel answers, but for whom an error comes from, how much of the packet it quotes, and a header's number.
func TestRejectAnswersAsTheKernel(t *testing.T) {
	path := objectPath(t)
	send, target := router(t,
		"ip addr add 172.16.1.1/24 dev red", "ip route add 10.1.0.0/16 via 172.16.1.2", "ip neigh add 172.16.1.2 lladdr 02:00:00:00:00:09 dev red",
		"ip -6 addr add fd03::1/64 dev red nodad", "ip -6 route add fd01::/16 via fd03::2 dev red", "ip -6 neigh add fd03::2 lladdr 02:00:00:00:00:09 dev red",
		"sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0",
	)
	next := capture(t, "in", func(frame []byte) bool { return frame[5] == 9 && (frame[12] == 8 || frame[12] == 0x86) })
	compared := 0
	for _, family := range []iptables.Family{iptables.IPv4, iptables.IPv6} {
		p := Packet{Family: family, Source: netip.MustParseAddr("10.1.0.5"), Destination: netip.MustParseAddr("10.2.0.5"), SourcePort: 1000, DestinationPort: 80, Type: 8, Identifier: 7}
		program, other, icmp := "iptables", "ip6tables", uint8(1)
		if family == iptables.IPv6 {
			p.Source, p.Destination, p.Type = netip.MustParseAddr("fd01::5"), netip.MustParseAddr("fd02::5"), 128
			program, other, icmp = other, program, 58
		}
		for sort := range answers {
			if strings.HasPrefix(sort, "icmp6") == (family == iptables.IPv4) {
				continue
			}
			compared += rejected(t, path, family, program, other, sort, func(judge *ebpf.Program) (count int) {
				for _, p.Protocol = range []uint8{6, 6, 6, 6, 17, icmp, 47} {
					p.TCPFlags = []uint8{0x02, 0x10, 0x11, 0x04}[count/2%4]
					count += answeredAlike(t, judge, sort, p, segment(p, target), send, next)
				}
				return count
			})
		}
		compared += rejected(t, path, family, program, other, "tcp-reset", func(judge *ebpf.Program) (count int) {
			p.Protocol = 6
			for _, p.TCPFlags = range []uint8{0x02, 0x10, 0x11, 0x18} {
				count += answeredAlike(t, judge, "tcp-reset", p, segment(p, target), send, next)
			}
			// A reset has no answer.
			p.TCPFlags = 0x04
			if verdict, _ := answerOf(t, judge, segment(p, target), isTapped); verdict != 2 {
				t.Errorf("a reset of IPv%d is answered", family)
			}
			return count
		})
	}
	if compared < 180 {
		t.Fatalf("%d answers: that shows little", compared)
	}
	fmt.Printf("%d answers as the kernel's\n", compared)
}

// rejected has the kernel and our program reject all packets in one way.
func rejected(t *testing.T, path string, family iptables.Family, program, other, sort string, then func(*ebpf.Program) int) int {
	t.Helper()
	match := ""
	if sort == "tcp-reset" {
		match = "-p tcp "
	}
	rules, l := inForce(t, path, fmt.Sprintf("%s -P FORWARD ACCEPT\n%s -A FORWARD %s-j REJECT --reject-with %s\n%s -P FORWARD DROP\n", program, program, match, sort, other))
	defer l.Close()
	restore(t, program+"-legacy", rules.filter(family))
	return then(l.Pass)
}

// answerOf runs a frame through a program, and gives what becomes of both.
func answerOf(t *testing.T, judge *ebpf.Program, frame []byte, asked uint32) (verdict uint32, out []byte) {
	t.Helper()
	context := make([]byte, contextBytes)
	binary.LittleEndian.PutUint32(context[cbAt:], asked)
	options := &ebpf.RunOptions{Data: frame, DataOut: make([]byte, 512), Context: context, ContextOut: make([]byte, contextBytes)}
	verdict, err := judge.Run(options)
	if err != nil {
		t.Fatal(err)
	}
	return verdict, options.DataOut
}

// answeredAlike compares the kernel's answer with ours at both hooks, and gives how many that were.
func answeredAlike(t *testing.T, judge *ebpf.Program, sort string, p Packet, frame []byte, send func(string, [][]byte), next func() []byte) int {
	t.Helper()
	send("in", [][]byte{frame})
	want := next()
	if want == nil {
		t.Fatalf("%s: the kernel does not answer %+v", sort, p)
	}
	wantIP, wantUpper := split(want)
	for _, asked := range []uint32{isTapped | isSent, isTapped} {
		verdict, got := answerOf(t, judge, frame, asked)
		if verdict != redirected {
			t.Fatalf("%s: verdict %d of %+v", sort, verdict, p)
		}
		if !bytes.Equal(got[:6], frame[6:12]) || !bytes.Equal(got[6:12], frame[:6]) {
			t.Errorf("%s: from and to %x", sort, got[:12])
		}
		if !hasRightSums(got) {
			t.Errorf("%s: a checksum of %x is wrong", sort, got)
		}
		ip, upper := split(got)
		from, to := p.Destination.AsSlice(), p.Source.AsSlice()
		if at := len(ip) - 2*len(from); !bytes.Equal(ip[at:], append(from, to...)) {
			t.Errorf("%s: the addresses of %x", sort, ip)
		}
		// Of a header: length, number, checksum and who it comes from are compared with the packet, or not at all.
		differs := [][2]int{{2, 6}, {10, 16}}
		if p.Family == iptables.IPv6 {
			differs = [][2]int{{0, 6}, {8, 24}}
		}
		is, was := bytes.Clone(ip), bytes.Clone(wantIP)
		for _, one := range differs {
			clear(is[one[0]:one[1]])
			clear(was[one[0]:one[1]])
		}
		if !bytes.Equal(is, was) {
			t.Errorf("%s: the header of %+v\n got %x\nwant %x", sort, p, ip, wantIP)
		}
		if sort == "tcp-reset" {
			// The kernel leaves the checksum to the device.
			if !bytes.Equal(upper[:16], wantUpper[:16]) || !bytes.Equal(upper[18:], wantUpper[18:]) {
				t.Errorf("%s of %+v\n got %x\nwant %x", sort, p, upper, wantUpper)
			}
			continue
		}
		// ICMP's head but for its checksum, and what is quoted: the kernel has passed the packet on, its hops are one fewer.
		is, was = bytes.Clone(upper), bytes.Clone(wantUpper[:len(upper)])
		for _, one := range [][2]int{{2, 4}, {16, 17}, {18, 20}} {
			if p.Family == iptables.IPv6 && one[0] > 4 {
				one = [2]int{15, 16}
			}
			clear(is[one[0]:one[1]])
			clear(was[one[0]:one[1]])
		}
		if !bytes.Equal(is, was) {
			t.Errorf("%s of %+v\n got %x\nwant %x", sort, p, upper, wantUpper)
		}
	}
	return 2
}

// An answer passes once, the way back, and as long as an answer is: else it would be a way for what the rules do not let through.
func TestAnAnswerPassesOnceAndNothingElseDoes(t *testing.T) {
	path := objectPath(t)
	_, l := inForce(t, path, "iptables -P FORWARD DROP\niptables -A FORWARD -p tcp -j REJECT --reject-with tcp-reset\niptables -A FORWARD -p udp --dport 80 -j REJECT\nip6tables -P FORWARD DROP\n")
	defer l.Close()
	const (
		passed    = 0xffffffff
		dropped   = 2
		elsewhere = 1 << 24 // ASK_TRACK: judged on another server
	)
	p := Packet{Family: iptables.IPv4, Source: netip.MustParseAddr("10.1.0.5"), Destination: netip.MustParseAddr("10.2.0.5"), SourcePort: 1000, DestinationPort: 80, TCPFlags: 2}
	for _, p.Protocol = range []uint8{6, 17} {
		frame := segment(p, [6]byte{2})
		_, answer := answerOf(t, l.Pass, frame, isTapped)
		longer := append(bytes.Clone(answer), 0)
		forged := bytes.Clone(answer) // of another connection
		forged[len(forged)-5]++
		if p.Protocol == 6 {
			forged[14+20+1]++
		}
		try := func(what string, frame []byte, wanted uint32) {
			t.Helper()
			if verdict, _ := answerOf(t, l.Pass, frame, isTapped); verdict != wanted && !(wanted == dropped && verdict == redirected) {
				t.Errorf("protocol %d, %s: verdict %d", p.Protocol, what, verdict)
			}
		}
		try("a longer one", longer, dropped)
		try("another connection's", forged, dropped)
		try("an answer", answer, passed)
		try("once more", answer, dropped)
		// Rejected on another server: its answer is known here, too.
		if verdict, _ := answerOf(t, l.Pass, frame, isTapped|elsewhere); verdict != passed {
			t.Errorf("verdict %d where it is only tracked", verdict)
		}
		try("an answer from afar", answer, passed)
		try("once more from afar", answer, dropped)
	}
}
