package main

import (
	"fmt"
	"maps"
	"net"
	"slices"

	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A default route is wider, and what a program adds is in a table of its own or has a lower metric.
const prohibitedMetric = 4096

// prohibitedRoutes gives those of ours, by their prefix.
func prohibitedRoutes(inside *netlink.Handle) (map[string]netlink.Route, error) {
	filter := &netlink.Route{Protocol: kernel.RouteProtocol, Type: unix.RTN_PROHIBIT}
	routes, err := inside.RouteListFiltered(netlink.FAMILY_ALL, filter, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TYPE)
	if err != nil {
		return nil, fmt.Errorf("prohibited prefixes: %w", err)
	}
	found := map[string]netlink.Route{}
	for _, route := range routes {
		if route.Dst != nil {
			found[route.Dst.String()] = route
		}
	}
	return found, nil
}

// settleProhibited refuses these prefixes, and no others.
func settleProhibited(prefixes []string, inside *netlink.Handle) error {
	present, err := prohibitedRoutes(inside)
	if err != nil {
		return err
	}
	for _, text := range prefixes {
		_, prefix, err := net.ParseCIDR(text)
		if err != nil {
			return err
		}
		route := netlink.Route{Dst: prefix, Type: unix.RTN_PROHIBIT, Protocol: kernel.RouteProtocol, Priority: prohibitedMetric}
		if err := inside.RouteReplace(&route); err != nil {
			return fmt.Errorf("prohibited prefix %s: %w", text, err)
		}
		delete(present, prefix.String())
	}
	for _, route := range present {
		if err := kernel.IgnoreGone(inside.RouteDel(&route)); err != nil {
			return err
		}
	}
	return nil
}

func lookAtProhibited(inside *netlink.Handle) ([]string, error) {
	routes, err := prohibitedRoutes(inside)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(routes)), nil
}
