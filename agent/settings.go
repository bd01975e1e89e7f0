package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"flipflap.local/agent/kernel"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

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

// setAddresses takes unwanted addresses away first: with an address of a subnet the kernel takes its
// secondaries too (promote_secondaries is off by default).
func setAddresses(inside *netlink.Handle, link netlink.Link, wanted []string, isLeased func(netlink.Addr) bool) error {
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
		if keep[address.IPNet.String()] != nil || address.IP.IsLinkLocalUnicast() || isLeased(address) {
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

// setRoutes; keepsDefault leaves an IPv4 default route that is there to who told it.
func setRoutes(inside *netlink.Handle, link netlink.Link, wanted []routeSpec, keepsDefault bool) error {
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
	present, err := kernel.OurRoutes(inside, link)
	if err != nil {
		return err
	}
	for _, route := range present {
		isDefault := route.Dst == nil || route.Dst.String() == "0.0.0.0/0"
		if route.Dst != nil && keep[route.Dst.String()] || keepsDefault && isDefault && route.Gw.To4() != nil {
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
		path := filepath.Join(a.files.Proc, "sys", strings.ReplaceAll(key, ".", "/"))
		// Without IPv6 nothing of it is on.
		if err := os.WriteFile(path, []byte(value), 0o644); err != nil && (value != "0" || !errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("sysctl %s: %w", key, err)
		}
	}
	return nil
}
