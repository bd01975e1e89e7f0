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
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func asLinkNotFound(err error, target *netlink.LinkNotFoundError) bool { return errors.As(err, target) }

// alias marks the server's end of an interface as ours.
func alias(stack, system, network string) string {
	return "flipflap:" + stack + ":" + system + ":" + network
}

// attach makes the container's interfaces what the spec says, from whatever is there.
func (a *agent) attach(ctx context.Context, s *spec, c *container, fresh bool) error {
	return a.inContainer(c, func(ns netns.NsHandle, inside *netlink.Handle) error {
		if err := a.detachOthers(s, inside); err != nil {
			return err
		}
		if err := a.settleNftables(s, c.State.Pid); err != nil {
			return err
		}
		// After what is ours and of another plan is gone: docker (20.10) takes a network for joined whose address met a route in its way.
		if err := a.joinDocker(ctx, s, c); err != nil {
			return err
		}
		for _, iface := range s.Interfaces {
			var err error
			if iface.Parent != nil {
				err = a.attachToParent(ctx, s, c, iface, ns, inside)
			} else {
				err = a.attachInterface(ctx, s, c, iface, ns, inside, fresh)
			}
			if err != nil {
				return fmt.Errorf("interface %s (network %s): %w", iface.Name, iface.Network, err)
			}
		}
		return inNamespace(ns, func() error { return a.setSysctls(s.Sysctls) })
	})
}

