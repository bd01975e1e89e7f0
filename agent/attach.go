package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"flipflap.local/agent/docker"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// alias marks the server's end of an interface as ours.
func alias(stack, system, network string) string {
	return "flipflap:" + stack + ":" + system + ":" + network
}

// attach makes the container's interfaces what the spec says, from whatever is there.
func (a *agent) attach(ctx context.Context, s *spec, c *docker.Container, fresh bool) error {
	return a.Within(c, func(ns netns.NsHandle, inside *netlink.Handle) error {
		if t := a.teller(); t != nil {
			t.Keep(s.System, s.Interfaces)
		}
		if err := a.detachOthers(s, ns, inside); err != nil {
			return err
		}
		if err := a.settleNftables(s, ns); err != nil {
			return err
		}
		if !fresh || len(s.Prohibited) > 0 {
			if err := settleProhibited(s.Prohibited, inside); err != nil {
				return err
			}
		}
		// After what is ours and of another plan is gone: docker (20.10) takes a network for joined whose address met a route in its way.
		if err := a.joinDocker(ctx, s, c); err != nil {
			return err
		}
		if err := kernel.AddressList.MustBeFew(ns); err != nil {
			return err
		}
		var waiting error
		for _, iface := range dockersFirst(s.Interfaces) {
			var err error
			at := attachment(s, iface, c)
			at.Fresh = fresh
			switch {
			case iface.Parent != nil:
				err = a.attachToParent(s, at, ns, inside)
			case iface.Docker != nil:
				err = a.attachByDocker(at, ns, inside)
			default:
				err = a.attachPort(s, at, ns, inside)
			}
			if err == nil {
				continue
			}
			err = fmt.Errorf("interface %s (network %s): %w", iface.Name, iface.Network, err)
			if !part.IsWaiting(err) {
				return err
			}
			waiting = err
		}
		if err := kernel.InNamespace(ns, func() error { return a.setSysctls(s.Sysctls) }); err != nil {
			return err
		}
		return waiting
	})
}

// dockersFirst: what docker has made is there already, and waits for no device of the server.
func dockersFirst(all []ifaceSpec) []ifaceSpec {
	ordered := slices.Clone(all)
	slices.SortStableFunc(ordered, func(a, b ifaceSpec) int {
		switch {
		case (a.Docker != nil) == (b.Docker != nil):
			return 0
		case a.Docker != nil:
			return -1
		}
		return 1
	})
	return ordered
}

// detachOthers takes away interfaces that were ours for this system and are not declared any more, or
// are declared under another name: two that change names would stand in each other's way.
func (a *agent) detachOthers(s *spec, ns netns.NsHandle, inside *netlink.Handle) error {
	// Of a container that has just started, without asking for all devices of the server.
	if kernel.OnlyLoopback.MustBeFew(ns) == nil {
		return nil
	}
	wanted, onParents := map[string]string{}, map[string]string{}
	for _, iface := range s.Interfaces {
		if iface.Parent != nil {
			onParents[iface.Name] = alias(a.files.Stack, s.System, iface.Network)
		} else {
			wanted[iface.HostName] = iface.Name
		}
	}
	if err := a.detachFromParents(s, ns, inside, onParents); err != nil {
		return err
	}
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		own := strings.HasPrefix(link.Attrs().Alias, alias(a.files.Stack, s.System, ""))
		if !own {
			continue
		}
		peer, err := inside.LinkByIndex(link.Attrs().ParentIndex)
		if err != nil || peer.Attrs().Name != wanted[link.Attrs().Name] {
			if err := kernel.IgnoreGone(netlink.LinkDel(link)); err != nil {
				return err
			}
		}
	}
	return nil
}

// attachByDocker settles what docker has made.
func (a *agent) attachByDocker(at part.Attachment, ns netns.NsHandle, inside *netlink.Handle) error {
	want := at.Interface
	if _, err := inside.LinkByName(want.Name); err != nil {
		return fmt.Errorf("docker did not make it: %w", err)
	}
	if err := kernel.InNamespace(ns, func() error { return setOffloads(want.Name, want.Offloads) }); err != nil {
		return err
	}
	return a.runHooks(at)
}

