package ila

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"flipflap.local/agent/kernel"
	"flipflap.local/agent/wholefile"
	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Port is a system's interface on this server, attached.
type Port struct {
	System   string
	Network  string
	Address  string // SIR, without length
	Device   netlink.Link
	MAC      net.HardwareAddr // of the system's end
	Instance string           // of the container's life: the same address may be claimed again
}

type port struct {
	Port
	sir     Address
	wire    Address
	mode    Mode
	network *network
}

// Engine joins what is here (ports) with what the registry tells, and keeps the kernel so.
type Engine struct {
	programs, pins, shared, configPath, statusPath string
	open                                           Opener

	mu       sync.Mutex
	site     *site
	plane    *plane
	registry Registry
	ports    map[Address]*port
	told     map[Address]Record
	applied  map[Address]string // what was last given to the kernel, to leave alone what is the same
	// All systems that run here are attached: until then what is not known here yet may be here all the same.
	isSettled bool
	hasAll    bool              // the registry has told all it knows
	tables    map[string]string // entries of the kernel's own table, by network
}

type Options struct {
	Programs, Pins, Shared, Config, Status string
	Open                                   Opener
}

// Opener makes the registry that a site names.
type Opener func(*site) (Registry, error)

func NewEngine(o Options) *Engine {
	return &Engine{
		programs: o.Programs, pins: o.Pins, shared: o.Shared, configPath: o.Config, statusPath: o.Status, open: o.Open,
		ports: map[Address]*port{}, told: map[Address]Record{}, applied: map[Address]string{}, tables: map[string]string{},
	}
}

// Settled is said once, when every system that runs here has been attached: what is left over is nobody's then.
func (e *Engine) Settled() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isSettled {
		return
	}
	e.isSettled = true
	if e.site == nil || !e.hasAll {
		return
	}
	e.applyAll()
	if err := e.sweep(); err != nil {
		log.Printf("ila: %v", err)
	}
}

// Configure reads the site anew; where it is gone, this server has no ILA any more. What fails is tried again by the next call.
func (e *Engine) Configure(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := readSite(e.configPath)
	if os.IsNotExist(err) {
		if e.registry != nil {
			e.registry.Close()
		}
		e.site, e.registry = nil, nil
		e.ports, e.told, e.applied = map[Address]*port{}, map[Address]Record{}, map[Address]string{}
		return nil
	}
	if err != nil {
		return err
	}
	if before := e.site; before == nil || !sameJSON(before.Config, s.Config) {
		if err := e.take(ctx, before, s); err != nil {
			e.site = before
			e.writeStatus(err.Error())
			return err
		}
	}
	return nil
}

// take puts a site in the place of the one before; the caller holds the lock.
func (e *Engine) take(ctx context.Context, before, s *site) error {
	if e.plane == nil || before != nil && before.Capacity != s.Capacity {
		p, err := openPlane(e.programs, e.pins, e.shared, s.Capacity)
		if err != nil {
			return fmt.Errorf("ILA's programs: %w", err)
		}
		e.plane = p
	}
	if before != nil {
		e.letGo(before, s)
	}
	e.site = s
	if err := e.tellSite(); err != nil {
		return err
	}
	if e.registry == nil || before == nil || !sameJSON(before.Endpoints, s.Endpoints) || before.Root != s.Root || before.LeaseSeconds != s.LeaseSeconds {
		if err := e.openRegistry(ctx); err != nil {
			return err
		}
	}
	e.applied = map[Address]string{}
	for _, p := range e.ports {
		if n := s.networks[p.Network]; n != nil {
			p.network = n
			p.wire, p.mode = s.wire(n, p.sir, s.self)
		}
	}
	e.applyAll()
	return nil
}

func (e *Engine) openRegistry(ctx context.Context) error {
	if e.registry != nil {
		e.registry.Close()
		e.registry = nil
	}
	e.writeStatus("starting")
	r, err := e.open(e.site)
	if err != nil {
		return err
	}
	e.registry, e.hasAll = r, false
	known := e.fromKernel()
	for address, record := range known {
		if _, is := e.told[address]; !is {
			e.told[address] = record
		}
	}
	if fixed, is := r.(*staticRegistry); is {
		e.told = fixed.told
	}
	r.Start(ctx, known, e.onRecord, e.onAll, e.writeStatus)
	for _, p := range e.ports {
		r.Claim(p.sir, e.record(p), false)
	}
	return nil
}

