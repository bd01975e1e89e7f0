// Package evpn tells a server's BGP speaker of its systems, and lets frames between them take the short cut around the bridge.
package evpn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const portUpWithin = 500 * time.Millisecond

// advertiser tells a server's BGP speaker of a system, by the two things that it watches in the kernel: the
// forwarding entry of the MAC at the system's port, and a neighbour with MAC and address on the bridge. No packet of
// the system is needed. The entry is not static: BGP would call the MAC sticky, and a system could never move.
type advertiser struct {
	part.Base
	host     part.Host
	shortcut *shortcut // nil where the server has none
}

func New(host part.Host) part.Part { return &advertiser{host: host} }

func (*advertiser) Name() string { return "advertised" }

// Start makes the short cut where the server can have one, and says why where not.
func (a *advertiser) Start(ctx context.Context) {
	said := "on"
	files := a.host.Files()
	s, err := newShortcut(filepath.Join(files.Programs, "overlay.bpf.o"), bpf.SharedPins(files.Bpffs, files.Stack))
	if err == nil {
		err = s.watch(ctx, a.host.Wake)
	}
	if err == nil {
		a.shortcut = s
	} else {
		said = "off: " + err.Error()
	}
	log.Printf("short cut %s", said)
	if err := os.WriteFile(a.saidFile(), []byte(said+"\n"), 0o644); err != nil {
		log.Print(err)
	}
}

func (a *advertiser) saidFile() string { return filepath.Join(a.host.Files().Status, "shortcut") }

type arguments struct {
	Device string `json:"device"` // the bridge
	Tunnel string `json:"tunnel"` // its port to the other servers
	// Whether frames may take the short cut around the bridge.
	Shortcut bool `json:"shortcut"`
}

// told is what one interface of a system amounts to.
type told struct {
	bridge, tunnel int // their links' indexes; 0 where they are gone
	mac            net.HardwareAddr
	addresses      []net.IP
	shortcut       bool
}

func tell(at part.Attachment, args json.RawMessage) (told, error) {
	var a arguments
	if err := json.Unmarshal(args, &a); err != nil {
		return told{}, err
	}
	mac, err := net.ParseMAC(at.Interface.MAC)
	if err != nil {
		return told{}, err
	}
	t := told{mac: mac, shortcut: a.Shortcut}
	for _, text := range at.Interface.Addresses {
		ip, _, err := net.ParseCIDR(text)
		if err != nil {
			return told{}, err
		}
		t.addresses = append(t.addresses, ip)
	}
	if t.bridge, err = kernel.LinkIndex(a.Device); err == nil {
		t.tunnel, err = kernel.LinkIndex(a.Tunnel)
	}
	return t, err
}

func forwardingEntry(port int, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: port, Family: unix.AF_BRIDGE, State: netlink.NUD_REACHABLE, Flags: netlink.NTF_MASTER, HardwareAddr: mac}
}

func (t told) neighbour(ip net.IP) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: t.bridge, State: netlink.NUD_PERMANENT, IP: ip, HardwareAddr: t.mac}
}

// isElsewhere: BGP has put the MAC behind the tunnel.
func (t told) isElsewhere() (bool, error) {
	listed, err := netlink.NeighList(t.tunnel, unix.AF_BRIDGE)
	if err != nil {
		return false, err
	}
	for _, n := range listed {
		if n.MasterIndex != 0 && n.HardwareAddr.String() == t.mac.String() {
			return true, nil
		}
	}
	return false, nil
}

