package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/netip"

	"flipflap.local/agent/ila"
	"github.com/vishvananda/netlink"
)

// ilaHook makes a system one of its ILA network: its port guarded, its identifier registered.
type ilaHook struct{}

// ipv6Of gives an interface's IPv6 address, without its length.
func ipv6Of(i ifaceSpec) (string, error) {
	for _, text := range i.Addresses {
		if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is6() {
			return prefix.Addr().String(), nil
		}
	}
	return "", errors.New("it has no IPv6 address")
}

// guarded comes before the port is up.
func (ilaHook) guarded(at attachment) error {
	if at.ila == nil {
		return errors.New("this agent was started without ILA")
	}
	device, err := netlink.LinkByIndex(at.hostLink.Attrs().Index)
	if err != nil {
		return err
	}
	return at.ila.Guard(device)
}

func (ilaHook) attached(at attachment, _ json.RawMessage) error {
	if at.ila == nil {
		return errors.New("this agent was started without ILA")
	}
	address, err := ipv6Of(at.iface)
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(at.iface.MAC)
	if err != nil {
		return err
	}
	// The link as it is now: its name was given before it was known.
	device, err := netlink.LinkByIndex(at.hostLink.Attrs().Index)
	if err != nil {
		return err
	}
	return at.ila.Attach(ila.Port{
		System: at.spec.System, Network: at.iface.Network, Address: address, Device: device, MAC: mac, Instance: at.spec.instance,
	}, at.fresh)
}

func (ilaHook) detached(at attachment, _ json.RawMessage) error {
	address, err := ipv6Of(at.iface)
	if err != nil || at.ila == nil {
		return err
	}
	return at.ila.Detach(address, at.hostLink, at.iface.HostName)
}