// attachPort joins the container to the server by a pair of devices.
func (a *agent) attachPort(s *spec, at part.Attachment, ns netns.NsHandle, inside *netlink.Handle) error {
	want := at.Interface
	mac, err := net.ParseMAC(want.MAC)
	if err != nil {
		return err
	}
	portMAC, err := net.ParseMAC(want.PortMAC)
	if err != nil {
		return err
	}
	host, err := a.hostEnd(s, want, mac, ns, inside)
	if err != nil {
		return err
	}
	if host.Attrs().HardwareAddr.String() != portMAC.String() {
		if err := netlink.LinkSetHardwareAddr(host, portMAC); err != nil {
			return fmt.Errorf("mac of %s: %w", want.HostName, err)
		}
	}
	if host.Attrs().MTU != want.MTUBytes {
		if err := netlink.LinkSetMTU(host, want.MTUBytes); err != nil {
			return fmt.Errorf("mtu: %w", err)
		}
	}
	if err := joinBridge(host, want); err != nil {
		return err
	}
	if err := setOffloads(want.HostName, want.PortOffloads); err != nil {
		return err
	}
	at.HostLink = host
	if err := a.guardPort(at); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(host); err != nil {
		return err
	}
	link, err := inside.LinkByName(want.Name)
	if err != nil {
		return err
	}
	return a.settle(at, ns, inside, link, mac)
}

// settle is the end of an attach that made the interface itself: the container's end, then the parts, also while an address is
// still to be told.
func (a *agent) settle(at part.Attachment, ns netns.NsHandle, inside *netlink.Handle, link netlink.Link, mac net.HardwareAddr) error {
	settled := a.settleInside(at, ns, inside, link, mac)
	if settled != nil && !part.IsWaiting(settled) {
		return settled
	}
	if err := a.runHooks(at); err != nil {
		return err
	}
	return settled
}

// settleInside makes the container's end what the spec says, all but an address that nobody has told yet. Without a MAC it
// keeps its own.
func (a *agent) settleInside(at part.Attachment, ns netns.NsHandle, inside *netlink.Handle, link netlink.Link, mac net.HardwareAddr) error {
	want := at.Interface
	if err := insideEnd(inside, link, want, mac); err != nil {
		return err
	}
	err := kernel.InNamespace(ns, func() error {
		// docker turns IPv6 off in a container without network
		path := filepath.Join(a.files.Proc, "sys/net/ipv6/conf", want.Name, "disable_ipv6")
		if err := os.WriteFile(path, []byte("0"), 0o644); err != nil {
			return err
		}
		return setOffloads(want.Name, want.Offloads)
	})
	if err != nil {
		return err
	}
	var told part.Told
	var waiting error
	if t := a.teller(); want.DHCP && t != nil {
		now, err := t.Told(at, inside, link)
		if err != nil && !part.IsWaiting(err) {
			return err
		}
		told, waiting = *now, err
	}
	// What an earlier agent was told stays until there is an answer.
	if err := setAddresses(inside, link, want.Addresses, func(address netlink.Addr) bool {
		return told.Is != nil && told.Is(address) || waiting != nil && kernel.HasEnd(address)
	}); err != nil {
		return err
	}
	if err := setNeighbours(inside, link, want.Neighbours); err != nil {
		return err
	}
	if err := setRoutes(inside, link, append(told.Routes, want.Routes...), waiting != nil && want.DHCPRoute); err != nil {
		return err
	}
	return waiting
}

// detach undoes an attach: the hooks, then the links, which a stopped container has already lost.
func (a *agent) detach(s *spec) error {
	failed := []error{a.runDetached(s), a.detachRunning(s)}
	if t := a.teller(); t != nil {
		t.Keep(s.System, nil)
	}
	for _, iface := range s.Interfaces {
		if iface.Parent != nil {
			continue
		}
		link, err := netlink.LinkByName(iface.HostName)
		if err == nil && link.Attrs().Alias == alias(a.files.Stack, s.System, iface.Network) {
			failed = append(failed, kernel.IgnoreGone(netlink.LinkDel(link)))
		}
	}
	return errors.Join(failed...)
}
