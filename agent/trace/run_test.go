package trace

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"flipflap.local/agent/contract"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// pair is two namespaces with a veth between them, 10.77.0.1 and 10.77.0.2; what is done runs in the first.
func pair(t *testing.T, within func()) (here, there string) {
	t.Helper()
	runtime.LockOSThread() // never given back: the namespaces go with the thread
	file := func() string { return fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid()) }
	second, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	first, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "here"}, PeerName: "there", PeerNamespace: netlink.NsFd(int(second))}
	must(netlink.LinkAdd(veth))
	for _, one := range []struct {
		ns      netns.NsHandle
		name    string
		address string
	}{{second, "there", "10.77.0.2/24"}, {first, "here", "10.77.0.1/24"}} {
		must(netns.Set(one.ns))
		link, err := netlink.LinkByName(one.name)
		must(err)
		address, err := netlink.ParseAddr(one.address)
		must(err)
		must(netlink.AddrAdd(link, address))
		must(netlink.LinkSetUp(link))
	}
	within()
	t.Cleanup(func() { first.Close(); second.Close() })
	return file(), fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(second))
}

// traced runs the tracer while something is done, and gives what it printed.
func traced(t *testing.T, filter string, during func()) (legs []contract.TraceLeg, counts *contract.TraceCounts) {
	t.Helper()
	if os.Getenv("FLIPFLAP_BPF") == "" {
		t.Skip("FLIPFLAP_BPF names no object: no root")
	}
	var here, there string
	here, there = pair(t, func() {})
	out, in := io.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		err := Run(ctx, Options{
			Programs: filepath.Dir(os.Getenv("FLIPFLAP_BPF")), Proc: "/nowhere", Filter: filter, Redirects: true,
			Containers: func(context.Context) (map[string]string, error) {
				return map[string]string{here: "first", there: "second"}, nil
			},
			Overlays: func(_ context.Context, file string) string { return file },
		}, in)
		in.Close()
		ended <- err
	}()
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line contract.TraceLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		switch {
		case line.Ready != nil:
			go func() {
				time.Sleep(300 * time.Millisecond)
				cancel()
			}()
			during()
		case line.Leg != nil:
			legs = append(legs, *line.Leg)
		case line.Counts != nil:
			counts = line.Counts
		}
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return legs, counts
}

// datagram sends one from this thread's namespace.
func datagram(t *testing.T, to string, port int, payload string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	address := &unix.SockaddrInet4{Port: port}
	copy(address.Addr[:], net.ParseIP(to).To4())
	if err := unix.Sendto(fd, []byte(payload), 0, address); err != nil {
		t.Fatal(err)
	}
}

func way(l contract.TraceLeg) string {
	var steps []string
	for _, s := range l.Steps {
		steps = append(steps, strings.TrimSpace(fmt.Sprintf("%s/%s:%s %s", s.Namespace, s.Device, s.Point, s.Reason)))
	}
	return strings.Join(steps, ", ")
}

func TestADatagramIsFollowedToWhereItIsDropped(t *testing.T) {
	legs, counts := traced(t, "udp port 5353", func() { datagram(t, "10.77.0.2", 5353, "hello") })
	if len(legs) != 1 {
		t.Fatalf("%d legs, %+v", len(legs), counts)
	}
	got := way(legs[0])
	for _, one := range []string{"first/here:net_dev_queue", "first/here:net_dev_start_xmit", "second/there:netif_rx", "first/here:net_dev_xmit", "second/there:netif_receive_skb", "second/there:tcx_ingress", "second/there:kfree_skb NO_SOCKET"} {
		if !strings.Contains(got, one) {
			t.Errorf("%s is not in %s", one, got)
		}
	}
	p := legs[0].Packets[0]
	if p.Source != "10.77.0.1" || p.Target != "10.77.0.2" || p.TargetPort != 5353 || p.PayloadBytes != 5 {
		t.Errorf("%+v", p)
	}
	if counts == nil || counts.Lost != 0 || counts.Matched < 5 || counts.Seen <= counts.Matched {
		t.Errorf("%+v", counts)
	}
}

func TestWhatTheFilterDoesNotWantIsNotTold(t *testing.T) {
	legs, counts := traced(t, "udp port 9", func() { datagram(t, "10.77.0.2", 5353, "hello") })
	if len(legs) != 0 || counts.Seen == 0 {
		t.Errorf("%+v, %+v", legs, counts)
	}
}

func TestEqualDatagramsAreAsManyLegs(t *testing.T) {
	legs, _ := traced(t, "udp and dst port 5353", func() {
		for range 1000 {
			datagram(t, "10.77.0.2", 5353, "the same")
		}
	})
	if len(legs) != 1000 {
		t.Errorf("%d legs of 1000 equal datagrams", len(legs))
	}
}
