package bpf

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// These need root, and a namespace each: tests/bpf/chain.test.ts runs them.

// bed is a pair of devices in a namespace of its own.
func bed(t *testing.T) (here, there netlink.Link) {
	runtime.LockOSThread() // never given back: the namespace goes with the thread
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	ns.Close()
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a.1"}, PeerName: "b"}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.1", "b"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
		here, there = there, l
	}
	return here, there
}

// program notes its number in the packet's mark behind those before it, and lets it go on. The kernel's own frames do not count.
func program(t *testing.T, name string, number int32, counted *ebpf.Map) *ebpf.Program {
	code := asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 16, asm.Word), // the protocol
		asm.JNE.Imm(asm.R2, 0xb588, "out"),
		// mark = mark * 10 + number
		asm.LoadMem(asm.R2, asm.R1, 8, asm.Word),
		asm.Mul.Imm(asm.R2, 10),
		asm.Add.Imm(asm.R2, number),
		asm.StoreMem(asm.R1, 8, asm.R2, asm.Word),
	}
	if counted != nil {
		code = append(code,
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.StoreMem(asm.RFP, -16, asm.R2, asm.DWord),
			asm.LoadMapPtr(asm.R1, counted.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
			asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -16),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnMapUpdateElem.Call(),
		)
	}
	code = append(code, asm.Mov.Imm(asm.R0, -1).WithSymbol("out"), asm.Return())
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, Instructions: code, License: "GPL"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func pins(t *testing.T) string {
	folder, err := os.MkdirTemp("/sys/fs/bpf", "flipflap-test")
	if err != nil {
		t.Skipf("no bpffs: %v", err) // tests/bpf/chain.test.ts has one of its own
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// send puts one small frame on a device.
func send(t *testing.T, device netlink.Link) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	frame := make([]byte, 60)
	copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5})
	if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: device.Attrs().Index}); err != nil {
		t.Fatal(err)
	}
}

func eachWay(t *testing.T, test func(t *testing.T, c Chain)) {
	t.Run("tcx", func(t *testing.T) {
		if !HasTCX() {
			t.Skip("no tcx before Linux 6.6")
		}
		test(t, Chain{Pins: pins(t)})
	})
	t.Run("filters", func(t *testing.T) { test(t, Chain{Pins: pins(t), ByFilters: true}) })
}

// testPlaces stand for programs that are still to come.
func testPlaces(t *testing.T) []string {
	names := []string{"t_trace", "t_guard", "t_firewall", "t_forward", "t_again"}
	for i, name := range names {
		places[name] = Place(i + 1)
	}
	t.Cleanup(func() {
		for _, name := range names {
			delete(places, name)
		}
	})
	return names
}

func TestProgramsStandInTheirOrderWhateverCameFirst(t *testing.T) {
	names := testPlaces(t)
	eachWay(t, func(t *testing.T, c Chain) {
		for _, arrival := range [][]int{{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 4, 0, 3, 1}, {3, 0, 4, 1, 2}} {
			here, there := bed(t)
			marks, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer marks.Close()
			for _, i := range arrival {
				h := Hook{Name: names[i], Direction: Ingress, Program: program(t, names[i], int32(i+1), marks)}
				if err := c.Attach(h, here); err != nil {
					t.Fatal(err)
				}
				if !c.Has(h, here) {
					t.Fatalf("%s is not seen", names[i])
				}
			}
			send(t, there)
			var mark uint64
			for end := time.Now().Add(time.Second); time.Now().Before(end) && mark == 0; time.Sleep(time.Millisecond) {
				if err := marks.Lookup(uint32(0), &mark); err != nil {
					t.Fatal(err)
				}
			}
			if mark != 12345 {
				t.Errorf("came as %v, a packet met %d", arrival, mark)
			}
			if got := len(c.pinned(t)); !c.ByFilters && got == 0 {
				t.Error("nothing is pinned")
			}
			c.clear(t)
		}
	})
}

