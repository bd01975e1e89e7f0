// Package neighbour gives the server a permanent neighbour for each address of a system: no ARP or neighbour discovery before the
// first packet, and no answer of another to take it away.
package neighbour

import (
	"encoding/json"
	"fmt"
	"net"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/vishvananda/netlink"
)

type neighbours struct{ part.Base }

func New() part.Part { return neighbours{} }

func (neighbours) Name() string { return "neighbour" }

type arguments struct {
	Device string `json:"device"`
}

func each(at part.Attachment, args json.RawMessage, do func(*netlink.Neigh) error) error {
	var a arguments
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	device, err := netlink.LinkByName(a.Device)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Device, err)
	}
	mac, err := net.ParseMAC(at.Interface.MAC)
	if err != nil {
		return err
	}
	for _, text := range at.Interface.Addresses {
		ip, _, err := net.ParseCIDR(text)
		if err != nil {
			return err
		}
		neighbour := &netlink.Neigh{LinkIndex: device.Attrs().Index, State: netlink.NUD_PERMANENT, IP: ip, HardwareAddr: mac}
		if err := do(neighbour); err != nil {
			return fmt.Errorf("neighbour %s on %s: %w", ip, a.Device, err)
		}
	}
	return nil
}

func (neighbours) Attached(at part.Attachment, args json.RawMessage) error {
	return each(at, args, netlink.NeighSet)
}

func (neighbours) Detached(at part.Attachment, args json.RawMessage) error {
	err := each(at, args, func(n *netlink.Neigh) error { return kernel.IgnoreGone(netlink.NeighDel(n)) })
	if kernel.HasNoLink(err) {
		return nil
	}
	return err
}

func (neighbours) Look(at part.Attachment, args json.RawMessage) (map[string]contract.Property, error) {
	var a arguments
	if err := json.Unmarshal(args, &a); err != nil {
		return nil, err
	}
	mac, err := net.ParseMAC(at.Interface.MAC)
	if err != nil {
		return nil, err
	}
	index, err := kernel.LinkIndex(a.Device)
	if err != nil {
		return nil, err
	}
	found, err := at.Neighbours.Permanent(index, mac)
	return map[string]contract.Property{"neighbours": found}, err
}