// fromKernel reads what an agent before has told the programs of systems elsewhere: it holds until the registry says more.
func (e *Engine) fromKernel() map[Address]Record {
	known := map[Address]Record{}
	var key Address
	var mapping mappingValue
	for entries := e.plane.Mappings.Iterate(); entries.Next(&key, &mapping); {
		for _, one := range e.site.servers {
			if mapping.Place == placeElsewhere && one != e.site.self && (mapping.Wire.Locator == one.locator || mapping.Wire == key && mapping.Server == one.index) {
				known[key] = Record{Server: one.Name}
			}
		}
	}
	return known
}

// letGo takes back what only the site before wants: addresses on the wire, locator addresses, the other backend's part; the
// caller holds the lock, and e.site is still the one before.
func (e *Engine) letGo(before, s *site) {
	for _, p := range e.ports {
		n, now := before.networks[p.Network], s.networks[p.Network]
		if n == nil || now == nil {
			continue
		}
		wire, _ := s.wire(now, p.sir, s.self)
		if wire != p.wire || n.Backend != now.Backend || before.LocatorAddresses != s.LocatorAddresses {
			e.dropArrival(p)
		}
	}
	for name, n := range before.networks {
		if now := s.networks[name]; now != nil && now.Backend == n.Backend && now.sir == n.sir {
			continue
		}
		for address := range e.all() {
			if address.Locator != n.sir {
				continue
			}
			_ = e.plane.Mappings.Delete(address)
			if e.ports[address] == nil {
				if err := dropRoute(address, 0); err != nil {
					log.Printf("ila: route %s: %v", address, err)
				}
			}
		}
	}
}

func sameJSON(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func (e *Engine) all() map[Address]bool {
	all := map[Address]bool{}
	for a := range e.ports {
		all[a] = true
	}
	for a := range e.told {
		all[a] = true
	}
	return all
}

// hasEBPF: some network of this server is translated by our programs.
func (s *site) hasEBPF() bool {
	for _, n := range s.networks {
		if n.Backend == "ebpf" {
			return true
		}
	}
	return false
}

// tellSite gives the kernel prefixes, servers, and the uplink its programs; the caller holds the lock.
func (e *Engine) tellSite() error {
	s := e.site
	uplink, err := netlink.LinkByName(s.Uplink)
	if err != nil {
		return fmt.Errorf("uplink %s: %w", s.Uplink, err)
	}
	wanted := map[[8]byte]prefixKind{}
	for _, one := range s.servers {
		wanted[one.locator] = prefixLocator
	}
	for _, n := range s.networks {
		wanted[n.sir] = prefixSIR
		if n.Backend == "kernel" {
			wanted[n.sir] |= prefixByStack
			wanted[s.self.locator] |= prefixByStack
		}
	}
	var key [8]byte
	var value prefixKind
	var gone [][8]byte
	for entries := e.plane.Prefixes.Iterate(); entries.Next(&key, &value); {
		if wanted[key] != value {
			gone = append(gone, key)
		}
	}
	for _, old := range gone {
		_ = e.plane.Prefixes.Delete(old)
	}
	for prefix, kind := range wanted {
		if err := e.plane.Prefixes.Put(prefix, kind); err != nil {
			return err
		}
	}
	if err := e.tellServers(uplink); err != nil {
		return err
	}
	if s.hasEBPF() {
		for _, h := range e.plane.uplinkHooks() {
			if err := e.plane.Attach(h, uplink); err != nil {
				return err
			}
		}
	}
	return e.tellTables()
}

// tellTables keeps the kernel's own table: an entry for each network that needs one. Its key is the locator alone, so an
// entry that is not ours to know goes first.
func (e *Engine) tellTables() error {
	s := e.site
	wanted := map[string]string{}
	for _, n := range s.networks {
		if n.Backend == "kernel" && n.mode == neutral && n.Translate {
			wanted[n.Name] = s.self.Locator + " " + n.SIR
		}
	}
	if sameJSON(wanted, e.tables) {
		return nil
	}
	if len(wanted)+len(e.tables) > 0 {
		if err := translateAll(s.self.locator, [8]byte{}, neutral, false); err != nil {
			return err
		}
	}
	for name := range wanted {
		n := s.networks[name]
		if err := translateAll(s.self.locator, n.sir, n.mode, true); err != nil {
			return err
		}
	}
	e.tables = wanted
	return nil
}

// FollowUplink notes the uplink's MTU and MAC as they are: packets that are too big now are told so by the stack.
func (e *Engine) FollowUplink() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.site == nil || e.plane == nil {
		return
	}
	uplink, err := netlink.LinkByName(e.site.Uplink)
	if err == nil {
		err = e.tellServers(uplink)
	}
	if err != nil {
		log.Printf("ila: uplink %s: %v", e.site.Uplink, err)
	}
}

