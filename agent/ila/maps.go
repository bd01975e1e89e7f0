package ila

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"flipflap.local/agent/kernel"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The structures of bpf/include/ila.h.
type portValue struct {
	Self  Address
	Flags uint32
	Zero  uint32
}

const flagByStack = 1

type mappingValue struct {
	Wire       Address
	Difference uint32
	Mode       uint32
	Place      uint32
	Device     uint32
	Server     uint32
	Zero       uint32
}

const (
	placeHere      = 0
	placeElsewhere = 1
)

type arrivalValue struct {
	Self       Address
	Difference uint32
	Mode       uint32
	Device     uint32
	Zero       uint32
}

type serverValue struct {
	NextHop  [16]byte
	NextMAC  [6]byte
	OwnMAC   [6]byte
	Device   uint32
	MTUBytes uint32
	HasMAC   uint32
}

// serversMost is the size of the map of servers.
const serversMost = 4096

const (
	prefixLocator uint32 = 1
	prefixSIR     uint32 = 2
	prefixByStack uint32 = 256
)

type objects struct {
	PortOut   *ebpf.Program `ebpf:"ila_port_out"`
	PortIn    *ebpf.Program `ebpf:"ila_port_in"`
	UplinkIn  *ebpf.Program `ebpf:"ila_uplink_in"`
	UplinkOut *ebpf.Program `ebpf:"ila_uplink_out"`
	Mappings  *ebpf.Map     `ebpf:"mappings"`
	Arrivals  *ebpf.Map     `ebpf:"arrivals"`
	Ports     *ebpf.Map     `ebpf:"ports"`
	Servers   *ebpf.Map     `ebpf:"servers"`
	Prefixes  *ebpf.Map     `ebpf:"prefixes"`
	Drops     *ebpf.Map     `ebpf:"drops"`
}

// maps by their names, which are those of their pins too.
func (o *objects) maps() map[string]*ebpf.Map {
	return map[string]*ebpf.Map{"mappings": o.Mappings, "arrivals": o.Arrivals, "ports": o.Ports, "servers": o.Servers, "prefixes": o.Prefixes, "drops": o.Drops}
}

// plane is the programs and maps of a server. Both are pinned: packets go on while no agent runs.
type plane struct {
	objects
	pins   string // folder of a bpffs
	hasTCX bool
}

// checkLayout compares our structures with those that the programs were built with.
func checkLayout(spec *ebpf.CollectionSpec) error {
	values := map[string]any{"mappings": mappingValue{}, "arrivals": arrivalValue{}, "ports": portValue{}, "servers": serverValue{}}
	for name, value := range values {
		m := spec.Maps[name]
		if m == nil || int(m.ValueSize) != binary.Size(value) {
			return fmt.Errorf("map %s is not the one that this agent knows (%s)", name, reflect.TypeOf(value).Name())
		}
	}
	return nil
}

func loadSpec(path string) (*ebpf.CollectionSpec, error) {
	spec, err := kernel.ReadPrograms(path)
	if err != nil {
		return nil, err
	}
	return spec, checkLayout(spec)
}

// openPlane takes over the maps of an agent before it, where they are of the same form.
func openPlane(path, pins string, capacity int) (*plane, error) {
	spec, err := loadSpec(path)
	if err != nil {
		return nil, err
	}
	if capacity > 0 {
		spec.Maps["mappings"].MaxEntries = uint32(capacity)
	}
	if err := os.MkdirAll(pins, 0o700); err != nil {
		return nil, fmt.Errorf("%s: %w", pins, err)
	}
	p := &plane{pins: pins}
	replacements := map[string]*ebpf.Map{}
	for name := range p.maps() {
		pin := filepath.Join(pins, name)
		old, err := ebpf.LoadPinnedMap(pin, nil)
		if err != nil {
			continue
		}
		if spec.Maps[name].Compatible(old) != nil {
			old.Close()
			if err := os.Remove(pin); err != nil {
				return nil, err
			}
			continue
		}
		replacements[name] = old
	}
	if err := spec.LoadAndAssign(&p.objects, &ebpf.CollectionOptions{MapReplacements: replacements}); err != nil {
		return nil, err
	}
	for name, m := range p.maps() {
		if replacements[name] != nil {
			continue
		}
		if err := m.Pin(filepath.Join(pins, name)); err != nil {
			return nil, fmt.Errorf("pin of %s: %w", name, err)
		}
	}
	p.hasTCX = hasTCX()
	return p, nil
}