// onceForwarding sets an entry at a port whose ends have just come up. A worker of the kernel's (linkwatch) lets the port forward
// some milliseconds later, and until then the bridge takes no entry but a static one: EPERM (6.18: one start in ten).
func onceForwarding(set func() error) error {
	deadline := time.Now().Add(portUpWithin)
	for {
		err := set()
		if !errors.Is(err, unix.EPERM) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// Attached claims the MAC and the addresses for this server where the container has just started. Where it has not,
// entries that BGP has put in their place since stay: the system was moved, and this container is what is left of it.
func (a *advertiser) Attached(at part.Attachment, args json.RawMessage) error {
	t, err := tell(at, args)
	if err != nil {
		return err
	}
	if t.bridge == 0 || t.tunnel == 0 {
		return errors.New("the bridge or the tunnel is missing")
	}
	if !at.Fresh {
		elsewhere, err := t.isElsewhere()
		if err != nil || elsewhere {
			return err
		}
	}
	link, err := at.Port()
	if err != nil {
		return err
	}
	port := link.Attrs().Index
	// In one step: zebra (8.4) puts an entry of its own back where it is taken away first.
	if err := onceForwarding(func() error { return netlink.NeighSet(forwardingEntry(port, t.mac)) }); err != nil {
		return fmt.Errorf("forwarding entry of %s: %w", t.mac, err)
	}
	if at.Fresh {
		// zebra leaves the tunnel's own entry for the old place behind. After the step above it is nobody's; 0.0.0.0
		// stands for any place.
		old := &netlink.Neigh{LinkIndex: t.tunnel, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, HardwareAddr: t.mac, IP: net.IPv4zero}
		if err := kernel.IgnoreGone(netlink.NeighDel(old)); err != nil {
			return fmt.Errorf("the tunnel's entry of %s: %w", t.mac, err)
		}
	}
	present, err := kernel.FreshNeighbours.With(t.bridge, t.mac)
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, ip := range t.addresses {
		wanted[ip.String()] = true
		if err := netlink.NeighSet(t.neighbour(ip)); err != nil {
			return fmt.Errorf("neighbour %s: %w", ip, err)
		}
	}
	for ip, n := range present {
		if wanted[ip] || kernel.IsLearned(n) || n.State&netlink.NUD_PERMANENT == 0 {
			continue
		}
		if err := kernel.IgnoreGone(netlink.NeighDel(&n)); err != nil {
			return fmt.Errorf("neighbour %s: %w", ip, err)
		}
	}
	// After all that others wait for.
	if a.shortcut != nil {
		if t.shortcut {
			err = a.shortcut.put(t.tunnel, port, t.mac)
		} else {
			a.shortcut.remove(port)
		}
		if err != nil {
			return fmt.Errorf("short cut: %w", err)
		}
	}
	return nil
}

// Detached takes back what is ours.
func (a *advertiser) Detached(at part.Attachment, args json.RawMessage) error {
	t, err := tell(at, args)
	if err != nil {
		return err
	}
	if at.HostLink != nil {
		port := at.HostLink.Attrs().Index
		if a.shortcut != nil {
			a.shortcut.remove(port)
		}
		if err := kernel.IgnoreGone(netlink.NeighDel(forwardingEntry(port, t.mac))); err != nil {
			return err
		}
	}
	if t.bridge == 0 {
		return nil
	}
	present, err := kernel.FreshNeighbours.With(t.bridge, t.mac)
	if err != nil {
		return err
	}
	var failed []error
	for _, n := range present {
		if !kernel.IsLearned(n) && n.State&netlink.NUD_PERMANENT != 0 {
			failed = append(failed, kernel.IgnoreGone(netlink.NeighDel(&n)))
		}
	}
	return errors.Join(failed...)
}

func (a *advertiser) Look(at part.Attachment, args json.RawMessage) (map[string]contract.Property, error) {
	t, err := tell(at, args)
	if err != nil {
		return nil, err
	}
	neighbours, err := at.Neighbours.Permanent(t.bridge, t.mac)
	if err != nil {
		return nil, err
	}
	found := map[string]contract.Property{"neighbours": neighbours, "forwarding": "missing", "shortcut": "no port"}
	if at.HostLink == nil {
		return found, nil
	}
	port := at.HostLink.Attrs().Index
	entries, err := at.Neighbours.Of(port, unix.AF_BRIDGE)
	if err != nil {
		return nil, err
	}
	for _, n := range entries {
		if n.HardwareAddr.String() != t.mac.String() || n.MasterIndex == 0 {
			continue
		}
		found["forwarding"] = "told"
		if n.State&(netlink.NUD_NOARP|netlink.NUD_PERMANENT) != 0 {
			found["forwarding"] = "static"
		}
	}
	said, err := a.lookAtShortcut(t, port)
	if err != nil {
		return nil, fmt.Errorf("short cut: %w", err)
	}
	found["shortcut"] = said
	return found, nil
}

// lookAtShortcut asks the kernel, not the agent that runs: its programs at the port and at the tunnel, and its entry.
func (a *advertiser) lookAtShortcut(t told, port int) (string, error) {
	if said, err := os.ReadFile(a.saidFile()); err == nil && strings.HasPrefix(string(said), "off") {
		return "impossible", nil
	}
	var programs overlayObjects
	out, err := bpf.Find(programs.systemOut(), port)
	if err != nil {
		return "", err
	}
	if !t.shortcut {
		if out != nil {
			out.Close()
			return "program at the port", nil
		}
		return "off", nil
	}
	if out == nil {
		return "no program at the port", nil
	}
	defer out.Close()
	in, err := bpf.Find(programs.tunnelIn(), t.tunnel)
	if err != nil {
		return "", err
	}
	if in == nil {
		return "no program at the tunnel", nil
	}
	in.Close()
	info, err := out.Info()
	if err != nil {
		return "", err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		stations, err := ebpf.NewMapFromID(id)
		if err != nil {
			return "", err
		}
		defer stations.Close()
		if stations.KeySize() != 12 {
			continue
		}
		var now station
		if err := stations.Lookup(keyOf(t.tunnel, t.mac), &now); err != nil || now != (station{uint32(port), stationHere}) {
			return "not in the map", nil
		}
	}
	return "on", nil
}
