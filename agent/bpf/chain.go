package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Place is where a program stands among ours on a device and direction. All but the last let a packet go on by TC_ACT_UNSPEC. A
// redirect ends the chain: who redirects calls the second trace himself.
type Place int

const (
	Trace Place = iota + 1 // before anything else
	Guard
	Firewall
	Forward // translates, or takes the short cut
	TraceAgain
)

type Direction int

const (
	Ingress Direction = iota
	Egress
)

func (d Direction) String() string { return [...]string{"ingress", "egress"}[d] }

func (d Direction) tcx() ebpf.AttachType {
	return [...]ebpf.AttachType{ebpf.AttachTCXIngress, ebpf.AttachTCXEgress}[d]
}

// places of our programs, by their names in the kernel.
var places = map[string]Place{
	"guard_out":    Guard,
	"firewall_out": Firewall, "firewall_in": Firewall,
	"ila_port_out": Forward, "ila_port_in": Forward, "ila_uplink_in": Forward, "ila_uplink_out": Forward,
	"system_out": Forward, "tunnel_in": Forward,
}

// Hook is one of our programs, and where it belongs on a device.
type Hook struct {
	Name      string // of the program in the kernel: a name of places
	Direction Direction
	Program   *ebpf.Program // nil where it is only looked for
}

// Chain puts programs on devices. With pins they outlive this process; without, they are gone when it ends, or when their links
// are closed.
type Chain struct {
	Pins string
	// The way of kernels before 6.6.
	ByFilters bool
}

// HasTCX: since Linux 6.6. The loopback device has the hook or no device has.
func HasTCX() bool {
	_, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress})
	return err == nil
}

// NewChain asks the kernel which way it has.
func NewChain(pins string) Chain { return Chain{Pins: pins, ByFilters: !HasTCX()} }

func (c Chain) pin(h Hook, device string) string {
	return filepath.Join(c.Pins, h.Name+"-"+pinnedName(device))
}

// Attach puts a program on a device to stay, in the place of what an agent before put there: no packet passes in between.
func (c Chain) Attach(h Hook, device netlink.Link) error {
	at := device.Attrs()
	if c.ByFilters {
		return attachFilter(h, at.Index)
	}
	pin := c.pin(h, at.Name)
	old, err := link.LoadPinnedLink(pin, nil)
	if err == nil {
		defer old.Close() // once the fresh one stands
		if isAt(old, at.Index) && isFirst(h, at.Index) {
			return old.Update(h.Program)
		}
	}
	fresh, err := AttachForNow(h, at.Index)
	if err != nil {
		return err
	}
	defer fresh.Close()
	if err := os.Remove(pin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := fresh.Pin(pin); err != nil {
		return fmt.Errorf("pin of %s at %s: %w", h.Name, at.Name, err)
	}
	return nil
}

// Forget takes a program off a device, which may be gone.
func (c Chain) Forget(h Hook, device string) {
	if c.Pins != "" {
		_ = os.Remove(c.pin(h, device)) // it may be gone with the device
	}
	if !c.ByFilters {
		return
	}
	if at, err := netlink.LinkByName(device); err == nil {
		removeFilter(h, at)
	}
}

// Devices names those that a program is on by what has been pinned, or by the filters there.
func (c Chain) Devices(h Hook) ([]string, error) {
	var found []string
	if c.ByFilters {
		links, err := netlink.LinkList()
		for _, one := range links {
			if hasFilter(h, one) {
				found = append(found, one.Attrs().Name)
			}
		}
		return found, err
	}
	entries, err := os.ReadDir(c.Pins)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if device, is := strings.CutPrefix(e.Name(), h.Name+"-"); is {
			found = append(found, strings.ReplaceAll(device, ":", "."))
		}
	}
	return found, err
}

// AttachForNow puts a program in its place on a device for as long as the link is held.
func AttachForNow(h Hook, device int) (link.Link, error) {
	for tries := 0; ; tries++ {
		present, err := link.QueryPrograms(link.QueryOptions{Target: device, Attach: h.Direction.tcx()})
		if err != nil {
			return nil, fmt.Errorf("programs at device %d: %w", device, err)
		}
		fresh, err := link.AttachTCX(link.TCXOptions{
			Interface: device, Program: h.Program, Attach: h.Direction.tcx(), Anchor: anchorOf(h, present.Programs), ExpectedRevision: present.Revision,
		})
		// Somebody else attached or detached meanwhile.
		if errors.Is(err, unix.ESTALE) && tries < 100 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s at device %d: %w", h.Name, device, err)
		}
		return fresh, nil
	}
}

// anchorOf gives the place before those of ours that come after it, else after those that come before it, else before all others.
func anchorOf(h Hook, present []link.AttachedProgram) link.Anchor {
	var after link.Anchor = link.Head()
	for _, one := range present {
		name := nameOf(one.ID)
		place := places[name]
		if name == h.Name {
			continue // the one that it comes for, wherever that stands
		}
		if place > places[h.Name] {
			return link.BeforeProgramByID(one.ID)
		}
		if place > 0 {
			after = link.AfterProgramByID(one.ID)
		}
	}
	return after
}

// isFirst: programs of agents before came where they came. Nobody else's program stands before ours.
func isFirst(h Hook, device int) bool {
	present, err := link.QueryPrograms(link.QueryOptions{Target: device, Attach: h.Direction.tcx()})
	if err != nil {
		return false
	}
	for _, one := range present.Programs {
		switch name := nameOf(one.ID); {
		case name == h.Name:
			return true
		case places[name] == 0:
			return false
		}
	}
	return false
}

// nameOf gives a program's name; empty where it is gone.
func nameOf(id ebpf.ProgramID) string {
	program, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return ""
	}
	defer program.Close()
	info, err := program.Info()
	if err != nil {
		return ""
	}
	return info.Name
}

func isAt(l link.Link, device int) bool {
	info, err := l.Info()
	return err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == device
}

// IsAttached: somebody may have detached it; the link is then there, and leads nowhere.
func IsAttached(l link.Link) bool {
	info, err := l.Info()
	return err == nil && info.TCX() != nil && info.TCX().Ifindex != 0
}

// Has asks the kernel whether a program is on a device.
func (c Chain) Has(h Hook, device netlink.Link) bool {
	if c.ByFilters {
		return hasFilter(h, device)
	}
	program, err := Find(h, device.Attrs().Index)
	if program != nil {
		program.Close()
	}
	return err == nil && program != nil
}

// Find gives the program that is on a device by tcx; nil where it is not there.
func Find(h Hook, device int) (*ebpf.Program, error) {
	if device == 0 {
		return nil, nil
	}
	attached, err := link.QueryPrograms(link.QueryOptions{Target: device, Attach: h.Direction.tcx()})
	if err != nil {
		return nil, err
	}
	for _, one := range attached.Programs {
		program, err := ebpf.NewProgramFromID(one.ID)
		if errors.Is(err, unix.ENOENT) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, err
		}
		if info, err := program.Info(); err == nil && info.Name == h.Name {
			return program, nil
		}
		program.Close()
	}
	return nil, nil
}
