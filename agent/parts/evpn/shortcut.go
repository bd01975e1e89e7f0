package evpn

import (
	"context"
	"errors"
	"log"
	"net"
	"sync"
	"time"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/kernel"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// shortcut keeps bpf/overlay.bpf.c loaded, attached and told. Programs and maps live as long as this process holds them:
// when it ends, the kernel takes them away, and frames go by the bridge.
type shortcut struct {
	objects overlayObjects

	mu      sync.Mutex
	tunnels map[int]link.Link // by the tunnel's link index
	ports   map[int]port      // by the link index of the server's end
}

type overlayObjects struct {
	TunnelIn  *ebpf.Program `ebpf:"tunnel_in"`
	SystemOut *ebpf.Program `ebpf:"system_out"`
	Stations  *ebpf.Map     `ebpf:"stations"`
	Ports     *ebpf.Map     `ebpf:"ports"`
}

type port struct {
	link    link.Link
	station stationKey
}

func keyOf(tunnel int, mac net.HardwareAddr) stationKey {
	key := stationKey{Network: uint32(tunnel)}
	copy(key.MAC[:], mac)
	return key
}

// newShortcut fails where the kernel lacks what it needs: tcx and bpf_redirect_peer there came with Linux 6.6.
func newShortcut(path, shared string) (*shortcut, error) {
	if err := features.HaveProgramType(ebpf.SchedCLS); err != nil {
		return nil, err
	}
	if !bpf.HasTCX() {
		return nil, errors.New("tcx (Linux 6.6) is not there")
	}
	s := &shortcut{tunnels: map[int]link.Link{}, ports: map[int]port{}}
	o := bpf.Object{Path: path, Shared: shared, Keys: map[string]any{"stations": stationKey{}}, Values: map[string]any{"stations": station{}}}
	if err := o.Load(&s.objects); err != nil {
		return nil, err
	}
	// What can be attached to the loopback device can be to any.
	probe, err := bpf.AttachForNow(s.objects.systemOut(), 1)
	if err != nil {
		return nil, err
	}
	return s, probe.Close()
}

// systemOut is at a system's port, tunnelIn at the tunnel to the other servers.
func (o *overlayObjects) systemOut() bpf.Hook {
	return bpf.Hook{Name: "system_out", Program: o.SystemOut}
}
func (o *overlayObjects) tunnelIn() bpf.Hook { return bpf.Hook{Name: "tunnel_in", Program: o.TunnelIn} }

// put makes a system's frames take the short cut. It converges.
func (s *shortcut) put(tunnel, device int, mac net.HardwareAddr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tunnels[tunnel] == nil || !bpf.IsAttached(s.tunnels[tunnel]) {
		attached, err := bpf.AttachForNow(s.objects.tunnelIn(), tunnel)
		if err != nil {
			return err
		}
		if before := s.tunnels[tunnel]; before != nil {
			before.Close()
		}
		s.tunnels[tunnel] = attached
		if err := s.readTunnel(tunnel); err != nil {
			return err
		}
	}
	key := keyOf(tunnel, mac)
	if old, is := s.ports[device]; is && old.station != key {
		s.drop(device)
	}
	if err := s.objects.Stations.Put(key, station{uint32(device), stationHere}); err != nil {
		return err
	}
	if err := s.objects.Ports.Put(uint32(device), uint32(tunnel)); err != nil {
		return err
	}
	if now, is := s.ports[device]; is {
		if bpf.IsAttached(now.link) {
			return nil
		}
		now.link.Close()
	}
	attached, err := bpf.AttachForNow(s.objects.systemOut(), device)
	if err != nil {
		return err
	}
	s.ports[device] = port{link: attached, station: key}
	return nil
}

// readTunnel takes over what BGP has put behind a tunnel before its entries were followed; the caller holds the lock.
func (s *shortcut) readTunnel(tunnel int) error {
	listed, err := netlink.NeighList(tunnel, unix.AF_BRIDGE)
	if err != nil {
		return err
	}
	for _, n := range listed {
		if n.MasterIndex != 0 && kernel.IsLearned(n) {
			s.set(tunnel, n.HardwareAddr, true)
		}
	}
	return nil
}

// set notes that a station is behind a tunnel, or is not any more; the caller holds the lock.
func (s *shortcut) set(tunnel int, mac net.HardwareAddr, elsewhere bool) {
	key := keyOf(tunnel, mac)
	if elsewhere {
		if err := s.objects.Stations.Put(key, station{uint32(tunnel), stationElsewhere}); err != nil {
			log.Printf("short cut to %s: %v", mac, err)
		}
		return
	}
	var now station
	if s.objects.Stations.Lookup(key, &now) == nil && now.Place == stationElsewhere {
		_ = s.objects.Stations.Delete(key) // it may be gone by itself
	}
}

// drop forgets a system's port; the caller holds the lock.
func (s *shortcut) drop(device int) {
	old, is := s.ports[device]
	if !is {
		return
	}
	delete(s.ports, device)
	_ = s.objects.Ports.Delete(uint32(device)) // it may not be there
	var now station
	if s.objects.Stations.Lookup(old.station, &now) == nil && now.Device == uint32(device) {
		_ = s.objects.Stations.Delete(old.station)
	}
	old.link.Close()
}

func (s *shortcut) remove(device int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(device)
}

// tunnelGone forgets a tunnel device and what led to it: its index may be another device's one day.
func (s *shortcut) tunnelGone(tunnel int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	attached, is := s.tunnels[tunnel]
	if !is {
		return
	}
	for device, p := range s.ports {
		if p.station.Network == uint32(tunnel) {
			s.drop(device)
		}
	}
	s.forgetElsewhere(tunnel)
	delete(s.tunnels, tunnel)
	attached.Close()
}

func (s *shortcut) forgetElsewhere(tunnel int) {
	var key stationKey
	var value station
	var gone []stationKey
	for entries := s.objects.Stations.Iterate(); entries.Next(&key, &value); {
		if key.Network == uint32(tunnel) && value.Place == stationElsewhere {
			gone = append(gone, key)
		}
	}
	for _, key := range gone {
		_ = s.objects.Stations.Delete(key)
	}
}

// onEntry follows the bridges' forwarding entries in the kernel's order: what BGP puts behind a tunnel or takes away from
// there, and what is at a system's port. True where BGP has let go of a station that this server has a port for: it
// may be claimed again.
func (s *shortcut) onEntry(update netlink.NeighUpdate) bool {
	if update.Family != unix.AF_BRIDGE || update.MasterIndex == 0 || len(update.HardwareAddr) != 6 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	isNew := update.Type == unix.RTM_NEWNEIGH
	if p, is := s.ports[update.LinkIndex]; is {
		if isNew && p.station == keyOf(int(p.station.Network), update.HardwareAddr) {
			if err := s.objects.Stations.Put(p.station, station{uint32(update.LinkIndex), stationHere}); err != nil {
				log.Printf("short cut to %s: %v", update.HardwareAddr, err)
			}
		}
		return false
	}
	if s.tunnels[update.LinkIndex] == nil || !kernel.IsLearned(update.Neigh) {
		return false
	}
	s.set(update.LinkIndex, update.HardwareAddr, isNew)
	return !isNew && s.hasPortOf(keyOf(update.LinkIndex, update.HardwareAddr))
}

func (s *shortcut) hasPortOf(key stationKey) bool {
	for _, p := range s.ports {
		if p.station == key {
			return true
		}
	}
	return false
}

// again reads all tunnels anew, after events were lost.
func (s *shortcut) again() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for tunnel := range s.tunnels {
		s.forgetElsewhere(tunnel)
		if err := s.readTunnel(tunnel); err != nil {
			log.Printf("short cut: %v", err)
		}
	}
}