// hasTCX: since Linux 6.6. The loopback device has the hook or no device has.
func hasTCX() bool {
	_, err := link.QueryPrograms(link.QueryOptions{Target: 1, Attach: ebpf.AttachTCXIngress})
	return err == nil
}

type hook struct {
	name    string
	kernel  string // the program's name in the kernel
	program *ebpf.Program
	attach  ebpf.AttachType
	parent  uint32 // of clsact, where there is no tcx
}

func (p *plane) portHooks() []hook {
	return []hook{
		{"port-out", "ila_port_out", p.PortOut, ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS},
		{"port-in", "ila_port_in", p.PortIn, ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS},
	}
}

func (p *plane) uplinkHooks() []hook {
	return []hook{
		{"uplink-in", "ila_uplink_in", p.UplinkIn, ebpf.AttachTCXIngress, netlink.HANDLE_MIN_INGRESS},
		{"uplink-out", "ila_uplink_out", p.UplinkOut, ebpf.AttachTCXEgress, netlink.HANDLE_MIN_EGRESS},
	}
}

// filterPriority tells our filters of clsact from others'.
const filterPriority = 49240

func (p *plane) pinOf(h hook, device string) string { return filepath.Join(p.pins, h.name+"-"+device) }

// attach puts a program on a device, in the place of what an agent before put there.
func (p *plane) attach(h hook, device netlink.Link) error {
	at := device.Attrs()
	if !p.hasTCX {
		return attachFilter(h, at.Index)
	}
	pin := p.pinOf(h, at.Name)
	if old, err := link.LoadPinnedLink(pin, nil); err == nil {
		info, err := old.Info()
		if err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == at.Index {
			err = old.Update(h.program)
			old.Close()
			return err
		}
		old.Close()
		if err := os.Remove(pin); err != nil {
			return err
		}
	}
	fresh, err := link.AttachTCX(link.TCXOptions{Interface: at.Index, Program: h.program, Attach: h.attach})
	if err != nil {
		return fmt.Errorf("%s at %s: %w", h.name, at.Name, err)
	}
	defer fresh.Close()
	if err := fresh.Pin(pin); err != nil {
		return fmt.Errorf("pin of %s at %s: %w", h.name, at.Name, err)
	}
	return nil
}

// attachFilter is the way of kernels before 6.6. The qdisc stays with the device: others may use it too.
func attachFilter(h hook, index int) error {
	qdisc := &netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}, QdiscType: "clsact"}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("clsact: %w", err)
	}
	filter := &netlink.BpfFilter{
		FilterAttrs:  netlink.FilterAttrs{LinkIndex: index, Parent: h.parent, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: filterPriority},
		Fd:           h.program.FD(),
		Name:         "flipflap-" + h.name,
		DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return fmt.Errorf("filter %s: %w", h.name, err)
	}
	return nil
}

func (p *plane) forget(h hook, device string) {
	_ = os.Remove(p.pinOf(h, device)) // it may be gone with the device
}

// isAttached asks the kernel.
func (p *plane) isAttached(h hook, device netlink.Link) bool {
	index := device.Attrs().Index
	if !p.hasTCX {
		filters, err := netlink.FilterList(device, h.parent)
		if err != nil {
			return false
		}
		for _, f := range filters {
			if b, is := f.(*netlink.BpfFilter); is && strings.HasPrefix(b.Name, "flipflap-"+h.name) {
				return true
			}
		}
		return false
	}
	attached, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: h.attach})
	if err != nil {
		return false
	}
	for _, one := range attached.Programs {
		program, err := ebpf.NewProgramFromID(one.ID)
		if err != nil {
			continue
		}
		found, err := program.Info()
		program.Close()
		if err == nil && found.Name == h.kernel {
			return true
		}
	}
	return false
}

// reasonNames reads the reasons of drops from the programs' own BTF, in the form `no mapping`.
func reasonNames(spec *ebpf.CollectionSpec) ([]string, error) {
	var reasons *btf.Enum
	if err := spec.Types.TypeByName("ila_reason", &reasons); err != nil {
		return nil, err
	}
	names := make([]string, len(reasons.Values))
	for _, v := range reasons.Values {
		names[v.Value] = strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(v.Name, "ILA_"), "_", " "))
	}
	return names[:len(names)-1], nil
}

// readDrops sums each reason's counter over all CPUs.
func readDrops(drops *ebpf.Map, names []string) (map[string]uint64, error) {
	found := map[string]uint64{}
	for i, name := range names {
		var each []uint64
		if err := drops.Lookup(uint32(i), &each); err != nil {
			return nil, err
		}
		for _, n := range each {
			found[name] += n
		}
	}
	return found, nil
}
