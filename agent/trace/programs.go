package trace

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/kernel"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// programs are loaded and attached for as long as this process lives: nothing is pinned.
type programs struct {
	collection *ebpf.Collection
	links      []link.Link
	missing    []string           // tracepoints that this kernel has not
	slots      []uint32           // as the programs have them
	ingress    map[[2]uint32]bool // interfaces that have the program for what comes there, by inode and index
}

const filterFunction = "trace_filter"

// putFilter gives a program the filter's instructions in the place of its own function for that.
func putFilter(program *ebpf.ProgramSpec, code asm.Instructions) error {
	begin := -1
	for i, one := range program.Instructions {
		if one.Symbol() == filterFunction {
			begin = i
			break
		}
	}
	if begin < 0 {
		return nil // it judges nothing
	}
	end := begin + 1
	for end < len(program.Instructions) && btf.FuncMetadata(&program.Instructions[end]) == nil {
		end++
	}
	fresh := append(asm.Instructions{}, code...)
	first := program.Instructions[begin]
	metadata := first.Metadata
	if named := fresh[0].Symbol(); named != "" {
		return fmt.Errorf("the filter's first instruction has a name (%s)", named)
	}
	fresh[0].Metadata = metadata
	fresh[0] = fresh[0].WithSymbol(filterFunction)
	program.Instructions = append(append(append(asm.Instructions{}, program.Instructions[:begin]...), fresh...), program.Instructions[end:]...)
	return nil
}

// tracepointOf gives the kernel's name of what a program is attached to.
func tracepointOf(program *ebpf.ProgramSpec) string {
	_, name, _ := strings.Cut(program.SectionName, "/")
	return name
}

// ofDevices are the tracepoints by which each device is met once a direction, and drops.
var ofDevices = map[string]bool{"net_dev_start_xmit": true, "netif_receive_skb": true, "kfree_skb": true}

const ingressProgram = "trace_ingress"

// hasIngress: programs at devices that read socket buffers as tracepoints' do need tcx (Linux 6.6) and this function (6.2).
func hasIngress(types *btf.Spec) bool {
	var function *btf.Func
	return types.TypeByName("bpf_cast_to_kern_ctx", &function) == nil && bpf.HasTCX()
}

// load loads all programs whose tracepoints this kernel has; where packets are redirected to systems, one for the systems' own interfaces, too.
func load(path string, f filter, sampleOneOf uint32, devicesAlone, redirects bool) (*programs, error) {
	spec, err := bpf.Object{Path: path}.Spec()
	if err != nil {
		return nil, err
	}
	types, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, fmt.Errorf("this kernel tells nothing of its types (BTF, CONFIG_DEBUG_INFO_BTF), and without that no packet can be read: %w", err)
	}
	p := &programs{ingress: map[[2]uint32]bool{}}
	code := compile(f)
	for name, program := range spec.Programs {
		if program.Type != ebpf.Tracing {
			continue
		}
		if devicesAlone && !ofDevices[tracepointOf(program)] {
			delete(spec.Programs, name)
			continue
		}
		var point *btf.Typedef
		if err := types.TypeByName("btf_trace_"+tracepointOf(program), &point); errors.Is(err, btf.ErrNotFound) {
			p.missing = append(p.missing, tracepointOf(program))
			delete(spec.Programs, name)
		}
	}
	if redirects && !hasIngress(types) {
		p.missing = append(p.missing, "tcx_ingress")
	}
	if !redirects || !hasIngress(types) {
		delete(spec.Programs, ingressProgram)
	}
	for _, program := range spec.Programs {
		if err := putFilter(program, code); err != nil {
			return nil, err
		}
	}
	if err := spec.Variables["sample_one_of"].Set(max(1, sampleOneOf)); err != nil {
		return nil, err
	}
	p.collection, err = ebpf.NewCollection(spec)
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("the kernel does not let this process load programs (CAP_BPF and CAP_PERFMON, or root): %w", err)
	}
	return p, err
}

func (p *programs) attach() error {
	for name, program := range p.collection.Programs {
		if name == ingressProgram {
			continue // by and by, as systems are found
		}
		attached, err := link.AttachTracing(link.TracingOptions{Program: program})
		if err != nil {
			return fmt.Errorf("%s: %w", program, err)
		}
		p.links = append(p.links, attached)
	}
	return nil
}

// attachAt puts the program for what comes at the interfaces of a namespace. It goes with this process, or with the namespace.
func (p *programs) attachAt(inode uint32, path string) error {
	program := p.collection.Programs[ingressProgram]
	if program == nil {
		return nil
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil // it has gone
	}
	defer ns.Close()
	return kernel.InNamespace(ns, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, one := range links {
			if kind := one.Type(); kind != "veth" && kind != "macvlan" && kind != "ipvlan" {
				continue
			}
			key := [2]uint32{inode, uint32(one.Attrs().Index)}
			if p.ingress[key] {
				continue
			}
			attached, err := link.AttachTCX(link.TCXOptions{Interface: one.Attrs().Index, Program: program, Attach: ebpf.AttachTCXIngress, Anchor: link.Head()})
			if errors.Is(err, unix.ENODEV) {
				continue // it went meanwhile
			}
			if err != nil {
				return fmt.Errorf("%s at %s: %w", ingressProgram, one.Attrs().Name, err)
			}
			p.links = append(p.links, attached)
			p.ingress[key] = true
		}
		return nil
	})
}

func (p *programs) detach() {
	for _, one := range p.links {
		one.Close()
	}
	p.links = nil
}

func (p *programs) close() {
	p.detach()
	p.collection.Close()
}

// setNamespaces says which are the server's own.
func (p *programs) setNamespaces(inodes []uint32) error {
	slots, err := slotsOf(p.slots, inodes)
	if err != nil {
		return err
	}
	if err := p.collection.Variables["namespaces"].Set(slots); err != nil {
		return err
	}
	p.slots = slots
	return nil
}

// wasThere is in the slot of a namespace that has gone: a look goes on behind it.
const wasThere = 1

// slotsOf puts each into one of the few slots in which the programs look for it. Those that stay keep theirs: the programs read meanwhile.
func slotsOf(before []uint32, inodes []uint32) ([]uint32, error) {
	slots := make([]uint32, namespaceSlots)
	copy(slots, before)
	placed := make(map[uint32]bool, len(inodes))
	for _, inode := range inodes {
		placed[inode] = false
	}
	for i, inode := range slots {
		_, stays := placed[inode]
		switch {
		case inode <= wasThere:
		case stays:
			placed[inode] = true
		default:
			slots[i] = wasThere
		}
	}
	for _, inode := range inodes {
		if !placed[inode] && !place(slots, inode) {
			return nil, fmt.Errorf("%d network namespaces are more than can be told apart", len(inodes))
		}
	}
	return slots, nil
}

func place(slots []uint32, inode uint32) bool {
	for i := range uint32(namespaceTries) {
		slot := &slots[(inode+i)%uint32(namespaceSlots)]
		if *slot <= wasThere {
			*slot = inode
			return true
		}
	}
	return false
}

// counted sums one of the programs' counters over all CPUs.
func (p *programs) counted(which count) uint64 {
	var each []uint64
	var sum uint64
	if err := p.collection.Maps["counts"].Lookup(uint32(which), &each); err == nil {
		for _, n := range each {
			sum += n
		}
	}
	return sum
}

// missed counts the runs that the kernel left out.
func (p *programs) missed() uint64 {
	var sum uint64
	for _, program := range p.collection.Programs {
		if info, err := program.Info(); err == nil {
			misses, _ := info.RecursionMisses()
			sum += misses
		}
	}
	return sum
}
