package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

var macvlanModes = map[string]netlink.MacvlanMode{
	"bridge":   netlink.MACVLAN_MODE_BRIDGE,
	"private":  netlink.MACVLAN_MODE_PRIVATE,
	"vepa":     netlink.MACVLAN_MODE_VEPA,
	"passthru": netlink.MACVLAN_MODE_PASSTHRU,
}

var ipvlanFlags = map[string]netlink.IPVlanFlag{
	"bridge":  netlink.IPVLAN_FLAG_BRIDGE,
	"private": netlink.IPVLAN_FLAG_PRIVATE,
	"vepa":    netlink.IPVLAN_FLAG_VEPA,
}

// lookedParent is what an interface sits on; it has the fields of its spec.
type lookedParent = contract.LookedParent

// parentOf tells what an interface sits on; nil where it sits on nothing of the server.
func parentOf(link netlink.Link) *lookedParent {
	found := &lookedParent{Driver: link.Type()}
	switch on := link.(type) {
	case *netlink.Macvlan:
		for mode, value := range macvlanModes {
			if on.Mode == value {
				found.Mode = mode
			}
		}
	case *netlink.IPVlan:
		for mode, value := range ipvlanFlags {
			if on.Flag == value {
				found.Mode = mode
			}
		}
	default:
		return nil
	}
	// In another namespace than its parent it names that by the number alone.
	if parent, err := netlink.LinkByIndex(link.Attrs().ParentIndex); err == nil {
		found.Device = parent.Attrs().Name
	}
	return found
}

// attachToParent makes the container an interface on a device of the server.
func (a *agent) attachToParent(s *spec, at part.Attachment, ns netns.NsHandle, inside *netlink.Handle) error {
	want := at.Interface
	var mac net.HardwareAddr
	if want.MAC != "" {
		parsed, err := net.ParseMAC(want.MAC)
		if err != nil {
			return err
		}
		mac = parsed
	}
	link, err := a.onParent(s, want, mac, ns, inside)
	if err != nil {
		return err
	}
	return a.settle(at, ns, inside, link, mac)
}

// onParent gives the interface; one of ours that sits elsewhere, or otherwise, is made anew.
func (a *agent) onParent(s *spec, want ifaceSpec, mac net.HardwareAddr, ns netns.NsHandle, inside *netlink.Handle) (netlink.Link, error) {
	a.parents.Store(want.Parent.Device, true)
	parent, err := netlink.LinkByName(want.Parent.Device)
	if err != nil {
		return nil, fmt.Errorf("parent %s: %w", want.Parent.Device, err)
	}
	mark := alias(a.files.Stack, s.System, want.Network)
	present, err := inside.LinkByName(want.Name)
	if err != nil && !kernel.HasNoLink(err) {
		return nil, err
	}
	if err == nil {
		now := parentOf(present)
		if now != nil && *now == lookedParent(*want.Parent) && present.Attrs().ParentIndex == parent.Attrs().Index {
			return present, inside.LinkSetAlias(present, mark)
		}
		// The kernel takes no alias at creation: one without is ours, cut off in between.
		if present.Attrs().Alias != mark && (now == nil || present.Attrs().Alias != "") {
			return nil, fmt.Errorf("the container already has an interface %s that is not ours", want.Name)
		}
		if err := kernel.IgnoreGone(inside.LinkDel(present)); err != nil {
			return nil, err
		}
	}
	attrs := netlink.LinkAttrs{Name: want.Name, MTU: want.MTUBytes, ParentIndex: parent.Attrs().Index, HardwareAddr: mac, Namespace: netlink.NsFd(int(ns))}
	var made netlink.Link
	if want.Parent.Driver == "ipvlan" {
		made = &netlink.IPVlan{LinkAttrs: attrs, Mode: netlink.IPVLAN_MODE_L2, Flag: ipvlanFlags[want.Parent.Mode]}
	} else {
		made = &netlink.Macvlan{LinkAttrs: attrs, Mode: macvlanModes[want.Parent.Mode]}
	}
	if err := netlink.LinkAdd(made); err != nil {
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EBUSY) {
			err = fmt.Errorf("another interface has it in a way that leaves no room (passthru, or another driver): where that is to go in this up, take it away by an up of its own first: %w", err)
		}
		return nil, fmt.Errorf("%s on %s: %w", want.Parent.Driver, want.Parent.Device, err)
	}
	link, err := inside.LinkByName(want.Name)
	if err != nil {
		return nil, err
	}
	return link, inside.LinkSetAlias(link, mark)
}

// followParents looks again at everything when a device is gone that interfaces sit on: the kernel takes those with it, and
// says so to nobody. What fails for want of the device is tried again by itself.
func (a *agent) followParents(ctx context.Context) {
	for ctx.Err() == nil {
		links, stop := make(chan netlink.LinkUpdate, 256), make(chan struct{})
		if err := netlink.LinkSubscribe(links, stop); err != nil {
			log.Printf("links: %v", err)
		} else {
			a.followLinks(ctx, links)
			close(stop)
		}
		time.Sleep(time.Second)
		a.wake() // something may have been missed
	}
}

func (a *agent) followLinks(ctx context.Context, links <-chan netlink.LinkUpdate) {
	for {
		select {
		case <-ctx.Done():
			return
		case update, more := <-links:
			if !more {
				return
			}
			if update.Header.Type != unix.RTM_DELLINK {
				continue
			}
			if _, isParent := a.parents.Load(update.Link.Attrs().Name); isParent {
				a.wake()
			}
		}
	}
}

// detachFromParents takes away what sits on devices of the server and is ours, but for what the plan has under the same name
// in the same network: marks by names.
func (a *agent) detachFromParents(s *spec, ns netns.NsHandle, inside *netlink.Handle, keep map[string]string) error {
	if err := kernel.LinkList.MustBeFew(ns); err != nil {
		return err
	}
	links, err := inside.LinkList()
	if err != nil {
		return err
	}
	for _, link := range links {
		at := link.Attrs()
		if parentOf(link) == nil || keep[at.Name] == at.Alias || !strings.HasPrefix(at.Alias, alias(a.files.Stack, s.System, "")) {
			continue
		}
		if err := kernel.IgnoreGone(inside.LinkDel(link)); err != nil {
			return err
		}
	}
	return nil
}

// detachRunning does so in a container that still runs; with the container they go by themselves.
func (a *agent) detachRunning(s *spec) error {
	hasParent := false
	for _, iface := range s.Interfaces {
		hasParent = hasParent || iface.Parent != nil
	}
	if !hasParent || a.docker == nil {
		return nil
	}
	c, err := a.docker.Inspect(context.Background(), s.Container)
	if err != nil || c == nil || !c.State.Running {
		return nil
	}
	err = a.Within(c, func(ns netns.NsHandle, inside *netlink.Handle) error { return a.detachFromParents(s, ns, inside, nil) })
	if errors.Is(err, os.ErrNotExist) {
		return nil // it went meanwhile
	}
	return err
}