// watch follows the kernel's tunnels and forwarding entries; changed is called when a tunnel comes or goes.
func (s *shortcut) watch(ctx context.Context, changed func()) error {
	links := make(chan netlink.LinkUpdate, 4096)
	options := netlink.LinkSubscribeOptions{
		ErrorCallback:          func(err error) { log.Printf("links: %v", err) },
		ReceiveBufferSize:      16 << 20,
		ReceiveBufferForceSize: true,
	}
	if err := netlink.LinkSubscribeWithOptions(links, ctx.Done(), options); err != nil {
		return err
	}
	go func() {
		for update := range links {
			if update.Header.Type == unix.RTM_DELLINK && update.IfInfomsg.Family != unix.AF_BRIDGE {
				s.tunnelGone(int(update.Index))
				s.remove(int(update.Index))
			}
			if update.Link.Type() == "vxlan" {
				changed()
			}
		}
	}()
	entries, err := subscribeEntries(ctx)
	if err != nil {
		return err
	}
	go func() {
		for {
			for update := range entries {
				if s.onEntry(update) {
					changed()
				}
			}
			// The kernel had more to say than the socket could hold.
			for {
				if ctx.Err() != nil {
					return
				}
				next, err := subscribeEntries(ctx)
				if err == nil {
					entries = next
					break
				}
				log.Printf("forwarding entries: %v", err)
				time.Sleep(time.Second)
			}
			s.again()
		}
	}()
	return nil
}

// subscribeEntries gives a channel that is closed when the subscription ends, also by an overrun.
func subscribeEntries(ctx context.Context) (chan netlink.NeighUpdate, error) {
	entries := make(chan netlink.NeighUpdate, 4096)
	return entries, netlink.NeighSubscribeWithOptions(entries, ctx.Done(), netlink.NeighSubscribeOptions{
		ErrorCallback:          func(err error) { log.Printf("forwarding entries: %v", err) },
		ReceiveBufferSize:      16 << 20,
		ReceiveBufferForceSize: true,
	})
}
