// Package firewall has tenants' rules judge what their systems send and get, by programs at the server's ends of their interfaces that outlive
// the agent.
package firewall

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	wall "flipflap.local/agent/firewall"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"flipflap.local/agent/wholefile"
	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
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

type objects struct {
	Out       *ebpf.Program `ebpf:"firewall_out"`
	In        *ebpf.Program `ebpf:"firewall_in"`
	Firewalls *ebpf.Map     `ebpf:"firewalls"`
	Taps      *ebpf.Map     `ebpf:"taps"`
	Ends      *ebpf.Map     `ebpf:"ends"`
	Drops     *ebpf.Map     `ebpf:"drops"`
}

// plane is what stands at interfaces, and what it asks: all of it is pinned.
type plane struct {
	objects
	chain bpf.Chain
}

func New(host part.Host) part.Part {
	return &firewalls{host: host, walls: map[string]*wall.Wall{}, logs: map[string]*logging{}}
}

func (*firewalls) Name() string { return name }

func taps(files part.Files) bpf.Object {
	return bpf.Object{
		Path:   filepath.Join(files.Programs, "tap.bpf.o"),
		Pins:   filepath.Join(bpf.PinsOf(files.Bpffs, files.Stack, name), "taps"),
		Keys:   map[string]any{"ends": endKey{}},
		Values: map[string]any{"ends": endValue{}, "taps": tapValue{}},
	}
}

// openWall: its pins are beside the taps', its state where what the agent has to say is.
func openWall(files part.Files, of string) (*wall.Wall, error) {
	return wall.OpenWall(of, filepath.Join(files.Programs, "firewall.bpf.o"), filepath.Join(bpf.PinsOf(files.Bpffs, files.Stack, name), "rules"), stateFolder(files))
}

func stateFolder(files part.Files) string { return filepath.Join(files.Status, name) }

func (p *plane) hooks() []bpf.Hook {
	return []bpf.Hook{
		{Name: "firewall_out", Direction: bpf.Ingress, Program: p.Out},
		{Name: "firewall_in", Direction: bpf.Egress, Program: p.In},
	}
}

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
	f.loaded = p
	return p, nil
}

// forgetUnknown closes what pins have and no state knows: a place may be another firewall's then.
func (p *plane) forgetUnknown(files part.Files) error {
	taken, err := takenPlaces(files)
	if err != nil {
		return err
	}
	for place := range p.Firewalls.MaxEntries() {
		if !taken[place] && p.judges(place) {
			if err := p.Firewalls.Delete(place); err != nil {
				return err
			}
		}
	}
	var index uint32
	var tap tapValue
	var unknown []uint32
	entries := p.Taps.Iterate()
	for entries.Next(&index, &tap) {
		if !taken[tap.Firewall] {
			unknown = append(unknown, index)
		}
	}
	for _, one := range unknown {
		_ = p.Taps.Delete(one) // it may be gone meanwhile
	}
	return entries.Err()
}

// opened reads a firewall's state once; the caller holds the lock.
func (f *firewalls) opened(of string) (*wall.Wall, error) {
	if w := f.walls[of]; w != nil {
		return w, nil
	}
	w, err := openWall(f.host.Files(), of)
	if err == nil {
		f.walls[of] = w
	}
	return w, err
}

// known is opened for a look, which has several systems in its hands at once.
func (f *firewalls) known(of string) (*wall.Wall, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened(of)
}

// wall gives a firewall with its place, which it keeps; the caller holds the lock.
func (f *firewalls) wall(of string) (*wall.Wall, uint32, error) {
	w, err := f.opened(of)
	if err != nil {
		return nil, 0, err
	}
	if place, has := w.Place(); has {
		return w, place, nil
	}
	place, err := f.freePlace()
	if err != nil {
		return nil, 0, err
	}
	return w, place, w.Settle(place)
}

func (f *firewalls) freePlace() (uint32, error) {
	taken, err := takenPlaces(f.host.Files())
	if err != nil {
		return 0, err
	}
	for place := range f.loaded.Firewalls.MaxEntries() {
		if !taken[place] {
			return place, nil
		}
	}
	return 0, errors.New("there are as many firewalls as a server can have")
}

