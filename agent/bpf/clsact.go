package bpf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// firstPriority, with ten for each place, tells our filters of clsact from others'; components/host/objects/ilaSite.ts takes those away
// that are left at an uplink.
const firstPriority = 49200

func priority(h Hook) uint16 { return uint16(firstPriority + 10*places[h.Name]) }

func (d Direction) parent() uint32 {
	return [...]uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS}[d]
}

// attachFilter is the way of kernels before 6.6. The qdisc stays with the device: others may use it too.
func attachFilter(h Hook, index int) error {
	qdisc := &netlink.GenericQdisc{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}, QdiscType: "clsact"}
	if err := netlink.QdiscAdd(qdisc); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("clsact: %w", err)
	}
	filter := &netlink.BpfFilter{
		FilterAttrs:  netlink.FilterAttrs{LinkIndex: index, Parent: h.Direction.parent(), Handle: 1, Protocol: unix.ETH_P_ALL, Priority: priority(h)},
		Fd:           h.Program.FD(),
		Name:         "flipflap-" + h.Name,
		DirectAction: true,
	}
	if err := netlink.FilterReplace(filter); err != nil {
		return fmt.Errorf("filter %s: %w", h.Name, err)
	}
	return nil
}

func hasFilter(h Hook, device netlink.Link) bool { return filterOf(h, device) != nil }

// filterOf gives a program's filter on a device; nil where there is none.
func filterOf(h Hook, device netlink.Link) *netlink.BpfFilter {
	filters, err := netlink.FilterList(device, h.Direction.parent())
	if err != nil {
		return nil
	}
	for _, f := range filters {
		if b, is := f.(*netlink.BpfFilter); is && b.Attrs().Priority == priority(h) && strings.HasPrefix(b.Name, "flipflap-"+h.Name) {
			return b
		}
	}
	return nil
}

func removeFilter(h Hook, device netlink.Link) {
	if f := filterOf(h, device); f != nil {
		_ = netlink.FilterDel(f) // it may have gone with its device
	}
}
