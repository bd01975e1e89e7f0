package firewall

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"flipflap.local/agent/iptables"
	"golang.org/x/sys/unix"
)

// frame is a packet as it comes by Ethernet, complete but for its checksums of what is above IP, which nobody looks at.
func (p Packet) frame(target [6]byte) []byte {
	var upper []byte
	switch {
	case p.IsLaterFragment:
		upper = make([]byte, 24)
	case p.Protocol == 6:
		upper = make([]byte, 20)
		upper[12], upper[13] = 5<<4, p.TCPFlags
	case p.Protocol == 17:
		upper = make([]byte, 8)
		upper[5] = 8
	case p.Protocol == 132:
		upper = make([]byte, 16)
		upper[12], upper[15] = 1, 4 // a chunk
	default:
		upper = make([]byte, 24)
	}
	switch {
	case p.Quoted != nil:
		upper = append(upper[:8:8], p.Quoted.frame(target)[14:]...)
		upper[0], upper[1] = p.Type, p.Code
	case p.hasPorts():
		binary.BigEndian.PutUint16(upper, p.SourcePort)
		binary.BigEndian.PutUint16(upper[2:], p.DestinationPort)
	case p.isICMP():
		upper[0], upper[1] = p.Type, p.Code
		binary.BigEndian.PutUint16(upper[4:], p.Identifier)
	}
	var ip []byte
	kind := uint16(0x0800)
	if p.Family == iptables.IPv4 {
		ip = make([]byte, 20)
		ip[0], ip[8], ip[9] = 0x45, 64, p.Protocol
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(upper)))
		if p.IsLaterFragment {
			binary.BigEndian.PutUint16(ip[6:], 100)
		}
		source, destination := p.Source.As4(), p.Destination.As4()
		copy(ip[12:], source[:])
		copy(ip[16:], destination[:])
		binary.BigEndian.PutUint16(ip[10:], ^onesSum(ip))
	} else {
		kind = 0x86dd
		ip = make([]byte, 40)
		ip[0], ip[6], ip[7] = 0x60, p.Protocol, 64
		binary.BigEndian.PutUint16(ip[4:], uint16(len(upper)))
		source, destination := p.Source.As16(), p.Destination.As16()
		copy(ip[8:], source[:])
		copy(ip[24:], destination[:])
	}
	frame := append(target[:], 2, 0, 0, 0, 0, 9)
	frame = binary.BigEndian.AppendUint16(frame, kind)
	return append(append(frame, ip...), upper...)
}

func does(t *testing.T, words string) {
	t.Helper()
	fields := strings.Fields(words)
	if said, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v %s", words, err, said)
	}
}

// router forwards in this thread's own namespace from one pair of devices to another: what is sent into `in` comes by red, and goes by red-db.
func router(t *testing.T, more ...string) (send func(device string, frames [][]byte), target [6]byte) {
	runtime.LockOSThread() // the thread ends with the test, and its namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	for _, words := range append([]string{
		"ip link add in type veth peer name red", "ip link add out type veth peer name red-db",
		"ip link set red address 02:00:00:00:00:01", "ip link set red-db address 02:00:00:00:00:01", "ip link set lo up", "ip link set in up", "ip link set out up",
		"ip link set red up", "ip link set red-db up",
		"sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.red.rp_filter=0",
		"ip addr add 172.16.0.1/24 dev red-db", "ip route add default via 172.16.0.2", "ip neigh add 172.16.0.2 lladdr 02:00:00:00:00:02 dev red-db",
		"ip -6 addr add fe80::7:1/64 dev red-db nodad", "ip -6 route add default via fe80::7:2 dev red-db",
		"ip -6 neigh add fe80::7:2 lladdr 02:00:00:00:00:02 dev red-db",
	}, more...) {
		does(t, words)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return func(device string, frames [][]byte) {
		link, err := net.InterfaceByName(device)
		if err != nil {
			t.Fatal(err)
		}
		to := &unix.SockaddrLinklayer{Ifindex: link.Index, Halen: 6}
		for _, frame := range frames {
			if err := unix.Sendto(fd, frame, 0, to); err != nil {
				t.Fatal(err)
			}
		}
	}, [6]byte{2, 0, 0, 0, 0, 1}
}

// restore puts a table into this namespace's kernel, and gives it as text.
func restore(t *testing.T, program string, table *iptables.Table) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("*filter\n")
	for _, c := range table.Chains {
		policy := c.Policy
		if policy == "" {
			policy = "-"
		}
		fmt.Fprintf(&text, ":%s %s [0:0]\n", c.Name, policy)
	}
	for _, c := range table.Chains {
		for _, rule := range c.Rules {
			fmt.Fprintf(&text, "-A %s %s\n", c.Name, rule.Spec())
		}
	}
	text.WriteString("COMMIT\n")
	restore := exec.Command(program + "-restore")
	restore.Stdin = strings.NewReader(text.String())
	if said, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%s%s", text.String(), said)
	}
	return text.String()
}