func (c Chain) pinned(t *testing.T) []os.DirEntry {
	entries, err := os.ReadDir(c.Pins)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func (c Chain) clear(t *testing.T) {
	for _, e := range c.pinned(t) {
		if err := os.Remove(filepath.Join(c.Pins, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// orderAt names the programs at a device's ingress, the first first.
func orderAt(t *testing.T, device netlink.Link) string {
	present, err := link.QueryPrograms(link.QueryOptions{Target: device.Attrs().Index, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, one := range present.Programs {
		order = append(order, nameOf(one.ID))
	}
	return strings.Join(order, " ")
}

func TestWhatIsOthersStaysWhereItIs(t *testing.T) {
	names := testPlaces(t)
	if !HasTCX() {
		t.Skip("no tcx before Linux 6.6")
	}
	here, _ := bed(t)
	others := program(t, "cil_from_netdev", 9, nil)
	attached, err := link.AttachTCX(link.TCXOptions{Interface: here.Attrs().Index, Program: others, Attach: ebpf.AttachTCXIngress})
	if err != nil {
		t.Fatal(err)
	}
	defer attached.Close()
	c := Chain{Pins: pins(t)}
	for _, i := range []int{3, 0} {
		if err := c.Attach(Hook{Name: names[i], Program: program(t, names[i], 1, nil)}, here); err != nil {
			t.Fatal(err)
		}
	}
	if got := orderAt(t, here); got != "t_trace t_forward cil_from_netdev" {
		t.Error(got)
	}
}

func TestAProgramThatCameLastComesForwardWhenItIsReplaced(t *testing.T) {
	names := testPlaces(t)
	if !HasTCX() {
		t.Skip("no tcx before Linux 6.6")
	}
	here, _ := bed(t)
	c := Chain{Pins: pins(t)}
	for _, name := range []string{"cil_from_netdev", names[3]} {
		attached, err := link.AttachTCX(link.TCXOptions{Interface: here.Attrs().Index, Program: program(t, name, 9, nil), Attach: ebpf.AttachTCXIngress})
		if err != nil {
			t.Fatal(err)
		}
		defer attached.Close()
		if name == names[3] {
			if err := attached.Pin(c.pin(Hook{Name: name}, here.Attrs().Name)); err != nil {
				t.Fatal(err)
			}
			attached.Close()
		}
	}
	for range 2 {
		if err := c.Attach(Hook{Name: names[3], Program: program(t, names[3], 1, nil)}, here); err != nil {
			t.Fatal(err)
		}
	}
	if got := orderAt(t, here); got != "t_forward cil_from_netdev" {
		t.Error(got)
	}
}

// TestNoPacketPassesWhileAProgramIsReplaced: a filter that counts and one after it that counts too see the same packets while the
// first is replaced again and again, and all that are sent come.
func TestNoPacketPassesWhileAProgramIsReplaced(t *testing.T) {
	names := testPlaces(t)
	eachWay(t, func(t *testing.T, c Chain) {
		here, there := bed(t)
		counts, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer counts.Close()
		guards := []*ebpf.Program{counter(t, names[1], counts, 0), counter(t, names[1], counts, 0)}
		first := Hook{Name: names[1], Direction: Ingress, Program: guards[0]}
		for _, h := range []Hook{first, {Name: names[3], Direction: Ingress, Program: counter(t, names[3], counts, 1)}} {
			if err := c.Attach(h, here); err != nil {
				t.Fatal(err)
			}
		}
		home, err := netns.Get()
		if err != nil {
			t.Fatal(err)
		}
		defer home.Close()
		sent, perSecond := 20_000, 10_000
		if testing.Short() {
			sent = 2000 // an emulated machine
		}
		done := make(chan error, 1)
		go func() { done <- flood(home, there.Attrs().Index, sent, perSecond) }()
		replaced := 0
		for running := true; running; replaced++ {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				running = false
			case <-time.After(time.Millisecond):
				first.Program = guards[replaced%2]
				if err := c.Attach(first, here); err != nil {
					t.Fatal(err)
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
		var before, behind uint64
		if err := counts.Lookup(uint32(0), &before); err != nil {
			t.Fatal(err)
		}
		if err := counts.Lookup(uint32(1), &behind); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("REPLACED %d times under %d packets: %d and %d seen\n", replaced, sent, before, behind)
		if before != uint64(sent) || behind != uint64(sent) {
			t.Errorf("the program before saw %d, that behind %d, sent were %d", before, behind, sent)
		}
		if replaced < sent/200 {
			t.Errorf("replaced %d times only", replaced)
		}
		c.clear(t)
	})
}

// counter counts under a key and lets packets go on.
func counter(t *testing.T, name string, counts *ebpf.Map, key int64) *ebpf.Program {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: name, Type: ebpf.SchedCLS, License: "GPL", Instructions: asm.Instructions{
		asm.Mov.Imm(asm.R0, 0),
		asm.LoadMem(asm.R2, asm.R1, 16, asm.Word), // the protocol
		asm.JNE.Imm(asm.R2, 0xb588, "out"),
		asm.StoreImm(asm.RFP, -4, key, asm.Word),
		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "out"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, -1).WithSymbol("out"),
		asm.Return(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func flood(ns netns.NsHandle, device, count, perSecond int) error {
	runtime.LockOSThread()
	if err := netns.Set(ns); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	frame := make([]byte, 60)
	copy(frame, []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5})
	begin := time.Now()
	for i := range count {
		for time.Since(begin) < time.Duration(i)*time.Second/time.Duration(perSecond) {
			time.Sleep(50 * time.Microsecond)
		}
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: device}); err != nil {
			return err
		}
	}
	return nil
}

func TestADeviceThatWasMadeAnewIsFoundWithoutAProgram(t *testing.T) {
	names := testPlaces(t)
	eachWay(t, func(t *testing.T, c Chain) {
		here, _ := bed(t)
		h := Hook{Name: names[1], Direction: Egress, Program: program(t, names[1], 1, nil)}
		if err := c.Attach(h, here); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkDel(here); err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a.1", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}, PeerName: "b"}); err != nil {
			t.Fatal(err)
		}
		again, err := netlink.LinkByName("a.1")
		if err != nil {
			t.Fatal(err)
		}
		if c.Has(h, again) {
			t.Error("seen where it is not")
		}
		if err := c.Attach(h, again); err != nil {
			t.Fatal(err)
		}
		if !c.Has(h, again) {
			t.Error("not attached again")
		}
		c.Forget(h, "a.1")
	})
}
