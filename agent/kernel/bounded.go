package kernel

import (
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// LimitedList is what the kernel is asked to list of a network, and how much of it we read. A tenant can fill its network with as
// much as it likes, and what is read of it is held in memory. So it is counted before: the kernel sends a list in parts, and we stop
// reading above these numbers.
type LimitedList struct {
	what    string
	request int
	most    int
}

var (
	LinkList = LimitedList{"interfaces", unix.RTM_GETLINK, 1 << 10}
	// A network in which nobody has made anything yet.
	OnlyLoopback = LimitedList{"interfaces", unix.RTM_GETLINK, 1}
	AddressList  = LimitedList{"addresses", unix.RTM_GETADDR, 1 << 12}
)

// Of our own protocol; a system that is a router may have as many others as it has.
const mostRoutes = 1 << 12

func tooMany(most int, what string) error {
	return fmt.Errorf("its network holds more than %d %s: take them away", most, what)
}

// MustBeFew refuses a network that holds more of them than any declaration asks for.
func (list LimitedList) MustBeFew(ns netns.NsHandle) error {
	socket, err := nl.GetNetlinkSocketAt(ns, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer socket.Close()
	if err := socket.SetReceiveTimeout(&unix.Timeval{Sec: 2}); err != nil {
		return err
	}
	request := nl.NewNetlinkRequest(list.request, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	if err := socket.Send(request); err != nil {
		return err
	}
	for count := 0; count <= list.most; {
		messages, from, err := socket.Receive()
		if err != nil {
			return fmt.Errorf("%s: %w", list.what, err)
		}
		if from.Pid != nl.PidKernel {
			continue // a process of the tenant's, which may send to any socket in its network
		}
		for _, message := range messages {
			switch message.Header.Type {
			case unix.NLMSG_DONE:
				return nil
			case unix.NLMSG_ERROR:
				return fmt.Errorf("%s: the kernel does not list them", list.what)
			}
			count++
		}
	}
	return tooMany(list.most, list.what)
}

// OurRoutes by a device, in a container or a server.
func OurRoutes(in *netlink.Handle, link netlink.Link) ([]netlink.Route, error) {
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Protocol: RouteProtocol}
	var routes []netlink.Route
	err := in.RouteListFilteredIter(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_PROTOCOL, func(route netlink.Route) bool {
		routes = append(routes, route)
		return len(routes) <= mostRoutes
	})
	if err == nil && len(routes) > mostRoutes {
		err = tooMany(mostRoutes, "routes of ours")
	}
	return routes, err
}
