package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Of the contract, as the core calls them.
type (
	probePlan = contract.ProbePlan
	probeSpec = contract.Probe
)

// probeRounds: what meets a neighbour that is still to be found, or a busy server, gets a second and third chance.
const (
	probeRounds   = 3
	probeInterval = 200 * time.Millisecond
	probeMagic    = 0xf11bf1a9
)

// probe says "ready" when its systems look, sends at the first line of its input, says "sent", and at the end of its input
// prints the numbers of the packets that arrived here.
func (a *agent) probe(ctx context.Context, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	first, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var plan probePlan
	if err := json.Unmarshal(first, &plan); err != nil {
		return err
	}
	if plan.Contract != contract.Version {
		return fmt.Errorf("the agent on this server is of another version of flipflap (contract %s, asked for %s): flipflap up brings its own", contract.Version, plan.Contract)
	}
	var (
		mu      sync.Mutex
		arrived = map[uint32]bool{}
	)
	for _, name := range plan.Receive {
		ns, err := a.namespaceOf(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fd := -1
		err = kernel.InNamespace(ns, func() (err error) {
			fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
			return err
		})
		ns.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		go func() {
			packet := make([]byte, 2048)
			for {
				n, from, err := unix.Recvfrom(fd, packet, 0)
				if err == unix.EINTR {
					continue
				}
				if err != nil {
					return
				}
				if ll, is := from.(*unix.SockaddrLinklayer); is && ll.Pkttype == unix.PACKET_OUTGOING {
					continue
				}
				if id, is := probeOf(packet[:n]); is {
					mu.Lock()
					arrived[id] = true
					mu.Unlock()
				}
			}
		}()
	}
	fmt.Fprintln(out, "ready")
	if _, err := lines.ReadBytes('\n'); err != nil {
		return err
	}
	if err := a.sendProbes(ctx, plan.Send, plan.Rounds); err != nil {
		return err
	}
	fmt.Fprintln(out, "sent")
	_, _ = io.Copy(io.Discard, lines)
	mu.Lock()
	defer mu.Unlock()
	ids := make([]uint32, 0, len(arrived))
	for id := range arrived {
		ids = append(ids, id)
	}
	return json.NewEncoder(out).Encode(ids)
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

func (a *agent) namespaceOf(ctx context.Context, name string) (netns.NsHandle, error) {
	if filepath.IsAbs(name) {
		if ns, err := netns.GetFromPath(name); err == nil {
			return ns, nil // not in a container
		}
		return netns.GetFromPath(filepath.Join(a.files.Proc, "1/root", name))
	}
	c, err := a.docker.Inspect(ctx, name)
	if err != nil {
		return netns.None(), err
	}
	if c == nil || !c.State.Running {
		return netns.None(), fmt.Errorf("does not run")
	}
	return a.namespaceOfContainer(c)
}

// sendProbes gives every system one raw socket a protocol and family.
func (a *agent) sendProbes(ctx context.Context, all []probeSpec, rounds int) error {
	if rounds == 0 {
		rounds = probeRounds
	}
	type key struct {
		from, protocol string
		six            bool
	}
	sockets := map[key]int{}
	defer func() {
		for _, fd := range sockets {
			unix.Close(fd)
		}
	}()
	for round := range rounds {
		if round > 0 {
			time.Sleep(probeInterval)
		}
		for _, p := range all {
			source, destination := net.ParseIP(p.Source), net.ParseIP(p.Destination)
			k := key{p.From, p.Protocol, destination.To4() == nil}
			fd, known := sockets[k]
			if !known {
				ns, err := a.namespaceOf(ctx, p.From)
				if err != nil {
					return fmt.Errorf("%s: %w", p.From, err)
				}
				err = kernel.InNamespace(ns, func() (err error) { fd, err = rawSocket(p.Protocol, k.six); return err })
				ns.Close()
				if err != nil {
					return fmt.Errorf("%s: %w", p.From, err)
				}
				sockets[k] = fd
			}
			if err := sendProbe(fd, p, source, destination); err != nil && err != unix.EPERM && err != unix.ENOBUFS {
				return fmt.Errorf("%s to %s: %w", p.From, p.Destination, err)
			}
		}
	}
	return nil
}

var probeProtocols = map[string]int{"tcp": unix.IPPROTO_TCP, "udp": unix.IPPROTO_UDP, "sctp": unix.IPPROTO_SCTP, "icmp": unix.IPPROTO_ICMP}

func rawSocket(protocol string, six bool) (int, error) {
	number, known := probeProtocols[protocol]
	if !known {
		return -1, fmt.Errorf("protocol %q is none of tcp, udp, sctp, icmp", protocol)
	}
	family := unix.AF_INET
	if six {
		family = unix.AF_INET6
		if protocol == "icmp" {
			number = unix.IPPROTO_ICMPV6
		}
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, number)
	if err == nil && six && (protocol == "tcp" || protocol == "udp") {
		// The kernel knows the rest of the sum.
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, map[string]int{"tcp": 16, "udp": 6}[protocol])
	}
	return fd, err
}

// sourcePort differs from probe to probe: no connection tracking takes one for an answer to another.
func sourcePort(p probeSpec) uint16 { return uint16(20000 + p.ID%40000) }

func sendProbe(fd int, p probeSpec, source, destination net.IP) error {
	var b []byte
	be := binary.BigEndian
	sumAt := -1
	switch p.Protocol {
	case "tcp": // SYN, its sequence number tells which
		b, sumAt = make([]byte, 20), 16
		be.PutUint32(b[4:], p.ID)
		b[12], b[13] = 5<<4, 2
		be.PutUint16(b[14:], 64240)
		be.PutUint16(b[18:], probeMagic&0xffff)
	case "udp":
		b, sumAt = make([]byte, 16), 6
		be.PutUint16(b[4:], 16)
		be.PutUint32(b[8:], probeMagic)
		be.PutUint32(b[12:], p.ID)
	case "sctp": // a common header and a chunk of the INIT kind
		b = make([]byte, 32)
		b[12] = 1
		be.PutUint16(b[14:], 20)
		be.PutUint32(b[16:], p.ID)
		be.PutUint32(b[20:], probeMagic)
		be.PutUint32(b[24:], 1<<16|1)
	case "icmp":
		b, sumAt = make([]byte, 16), 2
		b[0] = 8
		if destination.To4() == nil {
			b[0], sumAt = 128, -1 // ICMPv6 sockets sum up by themselves
		}
		be.PutUint16(b[4:], sourcePort(p))
		be.PutUint32(b[8:], probeMagic)
		be.PutUint32(b[12:], p.ID)
	}
	if p.Protocol != "icmp" {
		be.PutUint16(b[0:], sourcePort(p))
		be.PutUint16(b[2:], p.Port)
	}
	if p.Protocol == "sctp" {
		binary.LittleEndian.PutUint32(b[8:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
	}
	if four := destination.To4(); four != nil {
		if sumAt >= 0 {
			sum := uint32(0)
			if p.Protocol != "icmp" {
				sum = onesSum(source.To4()) + onesSum(four) + uint32(probeProtocols[p.Protocol]) + uint32(len(b))
			}
			sum += onesSum(b)
			for sum>>16 != 0 {
				sum = sum&0xffff + sum>>16
			}
			be.PutUint16(b[sumAt:], ^uint16(sum))
		}
		to := &unix.SockaddrInet4{}
		copy(to.Addr[:], four)
		return unix.Sendto(fd, b, 0, to)
	}
	to := &unix.SockaddrInet6{}
	copy(to.Addr[:], destination.To16())
	return unix.Sendto(fd, b, 0, to)
}

func onesSum(b []byte) (sum uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}

// probeOf reads the number of a probe from an IP packet.
func probeOf(packet []byte) (uint32, bool) {
	if len(packet) < 36 {
		return 0, false
	}
	be := binary.BigEndian
	protocol, rest := packet[9], packet[min(int(packet[0]&15)*4, len(packet)):]
	if packet[0]>>4 == 6 {
		protocol, rest = packet[6], packet[min(40, len(packet)):]
	}
	if len(rest) < 16 {
		return 0, false
	}
	switch int(protocol) {
	case unix.IPPROTO_TCP:
		return be.Uint32(rest[4:]), len(rest) >= 20 && rest[13] == 2 && be.Uint16(rest[18:]) == probeMagic&0xffff
	case unix.IPPROTO_SCTP:
		if len(rest) < 24 {
			return 0, false
		}
		return be.Uint32(rest[16:]), be.Uint32(rest[20:]) == probeMagic
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		return be.Uint32(rest[12:]), (rest[0] == 8 || rest[0] == 128) && be.Uint32(rest[8:]) == probeMagic
	case unix.IPPROTO_UDP:
		return be.Uint32(rest[12:]), be.Uint32(rest[8:]) == probeMagic
	}
	return 0, false
}