// detachOthers takes away interfaces that were ours for this system and are not declared any more, or
// are declared under another name: two that change names would stand in each other's way.
func (a *agent) detachOthers(s *spec, inside *netlink.Handle) error {
	wanted, onParents := map[string]string{}, map[string]bool{}
	for _, iface := range s.Interfaces {
		if iface.Parent != nil {
			onParents[iface.Name] = true
		} else {
			wanted[iface.HostName] = iface.Name
		}
	}
	if err := a.detachFromParents(s, inside, onParents); err != nil {
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

func (a *agent) attachInterface(ctx context.Context, s *spec, c *container, want ifaceSpec, ns netns.NsHandle, inside *netlink.Handle, fresh bool) error {
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
	if err := a.settleInside(ctx, s, c, want, ns, inside, link, mac); err != nil {
		return err
	}
	return runHooks(at)
}

// settleInside makes the container's end what the spec says. Without a MAC it keeps its own.
func (a *agent) settleInside(ctx context.Context, s *spec, c *container, want ifaceSpec, ns netns.NsHandle, inside *netlink.Handle, link netlink.Link, mac net.HardwareAddr) error {
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
	var leased *lease
	routes := want.Routes
	if want.DHCP {
		if leased, err = a.leaseOf(ctx, s, c, want, ns, inside, link); err != nil {
			return fmt.Errorf("dhcp: %w", err)
		}
		routes = leased.withRoutes(routes)
	}
	if err := setAddresses(inside, link, want.Addresses, leased); err != nil {
		return err
	}
	if err := setNeighbours(inside, link, want.Neighbours); err != nil {
		return err
	}
	return setRoutes(inside, link, routes)
}

// joinBridge settles the server's end in its bridge, before it is up: no frame comes by a port that is not settled. An end
// without a bridge has no address of its own making either.
func joinBridge(host netlink.Link, want ifaceSpec) error {
	if want.Bridge == "" {
		if err := netlink.LinkSetIP6AddrGenMode(host, nl.IN6_ADDR_GEN_MODE_NONE); err != nil {
			return fmt.Errorf("addrgenmode: %w", err)
		}
		return nil
	}
	bridge, err := netlink.LinkByName(want.Bridge)
	if err != nil {
		return fmt.Errorf("bridge %s: %w", want.Bridge, err)
	}
	if host.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := netlink.LinkSetMaster(host, bridge); err != nil {
			return fmt.Errorf("bridge %s: %w", want.Bridge, err)
		}
	}
	if err := netlink.LinkSetLearning(host, want.Learns); err != nil {
		return fmt.Errorf("learning: %w", err)
	}
	if err := netlink.LinkSetFlood(host, want.Floods == nil || *want.Floods); err != nil {
		return fmt.Errorf("flood: %w", err)
	}
	if want.Learns {
		return nil
	}
	// Frames for the bridge's own port go on like others; the server must not get them (see vxlan.ts).
	if err := netlink.LinkSetBRSlaveGroupFwdMask(host, 0xfffd); err != nil {
		return fmt.Errorf("group_fwd_mask: %w", err)
	}
	if err := netlink.LinkSetIP6AddrGenMode(host, nl.IN6_ADDR_GEN_MODE_NONE); err != nil {
		return fmt.Errorf("addrgenmode: %w", err)
	}
	return nil
}

// setNeighbours gives a system the permanent neighbours of its plan.
func setNeighbours(inside *netlink.Handle, link netlink.Link, wanted []neighbourSpec) error {
	for _, want := range wanted {
		mac, err := net.ParseMAC(want.MAC)
		if err != nil {
			return err
		}
		neighbour := &netlink.Neigh{LinkIndex: link.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(want.Address), HardwareAddr: mac}
		if err := inside.NeighSet(neighbour); err != nil {
			return fmt.Errorf("neighbour %s: %w", want.Address, err)
		}
	}
	return nil
}

// hostEnd gives the server's end; a pair whose other end is not in this container is made anew.
func (a *agent) hostEnd(s *spec, want ifaceSpec, mac net.HardwareAddr, ns netns.NsHandle, inside *netlink.Handle) (netlink.Link, error) {
	mark := alias(a.stack, s.System, want.Network)
	host, err := netlink.LinkByName(want.HostName)
	var missing netlink.LinkNotFoundError
	if err != nil && !asLinkNotFound(err, &missing) {
		return nil, err
	}
	if err == nil {
		// The kernel takes no alias at creation: one without is ours, cut off in between.
		if host.Attrs().Alias != mark && (host.Attrs().Alias != "" || host.Type() != "veth") {
			return nil, fmt.Errorf("%s is taken by a link that is not ours (alias %q)", want.HostName, host.Attrs().Alias)
		}
		if peer, peerErr := inside.LinkByIndex(host.Attrs().ParentIndex); peerErr == nil && host.Attrs().Alias == mark && peer.Attrs().Name == want.Name && peer.Type() == "veth" && peer.Attrs().ParentIndex == host.Attrs().Index {
			return host, nil
		}
		if err := kernel.IgnoreGone(netlink.LinkDel(host)); err != nil {
			return nil, err
		}
	}
	if _, err := inside.LinkByName(want.Name); err == nil {
		return nil, fmt.Errorf("the container already has an interface %s that is not ours", want.Name)
	}
	pair := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: want.HostName, MTU: want.MTUBytes},
		PeerName:         want.Name,
		PeerHardwareAddr: mac,
		PeerNamespace:    netlink.NsFd(int(ns)),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return nil, fmt.Errorf("veth %s: %w", want.HostName, err)
	}
	host, err = netlink.LinkByName(want.HostName)
	if err != nil {
		return nil, err
	}
	return host, netlink.LinkSetAlias(host, mark)
}

func insideEnd(inside *netlink.Handle, link netlink.Link, want ifaceSpec, mac net.HardwareAddr) error {
	if mac != nil && link.Attrs().HardwareAddr.String() != mac.String() {
		if err := inside.LinkSetHardwareAddr(link, mac); err != nil {
			return fmt.Errorf("mac: %w", err)
		}
	}
	if link.Attrs().MTU != want.MTUBytes {
		if err := inside.LinkSetMTU(link, want.MTUBytes); err != nil {
			return fmt.Errorf("mtu: %w", err)
		}
	}
	return inside.LinkSetUp(link)
}

