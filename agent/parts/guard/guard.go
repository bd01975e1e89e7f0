// Package guard lets a system send from its own MAC and addresses alone, by a program at the server's end of its interface that
// outlives the agent.
package guard

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

type guard struct {
	part.Base
	host part.Host

	mu      sync.Mutex
	loaded  *plane // nil until a system needs it
	settled bool   // nothing is left of plans of before
}

type objects struct {
	Out     *ebpf.Program `ebpf:"guard_out"`
	Sources *ebpf.Map     `ebpf:"sources"`
	Drops   *ebpf.Map     `ebpf:"drops"`
}

// plane is the program and its maps, which are pinned: they go on while no agent runs.
type plane struct {
	objects
	chain   bpf.Chain
	allowed map[uint32]map[source]rule // what the map holds, by ports
	ports   map[string]uint32          // by their names
}

func New(host part.Host) part.Part { return &guard{host: host} }

func (*guard) Name() string { return "guard" }

type arguments struct {
	// It forwards for others: from any MAC and address.
	AnySource bool `json:"anySource"`
	// No VLAN tags: a filter sees no further.
	Untagged bool `json:"untagged"`
}

func object(files part.Files) bpf.Object {
	return bpf.Object{
		Path:   filepath.Join(files.Programs, "guard.bpf.o"),
		Pins:   bpf.PinsOf(files.Bpffs, files.Stack, "guard"),
		Keys:   map[string]any{"sources": source{}},
		Values: map[string]any{"sources": rule{}},
	}
}

// plane loads it once; the caller holds the lock.
func (g *guard) plane() (*plane, error) {
	if g.loaded != nil {
		return g.loaded, nil
	}
	o := object(g.host.Files())
	p := &plane{chain: bpf.NewChain(o.Pins), allowed: map[uint32]map[source]rule{}, ports: map[string]uint32{}}
	if err := o.Load(&p.objects); err != nil {
		return nil, err
	}
	// Of an agent before this one.
	var key source
	var value rule
	entries := p.Sources.Iterate()
	for entries.Next(&key, &value) {
		p.note(key, value)
	}
	if err := entries.Err(); err != nil {
		return nil, err
	}
	for port := range p.allowed {
		if _, err := netlink.LinkByIndex(int(port)); kernel.HasNoLink(err) {
			if err := p.keepOnly(port, nil); err != nil {
				return nil, err
			}
		}
	}
	g.loaded = p
	return p, nil
}

func (p *plane) note(key source, value rule) {
	if p.allowed[key.Port] == nil {
		p.allowed[key.Port] = map[source]rule{}
	}
	p.allowed[key.Port][key] = value
}

func (p *plane) hook() bpf.Hook {
	return bpf.Hook{Name: "guard_out", Direction: bpf.Ingress, Program: p.Out}
}

// rulesOf is what the program is to know of an interface, by source.
func rulesOf(iface contract.AttachInterface, args json.RawMessage, port uint32) (map[source]rule, error) {
	var a arguments
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	mac, err := net.ParseMAC(iface.MAC)
	if err != nil {
		return nil, err
	}
	r := rule{}
	copy(r.MAC[:], mac)
	for _, one := range []struct {
		is   bool
		flag flag
	}{{a.Untagged, flagUntagged}, {a.AnySource, flagAnySource}, {iface.DHCP, flagAnyIpv4}} {
		if one.is {
			r.Flags |= one.flag
		}
	}
	rules := map[source]rule{{Port: port}: r}
	for _, text := range iface.Addresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		// IPv4 as IPv6 maps it.
		rules[source{port, prefix.Addr().As16()}] = r
	}
	return rules, nil
}

// allow makes a port's rules what is wanted; no packet that both allow is dropped meanwhile.
func (p *plane) allow(port uint32, wanted map[source]rule) error {
	for key, value := range wanted {
		if p.allowed[port][key] == value {
			continue
		}
		if err := p.Sources.Put(key, value); err != nil {
			return err
		}
		p.note(key, value)
	}
	return p.keepOnly(port, wanted)
}

func (p *plane) keepOnly(port uint32, wanted map[source]rule) error {
	for key := range p.allowed[port] {
		if _, is := wanted[key]; is {
			continue
		}
		if err := p.Sources.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		delete(p.allowed[port], key)
	}
	if len(p.allowed[port]) == 0 {
		delete(p.allowed, port)
	}
	return nil
}

