// Package firewall has tenants' rules judge what their systems send and get, by programs at the server's ends of their interfaces that outlive
// the agent.
package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	wall "flipflap.local/agent/firewall"
	"flipflap.local/agent/part"
	"github.com/cilium/ebpf"
)

const name = "firewall"

type firewalls struct {
	part.Base
	host part.Host

	mu      sync.Mutex
	loaded  *plane // nil until something needs it
	walls   map[string]*wall.Wall
	logs    map[string]*logging
	settled bool // nothing is left of plans of before
	ticks   int

	sweeping sync.Mutex // held while connections that have ended are looked for
}

func New(host part.Host) part.Part {
	return &firewalls{host: host, walls: map[string]*wall.Wall{}, logs: map[string]*logging{}}
}

func (*firewalls) Name() string { return name }

// plane loads it once; the caller holds the lock.
func (f *firewalls) plane() (*plane, error) {
	if f.loaded != nil {
		return f.loaded, nil
	}
	o := taps(f.host.Files())
	p := &plane{chain: bpf.NewChain(o.Pins)}
	if err := o.Load(&p.objects); err != nil {
		return nil, err
	}
	if err := p.forgetUnknown(f.host.Files()); err != nil {
		return nil, err
	}
	if err := p.settleHanded(true); err != nil {
		return nil, err
	}
	f.loaded = p
	return p, nil
}

// hooked gives what plans want of ports, by their names.
func hooked(files part.Files) (map[string]contract.FirewallHook, error) {
	found := map[string]contract.FirewallHook{}
	ports, err := part.PortsWith(files, name)
	for port, args := range ports {
		var hook contract.FirewallHook
		if err := json.Unmarshal(args, &hook); err != nil {
			return nil, err
		}
		found[port] = hook
	}
	return found, err
}

func (f *firewalls) tapOf(at part.Attachment, args json.RawMessage) (tapValue, error) {
	var hook contract.FirewallHook
	if err := json.Unmarshal(args, &hook); err != nil {
		return tapValue{}, err
	}
	w, place, err := f.wall(hook.Firewall)
	if err != nil {
		return tapValue{}, err
	}
	networks, err := w.Networks([]string{hook.Network})
	if err != nil {
		return tapValue{}, err
	}
	tap := tapValue{Firewall: place, System: systemNumber(at.System), Network: networkNumber(networks, hook.Network)}
	if hook.Router {
		tap.IsRouter = 1
	}
	return tap, nil
}

// Guarded: what the programs ask stands before they do, and all before the port is up. Without rules nothing passes.
func (f *firewalls) Guarded(at part.Attachment, args json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropLost() {
		f.host.Wake()
	}
	p, err := f.plane()
	if err != nil {
		return err
	}
	port, err := at.Port()
	if err != nil {
		return err
	}
	tap, err := f.tapOf(at, args)
	if err != nil {
		return err
	}
	if err := p.Taps.Put(uint32(port.Attrs().Index), tap); err != nil {
		return err
	}
	if err := p.settleHanded(true); err != nil {
		return err
	}
	for _, hook := range p.hooks() {
		if err := p.chain.Attach(hook, port); err != nil {
			return err
		}
	}
	return nil
}

// Detached keeps the programs at a port that is still there: a new plan takes them over in place. What no plan wants is let go of within a
// second.
func (f *firewalls) Detached(at part.Attachment, _ json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settled = false
	if at.HostLink != nil {
		return nil
	}
	p, err := f.plane()
	if err != nil {
		return err
	}
	p.letGo(at.Interface.HostName)
	return nil
}

const sweepTicks = 10

// Tick lets go of ports that no plan wants a firewall at, also of plans that changed while no agent ran, and of connections that have ended.
func (f *firewalls) Tick(context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ticks++; f.ticks%sweepTicks == 0 {
		go f.sweepConnections(slices.Collect(maps.Values(f.walls)))
	}
	if f.settled {
		return
	}
	if f.loaded == nil {
		if _, err := os.Stat(taps(f.host.Files()).Pins); err != nil {
			f.settled = true
			return
		}
	}
	if err := f.sweep(); err != nil {
		log.Printf("firewall: %v", err)
		return
	}
	f.settled = true
}

