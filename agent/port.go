package main

import (
	"fmt"
	"net"

	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
)

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

// hostEnd gives the server's end; a pair whose other end is not in this container is made anew.
func (a *agent) hostEnd(s *spec, want ifaceSpec, mac net.HardwareAddr, ns netns.NsHandle, inside *netlink.Handle) (netlink.Link, error) {
	mark := alias(a.files.Stack, s.System, want.Network)
	host, err := netlink.LinkByName(want.HostName)
	if err != nil && !kernel.HasNoLink(err) {
		return nil, err
	}
	if err == nil {
		// The kernel takes no alias at creation: one in our group without is ours, cut off in between.
		cutOff := host.Attrs().Alias == "" && host.Type() == "veth" && host.Attrs().Group == uint32(a.deviceGroup)
		if host.Attrs().Alias != mark && !cutOff {
			return nil, fmt.Errorf("%s is taken by a link that is not ours (alias %q)", want.HostName, host.Attrs().Alias)
		}
		if peer, peerErr := inside.LinkByIndex(host.Attrs().ParentIndex); peerErr == nil && host.Attrs().Alias == mark && peer.Attrs().Name == want.Name && peer.Type() == "veth" && peer.Attrs().ParentIndex == host.Attrs().Index {
			if host.Attrs().Group == uint32(a.deviceGroup) {
				return host, nil
			}
			return host, netlink.LinkSetGroup(host, int(a.deviceGroup))
		}
		if err := kernel.IgnoreGone(netlink.LinkDel(host)); err != nil {
			return nil, err
		}
	}
	if _, err := inside.LinkByName(want.Name); err == nil {
		return nil, fmt.Errorf("the container already has an interface %s that is not ours", want.Name)
	}
	pair := &netlink.Veth{
		LinkAttrs:        netlink.LinkAttrs{Name: want.HostName, MTU: want.MTUBytes, Group: uint32(a.deviceGroup)},
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