func (e *Engine) tellServers(uplink netlink.Link) error {
	for _, one := range e.site.servers {
		value := serverValue{NextHop: one.nextHop.As16(), Device: uint32(uplink.Attrs().Index), MTUBytes: uint32(uplink.Attrs().MTU)}
		copy(value.OwnMAC[:], uplink.Attrs().HardwareAddr)
		if len(one.mac) == 6 {
			copy(value.NextMAC[:], one.mac)
			value.HasMAC = 1
		}
		if err := e.plane.Servers.Put(one.index, value); err != nil {
			return err
		}
	}
	return nil
}

// Guard puts the programs on a port before it is up: one that is not told lets nothing pass.
func (e *Engine) Guard(device netlink.Link) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.plane == nil {
		return errors.New("this server's part of ILA is not told yet")
	}
	for _, h := range e.plane.portHooks() {
		if err := e.plane.Attach(h, device); err != nil {
			return err
		}
	}
	return nil
}

// Attach makes a system of this server one of its network. It converges.
func (e *Engine) Attach(p Port, fresh bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.site == nil {
		return errors.New("this server's part of ILA is not told yet")
	}
	n := e.site.networks[p.Network]
	if n == nil {
		return fmt.Errorf("network %s is not told yet", p.Network)
	}
	sir, err := ParseAddress(p.Address)
	if err != nil {
		return err
	}
	if sir.Locator != n.sir {
		return fmt.Errorf("%s is not of the SIR prefix %s", p.Address, n.SIR)
	}
	if !isUsable(sir, n.mode) {
		return fmt.Errorf("%s: in mode %s the low 16 bits of an identifier are neither 0 nor ffff", p.Address, n.Csum)
	}
	one := &port{Port: p, sir: sir, network: n}
	one.wire, one.mode = e.site.wire(n, sir, e.site.self)
	uplink, err := netlink.LinkByName(e.site.Uplink)
	if err != nil {
		return err
	}
	if err := e.tellServers(uplink); err != nil {
		return err
	}
	if e.site.hasEBPF() {
		for _, h := range e.plane.uplinkHooks() {
			if !e.plane.Has(h, uplink) {
				if err := e.plane.Attach(h, uplink); err != nil {
					return err
				}
			}
		}
	}
	index := p.Device.Attrs().Index
	value := portValue{Self: sir}
	if n.Backend == "kernel" {
		value.Flags = flagByStack
	}
	if err := e.plane.Ports.Put(uint32(index), value); err != nil {
		return fmt.Errorf("port: %w", err)
	}
	if err := netlink.NeighSet(&netlink.Neigh{LinkIndex: index, State: netlink.NUD_PERMANENT, IP: host(sir).IP, HardwareAddr: p.MAC}); err != nil {
		return fmt.Errorf("neighbour: %w", err)
	}
	if err := routeHere(sir, index); err != nil {
		return fmt.Errorf("route: %w", err)
	}
	if n.Backend == "kernel" {
		if err := routeIn(one.wire, sir, one.mode, index); err != nil {
			return fmt.Errorf("route of %s: %w (CONFIG_IPV6_ILA?)", one.wire, err)
		}
	} else {
		arrival := arrivalValue{Self: sir, CsumDiff: difference(one.wire, sir), Mode: one.mode, Device: uint32(index)}
		if err := e.plane.Arrivals.Put(one.wire, arrival); err != nil {
			return fmt.Errorf("arrival: %w", err)
		}
	}
	if e.site.LocatorAddresses {
		if err := showLocator(one.wire, uplink, true); err != nil {
			return fmt.Errorf("locator address: %w", err)
		}
	}
	if old := e.ports[sir]; old != nil && old.wire != one.wire {
		e.dropArrival(old)
	}
	e.ports[sir] = one
	delete(e.applied, sir)
	if e.registry != nil {
		e.registry.Claim(sir, e.record(one), fresh)
		if fresh {
			// Until the registry answers, the new life is the one to be reached.
			e.told[sir] = e.record(one)
		}
	}
	return e.apply(sir)
}

