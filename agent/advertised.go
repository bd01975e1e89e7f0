package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const portUpWithin = 500 * time.Millisecond

// advertisedHook tells a server's BGP speaker of a system, by the two things that it watches in the kernel: the
// forwarding entry of the MAC at the system's port, and a neighbour with MAC and address on the bridge. No packet of
// the system is needed. The entry is not static: BGP would call the MAC sticky, and a system could never move.
type advertisedHook struct{}

type advertisedArgs struct {
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

func tell(at attachment, args json.RawMessage) (told, error) {
	var a advertisedArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return told{}, err
	}
	mac, err := net.ParseMAC(at.iface.MAC)
	if err != nil {
		return told{}, err
	}
	t := told{mac: mac, shortcut: a.Shortcut}
	for _, text := range at.iface.Addresses {
		ip, _, err := net.ParseCIDR(text)
		if err != nil {
			return told{}, err
		}
		t.addresses = append(t.addresses, ip)
	}
	if t.bridge, err = linkIndex(a.Device); err == nil {
		t.tunnel, err = linkIndex(a.Tunnel)
	}
	return t, err
}

func linkIndex(name string) (int, error) {
	link, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if asLinkNotFound(err, &missing) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return link.Attrs().Index, nil
}

func forwardingEntry(port int, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: port, Family: unix.AF_BRIDGE, State: netlink.NUD_REACHABLE, Flags: netlink.NTF_MASTER, HardwareAddr: mac}
}

func (t told) neighbour(ip net.IP) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: t.bridge, State: netlink.NUD_PERMANENT, IP: ip, HardwareAddr: t.mac}
}

// onBridge lists the bridge's neighbours that have the MAC, by their addresses.
func (t told) onBridge() (map[string]netlink.Neigh, error) {
	found := map[string]netlink.Neigh{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		listed, err := netlink.NeighList(t.bridge, family)
		if err != nil {
			return nil, err
		}
		for _, n := range listed {
			if n.HardwareAddr.String() == t.mac.String() {
				found[n.IP.String()] = n
			}
		}
	}
	return found, nil
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

// isTold: by BGP, of a system on another server.
func isTold(n netlink.Neigh) bool { return n.Flags&netlink.NTF_EXT_LEARNED != 0 }

// attached claims the MAC and the addresses for this server where the container has just started. Where it has not,
// entries that BGP has put in their place since stay: the system was moved, and this container is what is left of it.
func (advertisedHook) attached(at attachment, args json.RawMessage) error {
	t, err := tell(at, args)
	if err != nil {
		return err
	}
	if t.bridge == 0 || t.tunnel == 0 {
		return errors.New("the bridge or the tunnel is missing")
	}
	if !at.fresh {
		elsewhere, err := t.isElsewhere()
		if err != nil || elsewhere {
			return err
		}
	}
	port := at.hostLink.Attrs().Index
	// In one step: zebra (8.4) puts an entry of its own back where it is taken away first.
	if err := onceForwarding(func() error { return netlink.NeighSet(forwardingEntry(port, t.mac)) }); err != nil {
		return fmt.Errorf("forwarding entry of %s: %w", t.mac, err)
	}
	if at.fresh {
		// zebra leaves the tunnel's own entry for the old place behind. After the step above it is nobody's; 0.0.0.0
		// stands for any place.
		old := &netlink.Neigh{LinkIndex: t.tunnel, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF, HardwareAddr: t.mac, IP: net.IPv4zero}
		if err := kernel.IgnoreGone(netlink.NeighDel(old)); err != nil {
			return fmt.Errorf("the tunnel's entry of %s: %w", t.mac, err)
		}
	}
	present, err := t.onBridge()
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
		if wanted[ip] || isTold(n) || n.State&netlink.NUD_PERMANENT == 0 {
			continue
		}
		if err := kernel.IgnoreGone(netlink.NeighDel(&n)); err != nil {
			return fmt.Errorf("neighbour %s: %w", ip, err)
		}
	}
	// After all that others wait for.
	if at.shortcut != nil {
		if t.shortcut {
			err = at.shortcut.put(t.tunnel, port, t.mac)
		} else {
			at.shortcut.remove(port)
		}
		if err != nil {
			return fmt.Errorf("short cut: %w", err)
		}
	}
	return nil
}

// detached takes back what is ours.
func (advertisedHook) detached(at attachment, args json.RawMessage) error {
	t, err := tell(at, args)
	if err != nil {
		return err
	}
	if at.hostLink != nil {
		port := at.hostLink.Attrs().Index
		if at.shortcut != nil {
			at.shortcut.remove(port)
		}
		if err := kernel.IgnoreGone(netlink.NeighDel(forwardingEntry(port, t.mac))); err != nil {
			return err
		}
	}
	if t.bridge == 0 {
		return nil
	}
	present, err := t.onBridge()
	if err != nil {
		return err
	}
	var failed []error
	for _, n := range present {
		if !isTold(n) && n.State&netlink.NUD_PERMANENT != 0 {
			failed = append(failed, kernel.IgnoreGone(netlink.NeighDel(&n)))
		}
	}
	return errors.Join(failed...)
}