// counters gives each rule's packets as the kernel counted them.
func counters(t *testing.T, program string) map[string][]uint64 {
	printed, err := exec.Command(program+"-save", "-c", "-t", "filter").Output()
	if err != nil {
		t.Fatal(err)
	}
	set := iptables.Parse(sets4 + sets6 + strings.Replace(string(printed), "Generated by iptables-save", "", 1))
	if len(set.Faults) > 0 {
		t.Fatalf("%s%v", printed, set.Faults[0])
	}
	all := map[string][]uint64{}
	for _, c := range set.Tables[0].Chains {
		for _, r := range c.Rules {
			all[c.Name] = append(all[c.Name], r.Packets)
		}
	}
	return all
}

func sum(all map[string][]uint64) (total uint64) {
	for _, counts := range all {
		for _, count := range counts {
			total += count
		}
	}
	return total
}

// The kernel's own iptables and ours count the same packets at the same rules.
func TestTheKernelJudgesAlike(t *testing.T) {
	send, target := router(t)
	ipset := exec.Command("ipset", "restore")
	ipset.Stdin = strings.NewReader(sets4 + sets6)
	if said, err := ipset.CombinedOutput(); err != nil {
		t.Fatalf("ipset: %v %s", err, said)
	}
	r := rand.New(rand.NewPCG(7, 7))
	const packets = 2000
	sets := 60
	if more, err := strconv.Atoi(os.Getenv("FLIPFLAP_SETS")); err == nil {
		sets = more
	}
	var compared, met uint64
	for n := range sets {
		family, program := iptables.IPv4, "iptables-legacy"
		if n%3 == 2 {
			family, program = iptables.IPv6, "ip6tables-legacy"
		}
		// What a connection's state is, and what limits let pass, is not compared here.
		text := ""
		for _, line := range strings.Split(made(r, family, 60), "\n") {
			if !strings.Contains(line, "conntrack") && !strings.Contains(line, "limit") {
				text += line + "\n"
			}
		}
		set := iptables.Parse(text)
		if len(set.Faults) > 0 {
			t.Fatal(set.Faults[0])
		}
		compiled, err := Compile(set.Tables[0], "FORWARD", []string{"red", "red-db"})
		if err != nil {
			t.Fatal(err)
		}
		index := NewIndex(compiled)
		counts := map[*iptables.Rule]uint64{}
		var frames [][]byte
		for len(frames) < packets {
			p := packet(r, family)
			p.In, p.Out = "red", "red-db"
			if !isForwarded(p) {
				continue
			}
			frames = append(frames, p.frame(target))
			compiled.Judge(p, index.First, nil, func(rule *iptables.Rule) { counts[rule]++ })
		}
		want := map[string][]uint64{}
		for _, c := range set.Tables[0].Chains {
			for _, rule := range c.Rules {
				want[c.Name] = append(want[c.Name], counts[rule])
			}
		}
		var got map[string][]uint64
		var restored string
		// A busy machine's queue of a thousand packets may run over: what was lost there nobody judged.
		for try := 0; try < 5 && !maps.EqualFunc(got, want, slices.Equal); try++ {
			restored = restore(t, program, set.Tables[0])
			send("in", frames)
			got = counters(t, program)
			for wait := 0; sum(got) < sum(want) && wait < 25; wait++ { // the last ones may be on their way
				time.Sleep(20 * time.Millisecond)
				got = counters(t, program)
			}
		}
		for _, c := range set.Tables[0].Chains {
			for i, rule := range c.Rules {
				if got[c.Name][i] != want[c.Name][i] {
					t.Errorf("%s %s: the kernel counts %d, we %d", c.Name, rule.Spec(), got[c.Name][i], want[c.Name][i])
				}
			}
		}
		if t.Failed() {
			t.Fatal(restored)
		}
		compared += packets
		met += sum(got)
	}
	fmt.Printf("%d packets of %d sets met %d rules, in the kernel and here\n", compared, sets, met)
	if met < compared/2 {
		t.Fatal("that shows little")
	}
}

// isForwarded: the kernel drops others before they come to FORWARD.
func isForwarded(p Packet) bool {
	odd := func(ip netip.Addr) bool {
		return ip.IsUnspecified() || ip.IsMulticast() || ip == netip.MustParseAddr("255.255.255.255")
	}
	if odd(p.Source) || odd(p.Destination) {
		return false
	}
	return p.Family == iptables.IPv4 || !p.IsLaterFragment
}