// Guarded: the rules stand before the program, and both before the port is up.
func (g *guard) Guarded(at part.Attachment, args json.RawMessage) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, err := g.plane()
	if err != nil {
		return err
	}
	port, err := at.Port()
	if err != nil {
		return err
	}
	index := uint32(port.Attrs().Index)
	wanted, err := rulesOf(at.Interface, args, index)
	if err != nil {
		return err
	}
	if err := p.allow(index, wanted); err != nil {
		return err
	}
	p.ports[at.Interface.HostName] = index
	return p.chain.Attach(p.hook(), port)
}

// Detached keeps a port guarded that is still there: its plan may have changed, and a new one takes the rules over in place. What no
// plan wants guarded any more is let go of within a second.
func (g *guard) Detached(at part.Attachment, _ json.RawMessage) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.settled = false
	if at.HostLink != nil {
		return nil
	}
	p, err := g.plane()
	if err != nil {
		return err
	}
	return p.letGo(at.Interface.HostName)
}

// letGo forgets a port, which may be gone.
func (p *plane) letGo(name string) error {
	p.chain.Forget(p.hook(), name)
	port, is := p.ports[name]
	delete(p.ports, name)
	if link, err := netlink.LinkByName(name); err == nil {
		port, is = uint32(link.Attrs().Index), true
	}
	if !is {
		return nil
	}
	return p.keepOnly(port, nil)
}

// Tick takes the program off ports that no plan wants guarded: of plans that changed, also while no agent ran.
func (g *guard) Tick(context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.settled {
		return
	}
	if g.loaded == nil {
		// Without a system that needs it nothing is loaded, but an agent before this one may have left something.
		if _, err := os.Stat(object(g.host.Files()).Pins); err != nil {
			g.settled = true
			return
		}
	}
	p, err := g.plane()
	if err == nil {
		err = p.sweep(g.host.Files())
	}
	if err != nil {
		log.Printf("guard: %v", err)
		return
	}
	g.settled = true
}

func (p *plane) sweep(files part.Files) error {
	wanted, err := part.PortsWith(files, "guard")
	if err != nil {
		return err
	}
	devices, err := p.chain.Devices(p.hook())
	if err != nil {
		return err
	}
	for _, device := range devices {
		if _, is := wanted[device]; is {
			continue
		}
		if err := p.letGo(device); err != nil {
			return err
		}
	}
	return nil
}

// Again puts all rules once more: somebody may have taken one away, or the folder of pins, and then all is loaded anew.
func (g *guard) Again() {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.loaded
	if p == nil {
		return
	}
	if _, err := os.Stat(filepath.Join(object(g.host.Files()).Pins, "sources")); err != nil {
		p.Out.Close()
		p.Sources.Close()
		p.Drops.Close()
		g.loaded = nil
		return
	}
	for _, rules := range p.allowed {
		for key, value := range rules {
			if err := p.Sources.Put(key, value); err != nil {
				log.Printf("guard: %v", err)
			}
		}
	}
}

// Look asks the kernel, without what the agent that runs has in memory.
func (g *guard) Look(at part.Attachment, args json.RawMessage) (map[string]contract.Property, error) {
	said := func(words string) (map[string]contract.Property, error) {
		return map[string]contract.Property{"guard": words}, nil
	}
	if at.HostLink == nil {
		return said("no port")
	}
	o := object(g.host.Files())
	if !bpf.NewChain(o.Pins).Has((&plane{}).hook(), at.HostLink) {
		return said("off: its program is not at the port")
	}
	sources, err := ebpf.LoadPinnedMap(filepath.Join(o.Pins, "sources"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return said("off: its map is gone")
	}
	defer sources.Close()
	wanted, err := rulesOf(at.Interface, args, uint32(at.HostLink.Attrs().Index))
	if err != nil {
		return nil, err
	}
	for key, value := range wanted {
		var now rule
		if err := sources.Lookup(key, &now); err != nil || now != value {
			return said("not as declared")
		}
	}
	return said("on")
}

// Counted gives what was dropped, by reason; nothing where no system was ever guarded here.
func Counted(files part.Files) (map[string]uint64, error) {
	return object(files).PinnedDrops("drops", "guard_reason")
}