// setAddresses takes unwanted addresses away first: with an address of a subnet the kernel takes its
// secondaries too (promote_secondaries is off by default).
func setAddresses(inside *netlink.Handle, link netlink.Link, wanted []string, leased *lease) error {
	keep := map[string]*netlink.Addr{}
	for _, text := range wanted {
		address, err := netlink.ParseAddr(text)
		if err != nil {
			return err
		}
		if address.IP.To4() == nil {
			// No duplicate address detection: the address is declared, and must answer at once.
			address.Flags = unix.IFA_F_NODAD
		}
		keep[address.IPNet.String()] = address
	}
	present, err := inside.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return err
	}
	for _, address := range present {
		if keep[address.IPNet.String()] != nil || address.IP.IsLinkLocalUnicast() || leased.is(address) {
			continue
		}
		if err := kernel.IgnoreGone(inside.AddrDel(link, &address)); err != nil {
			return fmt.Errorf("address %s: %w", address.IPNet, err)
		}
	}
	for text, address := range keep {
		if err := inside.AddrReplace(link, address); err != nil {
			return fmt.Errorf("address %s: %w", text, err)
		}
	}
	return nil
}

func setRoutes(inside *netlink.Handle, link netlink.Link, wanted []routeSpec) error {
	keep := map[string]bool{}
	for _, want := range wanted {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: kernel.RouteProtocol, Gw: net.ParseIP(want.Via)}
		to := want.To
		if to == "default" {
			if route.Gw.To4() == nil {
				to = "::/0"
			} else {
				to = "0.0.0.0/0"
			}
		}
		_, prefix, err := net.ParseCIDR(to)
		if err != nil {
			return err
		}
		route.Dst = prefix
		keep[prefix.String()] = true
		if err := inside.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s via %s: %w", want.To, want.Via, err)
		}
	}
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: kernel.RouteProtocol}
	present, err := inside.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	for _, route := range present {
		if route.Dst != nil && keep[route.Dst.String()] {
			continue
		}
		if err := kernel.IgnoreGone(inside.RouteDel(&route)); err != nil {
			return err
		}
	}
	return nil
}

// setOffloads acts on a device of the calling thread's network namespace.
func setOffloads(device string, wanted map[string]bool) error {
	if len(wanted) == 0 {
		return nil
	}
	handle, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer handle.Close()
	// The library (0.5.10) hands the kernel addresses that Go may have moved by then, and at times reads no names of
	// features at all: what is seen twice is true.
	for range 3 {
		if err = changeOffloads(handle, device, wanted); err == nil {
			return nil
		}
	}
	return fmt.Errorf("offloads of %s: %w", device, err)
}

func changeOffloads(handle *ethtool.Ethtool, device string, wanted map[string]bool) error {
	present, err := handle.Features(device)
	if err != nil {
		return err
	}
	change := map[string]bool{}
	for name, on := range wanted {
		if is, known := present[name]; known && is != on {
			change[name] = on
		}
	}
	if len(change) == 0 {
		return nil
	}
	return handle.Change(device, change)
}

// setSysctls writes through the server's /proc: net.* is that of the calling thread's namespace.
func (a *agent) setSysctls(wanted map[string]string) error {
	for key, value := range wanted {
		path := filepath.Join(a.proc, "sys", strings.ReplaceAll(key, ".", "/"))
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
			return fmt.Errorf("sysctl %s: %w", key, err)
		}
	}
	return nil
}

// guardPort lets nothing pass by a port that its hooks are still to settle.
func guardPort(at attachment) error {
	for _, want := range at.iface.Hooks {
		h, err := findHook(want.Type)
		if err != nil {
			return err
		}
		if g, is := h.(guardHook); is {
			if err := g.guarded(at); err != nil {
				return fmt.Errorf("hook %s: %w", want.Type, err)
			}
		}
	}
	return nil
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
	a.dropLeases(s)
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