func takenPlaces(files part.Files) (map[uint32]bool, error) {
	names, err := wall.Walls(stateFolder(files))
	if err != nil {
		return nil, err
	}
	taken := map[uint32]bool{}
	for _, one := range names {
		w, err := openWall(files, one)
		if err != nil {
			return nil, err
		}
		if place, has := w.Place(); has {
			taken[place] = true
		}
	}
	return taken, nil
}

// systemNumber is the same for every agent: a system is known by it in the kernel.
func systemNumber(system string) uint32 {
	sum := sha256.Sum256([]byte(system))
	return binary.LittleEndian.Uint32(sum[:])
}

// site is a firewall's file as it is on the server.
type site struct {
	contract.FirewallSite
	hash string // of its bytes
	file string
}

func readSites(folder string) ([]site, error) {
	files, err := filepath.Glob(filepath.Join(folder, "firewall-*.json"))
	if err != nil {
		return nil, err
	}
	var sites []site
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		one := site{file: file}
		if err == nil {
			err = json.Unmarshal(text, &one.FirewallSite)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		one.hash = wholefile.Hash(text)
		sites = append(sites, one)
	}
	return sites, nil
}

// Converge puts rules in force, and says of each firewall whether they are.
func (f *firewalls) Converge(context.Context) error {
	sites, err := readSites(f.host.Files().Kinds)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLost()
	wanted := map[string]bool{}
	var failed []error
	for _, one := range sites {
		wanted[one.Name] = true
		err := f.settle(one)
		status := contract.FirewallStatus{Name: one.Name, SiteHash: one.hash}
		if w := f.walls[one.Name]; w != nil {
			status.Rules, _ = w.InForce()
		}
		if err != nil {
			status.Error = err.Error()
			failed = append(failed, fmt.Errorf("%s: %w", one.Name, err))
		}
		failed = append(failed, wholefile.ReplaceJSON(f.statusFile(one.Name), status))
	}
	return errors.Join(append(failed, f.forgetOthers(wanted))...)
}

func (f *firewalls) statusFile(of string) string {
	return filepath.Join(stateFolder(f.host.Files()), of+".json")
}

// settle makes a firewall what its file says; the caller holds the lock.
func (f *firewalls) settle(one site) error {
	p, err := f.plane()
	if err != nil {
		return err
	}
	w, place, err := f.wall(one.Name)
	if err != nil {
		return err
	}
	networks, err := w.Networks(one.Networks)
	if err != nil {
		return err
	}
	// Whose addresses are whose before the rules that ask for it.
	if err := p.settleEnds(place, one.Ends, networks); err != nil {
		return err
	}
	if !w.IsInForce(one.Rules, networks) || !p.judges(place) {
		text, err := os.ReadFile(strings.TrimSuffix(one.file, "json") + one.Rules + ".rules")
		if err != nil {
			return err
		}
		if wholefile.Hash(text) != one.Rules {
			return errors.New("the file of its rules is not whole")
		}
		if err := w.Change(string(text), networks, func(program *ebpf.Program) error { return p.Firewalls.Put(place, program) }); err != nil {
			return err
		}
	}
	return f.followLog(w)
}

func (p *plane) judges(place uint32) bool { return judges(p.Firewalls, place) }

func judges(slots *ebpf.Map, place uint32) bool {
	var program *ebpf.Program
	if err := slots.Lookup(place, &program); err != nil {
		return false
	}
	program.Close()
	return true
}

