package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

func asLinkNotFound(err error, target *netlink.LinkNotFoundError) bool { return errors.As(err, target) }

// alias marks the server's end of an interface as ours.
func alias(stack, system, network string) string {
	return "flipflap:" + stack + ":" + system + ":" + network
}

// attach makes the container's interfaces what the spec says, from whatever is there.
func (a *agent) attach(ctx context.Context, s *spec, c *container, fresh bool) error {
	return a.inContainer(c, func(ns netns.NsHandle, inside *netlink.Handle) error {
		a.dropLeases(s.System, s.Interfaces)
		if err := a.detachOthers(s, ns, inside); err != nil {
			return err
		}
		if err := a.settleNftables(s, ns); err != nil {
			return err
		}
		// After what is ours and of another plan is gone: docker (20.10) takes a network for joined whose address met a route in its way.
		if err := a.joinDocker(ctx, s, c); err != nil {
			return err
		}
		if err := addressList.mustBeFew(ns); err != nil {
			return err
		}
		var waiting error
		for _, iface := range s.Interfaces {
			var err error
			if iface.Parent != nil {
				err = a.attachToParent(s, iface, ns, inside)
			} else {
				err = a.attachInterface(s, iface, ns, inside, fresh)
			}
			if err == nil {
				continue
			}
			err = fmt.Errorf("interface %s (network %s): %w", iface.Name, iface.Network, err)
			if !isWaiting(err) {
				return err
			}
			waiting = err
		}
		if err := inNamespace(ns, func() error { return a.setSysctls(s.Sysctls) }); err != nil {
			return err
		}
		return waiting
	})
}

// detachOthers takes away interfaces that were ours for this system and are not declared any more, or
// are declared under another name: two that change names would stand in each other's way.
func (a *agent) detachOthers(s *spec, ns netns.NsHandle, inside *netlink.Handle) error {
	// Of a container that has just started, without asking for all devices of the server.
	if onlyLoopback.mustBeFew(ns) == nil {
		return nil
	}
	wanted, onParents := map[string]string{}, map[string]string{}
	for _, iface := range s.Interfaces {
		if iface.Parent != nil {
			onParents[iface.Name] = alias(a.stack, s.System, iface.Network)
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
		own := strings.HasPrefix(link.Attrs().Alias, alias(a.stack, s.System, ""))
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

func (a *agent) attachInterface(s *spec, want ifaceSpec, ns netns.NsHandle, inside *netlink.Handle, fresh bool) error {
	if want.Docker != nil {
		if _, err := inside.LinkByName(want.Name); err != nil {
			return fmt.Errorf("docker did not make it: %w", err)
		}
		return inNamespace(ns, func() error { return setOffloads(want.Name, want.Offloads) })
	}
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
	at := attachment{spec: s, iface: want, hostLink: host, fresh: fresh, shortcut: a.shortcut, ila: a.ila}
	if err := guardPort(at); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(host); err != nil {
		return err
	}
	link, err := inside.LinkByName(want.Name)
	if err != nil {
		return err
	}
	settled := a.settleInside(s, want, ns, inside, link, mac)
	if settled != nil && !isWaiting(settled) {
		return settled
	}
	if err := runHooks(at); err != nil {
		return err
	}
	return settled
}

// settleInside makes the container's end what the spec says, all but an address that nobody has told yet. Without a MAC it
// keeps its own.
func (a *agent) settleInside(s *spec, want ifaceSpec, ns netns.NsHandle, inside *netlink.Handle, link netlink.Link, mac net.HardwareAddr) error {
	if err := insideEnd(inside, link, want, mac); err != nil {
		return err
	}
	err := inNamespace(ns, func() error {
		// docker turns IPv6 off in a container without network
		path := filepath.Join(a.proc, "sys/net/ipv6/conf", want.Name, "disable_ipv6")
		if err := os.WriteFile(path, []byte("0"), 0o644); err != nil {
			return err
		}
		return setOffloads(want.Name, want.Offloads)
	})
	if err != nil {
		return err
	}
	var told *toldAddress
	var waiting error
	if want.DHCP {
		if told, waiting = a.leaseOf(s, want, link).holds(inside, link); waiting != nil && !isWaiting(waiting) {
			return waiting
		}
	}
	// What an earlier agent was told stays until there is an answer.
	if err := setAddresses(inside, link, want.Addresses, func(address netlink.Addr) bool {
		return told.is(address) || waiting != nil && hasEnd(address)
	}); err != nil {
		return err
	}
	if err := setNeighbours(inside, link, want.Neighbours); err != nil {
		return err
	}
	if err := setRoutes(inside, link, append(told.route(want), want.Routes...), waiting != nil && want.DHCPRoute); err != nil {
		return err
	}
	return waiting
}

func runHooks(at attachment) error {
	for _, want := range at.iface.Hooks {
		h, err := findHook(want.Type)
		if err != nil {
			return err
		}
		if err := h.attached(at, want.Args); err != nil {
			return fmt.Errorf("hook %s: %w", want.Type, err)
		}
	}
	return nil
}

// detachChanged runs the hooks of interfaces that a new spec does not have as they were.
func (a *agent) detachChanged(old, now *spec) error {
	same := map[string]string{}
	for _, iface := range now.Interfaces {
		same[iface.HostName] = iface.identity()
	}
	changed := *old
	changed.Interfaces = nil
	for _, iface := range old.Interfaces {
		if same[iface.HostName] != iface.identity() {
			changed.Interfaces = append(changed.Interfaces, iface)
		}
	}
	return a.runDetached(&changed)
}

func (a *agent) runDetached(s *spec) error {
	var failed []error
	for _, iface := range s.Interfaces {
		at := attachment{spec: s, iface: iface, shortcut: a.shortcut, ila: a.ila}
		if link, err := netlink.LinkByName(iface.HostName); err == nil {
			at.hostLink = link
		}
		for _, want := range iface.Hooks {
			h, err := findHook(want.Type)
			if err == nil {
				err = h.detached(at, want.Args)
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// detach undoes an attach: the hooks, then the links, which a stopped container has already lost.
func (a *agent) detach(s *spec) error {
	failed := []error{a.runDetached(s), a.detachRunning(s)}
	a.dropLeases(s.System, nil)
	for _, iface := range s.Interfaces {
		if iface.Parent != nil {
			continue
		}
		link, err := netlink.LinkByName(iface.HostName)
		if err == nil && link.Attrs().Alias == alias(a.stack, s.System, iface.Network) {
			failed = append(failed, kernel.IgnoreGone(netlink.LinkDel(link)))
		}
	}
	return errors.Join(failed...)
}
