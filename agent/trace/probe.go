package trace

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Two after each other: what the first finds asleep the second finds awake.
const (
	probeEvery   = 200 * time.Millisecond
	probesAtOnce = 2
	icmpFilter   = 1 // ICMP_FILTER of SOL_RAW
)

// probes pings servers until ctx ends: packets that go both ways bound how far clocks are apart, and those that are traced may go one way
// only. Nobody waits for an answer: what matters is what the tracers see of it.
func probes(ctx context.Context, targets []netip.Addr, identifier uint16) error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		return err
	}
	// A raw socket has a copy of all that comes: this one of nothing.
	if err := unix.SetsockoptInt(socket, unix.SOL_RAW, icmpFilter, -1); err != nil {
		_ = unix.Close(socket)
		return err
	}
	go func() {
		defer unix.Close(socket)
		next := time.NewTicker(probeEvery)
		defer next.Stop()
		for sequence := uint16(0); ; {
			for range probesAtOnce {
				sequence++
				request := echoRequest(identifier, sequence, time.Now())
				for _, target := range targets {
					_ = unix.Sendto(socket, request, 0, &unix.SockaddrInet4{Addr: target.As4()}) // the next one may go
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-next.C:
			}
		}
	}()
	return nil
}

// echoRequest is one of ICMP; its payload is no other one's.
func echoRequest(identifier, sequence uint16, now time.Time) []byte {
	request := make([]byte, 24)
	request[0] = 8
	binary.BigEndian.PutUint16(request[4:], identifier)
	binary.BigEndian.PutUint16(request[6:], sequence)
	binary.BigEndian.PutUint64(request[8:], uint64(now.UnixNano()))
	var sum uint32
	for at := 0; at < len(request); at += 2 {
		sum += uint32(binary.BigEndian.Uint16(request[at:]))
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(request[2:], ^uint16(sum))
	return request
}
