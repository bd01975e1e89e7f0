package ila

import (
	"errors"
	"fmt"
	"net"
	"time"

	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// encap is the kernel's light-weight tunnel of type ILA (include/uapi/linux/ila.h), which the netlink library does not know.
type encap struct {
	locator  [8]byte
	checksum uint8
	ident    uint8
	hook     uint8
}

const (
	encapILA = 3

	attrLocator  = 1
	attrChecksum = 7
	attrIdent    = 8
	attrHook     = 9

	identLUID      = 1
	identUseFormat = 32

	hookOutput = 0
	hookInput  = 1
)

// kernelChecksum: the kernel's numbers of the modes.
var kernelChecksum = map[Mode]uint8{adjustTransport: 0, neutral: 1, noAction: 2, neutralAuto: 3}

func (e *encap) Type() int { return encapILA }

func (e *encap) Encode() ([]byte, error) {
	var all []byte
	add := func(kind int, value []byte) {
		head := make([]byte, 4)
		nl.NativeEndian().PutUint16(head, uint16(4+len(value)))
		nl.NativeEndian().PutUint16(head[2:], uint16(kind))
		all = append(append(all, head...), value...)
		for len(all)%4 != 0 {
			all = append(all, 0)
		}
	}
	add(attrLocator, e.locator[:])
	add(attrChecksum, []byte{e.checksum})
	add(attrIdent, []byte{e.ident})
	add(attrHook, []byte{e.hook})
	return all, nil
}

func (e *encap) Decode([]byte) error            { return nil }
func (e *encap) String() string                 { return fmt.Sprintf("ila %x", e.locator) }
func (e *encap) Equal(other netlink.Encap) bool { o, is := other.(*encap); return is && *o == *e }

func host(a Address) *net.IPNet {
	bytes := a.bytes()
	return &net.IPNet{IP: net.IP(bytes[:]), Mask: net.CIDRMask(128, 128)}
}

func replaceRoute(r *netlink.Route, e *encap) error {
	r.Protocol = kernel.RouteProtocol
	if e != nil {
		r.Encap = e
	}
	return netlink.RouteReplace(r)
}

// routeOut is the kernel backend's way to a system elsewhere.
func routeOut(to Address, at *server, mode Mode, translate bool, uplink int) error {
	route := &netlink.Route{Dst: host(to), Gw: at.nextHop.AsSlice(), LinkIndex: uplink}
	if !translate {
		return replaceRoute(route, nil)
	}
	ident := uint8(identLUID)
	if mode == neutral {
		ident = identUseFormat
	}
	return replaceRoute(route, &encap{at.locator, kernelChecksum[mode], ident, hookOutput})
}

// routeIn is the kernel backend's way from the uplink to a system here: one route a system, since the kernel forwards by
// the route that translates. In mode neutral the kernel takes no route with the C bit in its prefix, and translates in
// its netfilter hook (translateAll); the system's own route does the rest.
func routeIn(wire, sir Address, mode Mode, device int) error {
	if mode == neutral || wire == sir {
		return nil
	}
	return replaceRoute(&netlink.Route{Dst: host(wire), LinkIndex: device}, &encap{sir.Locator, kernelChecksum[mode], identLUID, hookInput})
}

// routeHere is the server's own way to a system.
func routeHere(to Address, device int) error {
	return replaceRoute(&netlink.Route{Dst: host(to), LinkIndex: device}, nil)
}

// dropRoute takes a route of ours away; device 0 stands for any.
func dropRoute(to Address, device int) error {
	return kernel.IgnoreGone(netlink.RouteDel(&netlink.Route{Dst: host(to), LinkIndex: device, Protocol: kernel.RouteProtocol}))
}

// The kernel's translation table (genetlink family "ila"), for mode neutral.
const (
	ilaCommandAdd    = 1
	ilaCommandDelete = 2

	attrLocatorMatch = 3
)

func translateAll(locator, sir [8]byte, mode Mode, add bool) error {
	family, err := netlink.GenlFamilyGet("ila")
	if err != nil {
		return fmt.Errorf("the kernel's ILA table: %w", err)
	}
	command := uint8(ilaCommandDelete)
	if add {
		command = ilaCommandAdd
	}
	request := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	request.AddData(&nl.Genlmsg{Command: command, Version: 1})
	request.AddData(nl.NewRtAttr(attrLocator, sir[:]))
	request.AddData(nl.NewRtAttr(attrLocatorMatch, locator[:]))
	request.AddData(nl.NewRtAttr(attrChecksum, []byte{kernelChecksum[mode]}))
	request.AddData(nl.NewRtAttr(attrIdent, []byte{identUseFormat}))
	_, err = request.Execute(unix.NETLINK_GENERIC, 0)
	if add && errors.Is(err, unix.EEXIST) || !add && errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// showLocator puts a system's locator address on the uplink as report S0 had it: deprecated, so that nothing chooses it as
// a source, and without the local route that would keep packets from being translated.
func showLocator(wire Address, uplink netlink.Link, on bool) error {
	address := &netlink.Addr{IPNet: host(wire), PreferedLft: 0, ValidLft: int(^uint32(0) >> 1), Flags: unix.IFA_F_NODAD | unix.IFA_F_NOPREFIXROUTE}
	if !on {
		return kernel.IgnoreGone(netlink.AddrDel(uplink, address))
	}
	present, err := netlink.AddrList(uplink, netlink.FAMILY_V6)
	if err != nil {
		return err
	}
	for _, one := range present {
		if one.IP.Equal(address.IP) {
			return dropLocalRoute(wire, uplink, 1)
		}
	}
	if err := netlink.AddrReplace(uplink, address); err != nil {
		return err
	}
	// The kernel makes the local route a little later, by a work queue.
	return dropLocalRoute(wire, uplink, 100)
}

func dropLocalRoute(wire Address, uplink netlink.Link, tries int) error {
	route := &netlink.Route{Dst: host(wire), LinkIndex: uplink.Attrs().Index, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
	for ; ; tries-- {
		err := netlink.RouteDel(route)
		if err == nil || kernel.IgnoreGone(err) != nil || tries <= 1 {
			return kernel.IgnoreGone(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