// settleEnds tells the programs which addresses are of which systems.
func (p *plane) settleEnds(place uint32, ends []contract.FirewallEnd, networks []string) error {
	wanted := map[endKey]endValue{}
	systems, owners := map[uint32]string{}, map[netip.Addr]string{}
	for _, end := range ends {
		address, err := netip.ParseAddr(end.Address)
		if err != nil {
			return err
		}
		if owner, is := owners[address]; is && owner != end.System {
			return fmt.Errorf("%s is of %s and of %s: their packets cannot be told apart", address, owner, end.System)
		}
		owners[address] = end.System
		value := endValue{Network: networkNumber(networks, end.Network), Place: uint8(placeElsewhere)}
		switch {
		case end.Gateway:
			value.Place = uint8(placeGateway)
		case end.Here:
			value.Place = uint8(placeHere)
		}
		if !end.Gateway {
			value.System = systemNumber(end.System)
			if other, is := systems[value.System]; is && other != end.System {
				return fmt.Errorf("the systems %s and %s cannot be told apart: give one of them another name", other, end.System)
			}
			systems[value.System] = end.System
		}
		wanted[endKey{place, address.As16()}] = value
	}
	present, err := p.endsOf(place)
	if err != nil {
		return err
	}
	for key, value := range wanted {
		if now, is := present[key]; is && now == value {
			continue
		}
		if err := p.Ends.Put(key, value); err != nil {
			return err
		}
	}
	for key := range present {
		if _, is := wanted[key]; is {
			continue
		}
		if err := p.Ends.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

func (p *plane) endsOf(place uint32) (map[endKey]endValue, error) {
	found := map[endKey]endValue{}
	var key endKey
	var value endValue
	entries := p.Ends.Iterate()
	for entries.Next(&key, &value) {
		if key.Firewall == place {
			found[key] = value
		}
	}
	return found, entries.Err()
}

// networkNumber: 0 is any other.
func networkNumber(networks []string, of string) uint8 { return uint8(slices.Index(networks, of) + 1) }

// forgetOthers takes away what no file wants any more, and no interface asks; the caller holds the lock.
func (f *firewalls) forgetOthers(wanted map[string]bool) error {
	names, err := wall.Walls(stateFolder(f.host.Files()))
	others := slices.DeleteFunc(names, func(one string) bool { return wanted[one] })
	if err != nil || len(others) == 0 {
		return err
	}
	asked, err := hooked(f.host.Files())
	if err != nil {
		return err
	}
	for _, one := range asked {
		wanted[one.Firewall] = true // without rules it is closed
	}
	for _, one := range others {
		if wanted[one] {
			continue
		}
		p, err := f.plane()
		if err != nil {
			return err
		}
		w, place, err := f.wall(one)
		if err != nil {
			return err
		}
		if err := p.settleEnds(place, nil, nil); err != nil {
			return err
		}
		if err := p.Firewalls.Delete(place); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		if err := errors.Join(os.RemoveAll(f.statusFile(one)), w.Remove()); err != nil {
			return err
		}
		delete(f.walls, one)
		f.forgetLog(one)
	}
	return nil
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

func (p *plane) letGo(port string) {
	for _, hook := range p.hooks() {
		p.chain.Forget(hook, port)
	}
	if link, err := netlink.LinkByName(port); err == nil {
		_ = p.Taps.Delete(uint32(link.Attrs().Index)) // it may not be there
	}
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
	return p.sweepTaps()
}

// sweepTaps: a device that is gone took its programs along.
func (p *plane) sweepTaps() error {
	var index uint32
	var value tapValue
	var gone []uint32
	entries := p.Taps.Iterate()
	for entries.Next(&index, &value) {
		if _, err := netlink.LinkByIndex(int(index)); kernel.HasNoLink(err) {
			gone = append(gone, index)
		}
	}
	for _, one := range gone {
		_ = p.Taps.Delete(one) // it may be gone meanwhile
	}
	return entries.Err()
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
	if f.loaded == nil {
		return isLost
	}
	o := taps(f.host.Files())
	isWhole := true
	for _, name := range []string{"firewalls", "taps", "ends", "drops"} {
		_, err := os.Stat(filepath.Join(o.Pins, name))
		isWhole = isWhole && err == nil
	}
	if isWhole {
		if isLost {
			if err := f.loaded.forgetUnknown(f.host.Files()); err != nil {
				log.Printf("firewall: %v", err)
			}
		}
		return isLost
	}
	lost := f.loaded.objects
	lost.Out.Close()
	lost.In.Close()
	for _, m := range []*ebpf.Map{lost.Firewalls, lost.Taps, lost.Ends, lost.Drops} {
		m.Close()
	}
	f.loaded = nil
	return true
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
	slots, err := ebpf.LoadPinnedMap(filepath.Join(o.Pins, "firewalls"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return said("off: its map is gone")
	}
	defer slots.Close()
	if !judges(slots, place) {
		return said("closed: no rules are in force")
	}
	return said("on")
}
