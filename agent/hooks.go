package main

import (
	"encoding/json"
	"fmt"
	"net"

	"flipflap.local/agent/ila"
	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netlink"
)

// attachment is what a hook is told: the system, one of its interfaces, and the server's end of it (nil where it is gone).
type attachment struct {
	spec     *spec
	iface    ifaceSpec
	hostLink netlink.Link
	fresh    bool      // the container has not been attached since it started
	shortcut *shortcut // nil where the server has none
	ila      *ila.Engine
}

// hook is what a kind plugs into the attach. attached runs in the server's network namespace after the
// interface is up, and again at every reconcile: it converges. detached runs when the container has
// stopped or the spec is gone; it succeeds where there is nothing left to take away.
type hook interface {
	attached(at attachment, args json.RawMessage) error
	detached(at attachment, args json.RawMessage) error
}

// guardHook is a hook that has something to do before a port is up.
type guardHook interface {
	guarded(at attachment) error
}

// hooks by the name that a spec gives them. A kind that needs one adds its line here.
var hooks = map[string]hook{
	"advertised": advertisedHook{},
	"ila":        ilaHook{},
	"neighbour":  neighbourHook{},
}

func findHook(name string) (hook, error) {
	if h, ok := hooks[name]; ok {
		return h, nil
	}
	return nil, fmt.Errorf("hook %q is not known to this agent", name)
}

// neighbourHook gives the server a permanent neighbour for each address of the system: no ARP or
// neighbour discovery before the first packet, and no answer of another to take it away.
type neighbourHook struct{}

type neighbourArgs struct {
	Device string `json:"device"`
}

func (neighbourHook) each(at attachment, args json.RawMessage, do func(*netlink.Neigh) error) error {
	var a neighbourArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	device, err := netlink.LinkByName(a.Device)
	if err != nil {
		return fmt.Errorf("%s: %w", a.Device, err)
	}
	mac, err := net.ParseMAC(at.iface.MAC)
	if err != nil {
		return err
	}
	for _, text := range at.iface.Addresses {
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

func (h neighbourHook) attached(at attachment, args json.RawMessage) error {
	return h.each(at, args, netlink.NeighSet)
}

func (h neighbourHook) detached(at attachment, args json.RawMessage) error {
	var missing netlink.LinkNotFoundError
	err := h.each(at, args, func(n *netlink.Neigh) error { return kernel.IgnoreGone(netlink.NeighDel(n)) })
	if asLinkNotFound(err, &missing) {
		return nil
	}
	return err
}