func (e *Engine) record(p *port) Record {
	return Record{Server: e.site.Server, System: p.System, Instance: p.Instance}
}

func (e *Engine) dropArrival(p *port) {
	_ = e.plane.Arrivals.Delete(p.wire)
	if p.wire != p.sir {
		if err := dropRoute(p.wire, 0); err != nil {
			log.Printf("ila: route %s: %v", p.wire, err)
		}
	}
	if e.site != nil && e.site.LocatorAddresses {
		if uplink, err := netlink.LinkByName(e.site.Uplink); err == nil {
			if err := showLocator(p.wire, uplink, false); err != nil {
				log.Printf("ila: locator address %s: %v", p.wire, err)
			}
		}
	}
}

// Detach takes a system out of its network.
func (e *Engine) Detach(address string, device netlink.Link, deviceName string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	sir, err := ParseAddress(address)
	if err != nil || e.plane == nil {
		return err
	}
	one := e.ports[sir]
	delete(e.ports, sir)
	if device != nil {
		_ = e.plane.Ports.Delete(uint32(device.Attrs().Index))
	} else if one != nil {
		_ = e.plane.Ports.Delete(uint32(one.Device.Attrs().Index))
	}
	// As long as the port is there its programs are: one that is not told lets nothing pass.
	if device == nil {
		for _, h := range e.plane.portHooks() {
			e.plane.Forget(h, deviceName)
		}
	}
	if one != nil && e.site != nil {
		e.dropArrival(one)
		if e.registry != nil {
			e.registry.Release(sir, e.record(one))
		}
		if now, known := e.told[sir]; known && now == e.record(one) {
			delete(e.told, sir)
		}
	}
	delete(e.applied, sir)
	return e.apply(sir)
}

// apply gives the kernel what holds for an address now; the caller holds the lock.
func (e *Engine) apply(sir Address) error {
	if e.site == nil {
		return nil
	}
	here := e.ports[sir]
	record, known := e.told[sir]
	n := e.site.networkOf(sir)
	var at *server
	if known {
		at = e.site.servers[record.Server]
	}
	text := ""
	switch {
	case n == nil:
	case here != nil && (at == nil || at == e.site.self):
		text = fmt.Sprintf("here %d", here.Device.Attrs().Index)
	case at != nil && at != e.site.self:
		text = "at " + at.Name
	}
	if done, is := e.applied[sir]; is && done == text {
		return nil
	}
	if text == "" && at == e.site.self && at != nil && !e.isSettled {
		return nil // it runs here, and is still to be attached
	}
	if err := e.give(sir, n, here, at, text); err != nil {
		return err
	}
	if text == "" {
		delete(e.applied, sir)
	} else {
		e.applied[sir] = text
	}
	return nil
}

// applyOne is for what nobody waits for: the log has the error.
func (e *Engine) applyOne(sir Address) {
	if err := e.apply(sir); err != nil {
		log.Printf("ila %s: %v", sir, err)
	}
}

func (e *Engine) applyAll() {
	for address := range e.all() {
		e.applyOne(address)
	}
}