// sweepConnections takes a while where there are many: nobody waits for it.
func (f *firewalls) sweepConnections(walls []*wall.Wall) {
	if !f.sweeping.TryLock() {
		return
	}
	defer f.sweeping.Unlock()
	for _, w := range walls {
		if _, err := w.Connections(true); err != nil {
			log.Printf("firewall %s: %v", w.Name, err)
		}
	}
}

func (f *firewalls) sweep() error {
	p, err := f.plane()
	if err != nil {
		return err
	}
	wanted, err := hooked(f.host.Files())
	if err != nil {
		return err
	}
	for _, hook := range p.hooks() {
		devices, err := p.chain.Devices(hook)
		if err != nil {
			return err
		}
		for _, device := range devices {
			if _, is := wanted[device]; !is {
				p.letGo(device)
			}
		}
	}
	return errors.Join(p.settleHanded(len(wanted) > 0), p.sweepTaps())
}

// Again has it made anew where somebody took the folder of pins away; what is told is told again at each Converge.
func (f *firewalls) Again() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropLost() {
		f.host.Wake()
	}
}

// dropLost lets go of what somebody took the pins or the states of: nothing at an interface asks it any more, or nobody knows what it was.
// True where it is to be made anew. The caller holds the lock.
func (f *firewalls) dropLost() bool {
	isLost := false
	for name, w := range f.walls {
		if !w.IsNoted() {
			delete(f.walls, name)
			isLost = true
		}
	}
	switch {
	case f.loaded == nil:
	case !f.loaded.isPinned(f.host.Files()):
		f.loaded.close()
		f.loaded, isLost = nil, true
	case isLost:
		if err := f.loaded.forgetUnknown(f.host.Files()); err != nil {
			log.Printf("firewall: %v", err)
		}
	}
	return isLost
}

// Look asks the kernel, without what the agent that runs has in memory.
func (f *firewalls) Look(at part.Attachment, args json.RawMessage) (map[string]contract.Property, error) {
	said := func(words string) (map[string]contract.Property, error) {
		return map[string]contract.Property{name: words}, nil
	}
	if at.HostLink == nil {
		return said("no port")
	}
	files := f.host.Files()
	o := taps(files)
	for _, hook := range (&plane{}).hooks() {
		if !bpf.NewChain(o.Pins).Has(hook, at.HostLink) {
			return said("off: its programs are not at the port")
		}
	}
	var hook contract.FirewallHook
	if err := json.Unmarshal(args, &hook); err != nil {
		return nil, err
	}
	w, err := f.known(hook.Firewall)
	if err != nil {
		return nil, err
	}
	pinned, err := ebpf.LoadPinnedMap(filepath.Join(o.Pins, "taps"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return said("off: its map is gone")
	}
	defer pinned.Close()
	var now tapValue
	if err := pinned.Lookup(uint32(at.HostLink.Attrs().Index), &now); err != nil {
		return said("off: its map does not know the port")
	}
	place, has := w.Place()
	if !has || place != now.Firewall || now.System != systemNumber(at.System) {
		return said("not as declared")
	}
	for _, one := range []struct {
		pin     string
		place   uint32
		without string
	}{
		{filepath.Join(o.Pins, "firewalls"), place, "closed: no rules are in force"},
		{handedPin(files), handedPlace, "off: nobody looks at what comes past the port"},
	} {
		slots, err := ebpf.LoadPinnedMap(one.pin, &ebpf.LoadPinOptions{ReadOnly: true})
		if err != nil {
			return said("off: its map is gone")
		}
		is := judges(slots, one.place)
		slots.Close()
		if !is {
			return said(one.without)
		}
	}
	return said("on")
}