func (e *Engine) give(sir Address, n *network, here *port, at *server, text string) error {
	if text == "" {
		if err := e.plane.Mappings.Delete(sir); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return dropRoute(sir, 0)
	}
	isHere := at == nil || at == e.site.self
	if n.Backend == "kernel" {
		if isHere {
			return routeHere(sir, here.Device.Attrs().Index)
		}
		uplink, err := netlink.LinkByName(e.site.Uplink)
		if err != nil {
			return err
		}
		return routeOut(sir, at, n.mode, n.Translate, uplink.Attrs().Index)
	}
	if isHere {
		return e.plane.Mappings.Put(sir, mappingValue{Wire: sir, Mode: n.mode, Place: placeHere, Device: uint32(here.Device.Attrs().Index)})
	}
	wire, mode := e.site.wire(n, sir, at)
	return e.plane.Mappings.Put(sir, mappingValue{
		Wire: wire, CsumDiff: difference(sir, wire), Mode: mode, Place: placeElsewhere, Server: at.index,
	})
}

// onRecord is the registry's word on one address: nil where it is nowhere.
func (e *Engine) onRecord(address Address, record *Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if record == nil {
		delete(e.told, address)
		if e.ports[address] != nil && e.registry != nil {
			e.registry.Again(address)
		}
	} else {
		e.told[address] = *record
	}
	e.applyOne(address)
}

// onAll is all that the registry knows.
func (e *Engine) onAll(all map[Address]Record) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.site == nil {
		return
	}
	before := e.told
	e.told, e.hasAll = all, true
	for address := range e.ports {
		if _, is := all[address]; !is && e.registry != nil {
			e.registry.Again(address)
		}
	}
	for address := range before {
		if _, is := all[address]; !is {
			e.applyOne(address)
		}
	}
	for address := range all {
		e.applyOne(address)
	}
	if !e.isSettled {
		return
	}
	if err := e.sweep(); err != nil {
		log.Printf("ila: %v", err)
	}
}

// sweep takes away what an agent before left in the maps and nobody tells any more; the caller holds the lock.
func (e *Engine) sweep() error {
	var key Address
	var mapping mappingValue
	var gone []Address
	for entries := e.plane.Mappings.Iterate(); entries.Next(&key, &mapping); {
		if _, is := e.applied[key]; !is {
			gone = append(gone, key)
		}
	}
	for _, address := range gone {
		_ = e.plane.Mappings.Delete(address)
	}
	gone = nil
	var arrival arrivalValue
	for entries := e.plane.Arrivals.Iterate(); entries.Next(&key, &arrival); {
		if p := e.ports[arrival.Self]; p == nil || p.wire != key {
			gone = append(gone, key)
		}
	}
	for _, address := range gone {
		_ = e.plane.Arrivals.Delete(address)
	}
	return e.sweepRoutes()
}

func (e *Engine) sweepRoutes() error {
	routes, err := netlink.RouteListFiltered(unix.AF_INET6, &netlink.Route{Protocol: kernel.RouteProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	for _, r := range routes {
		if r.Dst == nil || r.Type != unix.RTN_UNICAST {
			continue
		}
		if ones, _ := r.Dst.Mask.Size(); ones != 128 {
			continue
		}
		address := fromBytes(r.Dst.IP.To16())
		n := e.site.networkOf(address)
		if n == nil || e.applied[address] != "" || e.ports[address] != nil {
			continue
		}
		if err := kernel.IgnoreGone(netlink.RouteDel(&r)); err != nil {
			return err
		}
	}
	return nil
}

// Again gives everything to the kernel once more: somebody may have changed it.
func (e *Engine) Again() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.site == nil {
		return
	}
	if err := e.tellSite(); err != nil {
		log.Printf("ila: %v", err)
	}
	e.applied = map[Address]string{}
	e.applyAll()
}

// status is what `agent ila` adds its counters to.
type status struct {
	Registry string `json:"registry"` // connected, or since when and why not
	SinceMs  int64  `json:"sinceMs"`
}

func (e *Engine) writeStatus(registry string) {
	if err := wholefile.ReplaceJSON(e.statusPath, status{registry, time.Now().UnixMilli()}); err != nil {
		log.Print(err)
	}
}
