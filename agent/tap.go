package main

import (
	"context"
	"path/filepath"
	"strings"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Tap says where programs see an interface's packets before anything else does; nil where the device is gone. inside is the
// container's network.
func (a *agent) Tap(ctx context.Context, at part.Attachment, inside *netlink.Handle) (*contract.Tap, error) {
	want := at.Interface
	switch {
	case want.Parent != nil:
		return tapOnParent(want), nil
	case want.Docker != nil:
		return a.tapOfDocker(ctx, want, inside)
	case at.HostLink == nil:
		return nil, nil
	}
	return &contract.Tap{Device: want.HostName, Sends: "ingress"}, nil
}

// tapOnParent: the device is others', too.
func tapOnParent(want ifaceSpec) *contract.Tap {
	tap := &contract.Tap{Device: want.Parent.Device, Sends: "egress", MAC: want.MAC}
	if want.MAC == "" {
		for _, address := range want.Addresses {
			ip, _, _ := strings.Cut(address, "/")
			tap.Addresses = append(tap.Addresses, ip)
		}
	}
	return tap
}

// tapOfDocker finds the server's end by the number that the container's end has of it.
func (a *agent) tapOfDocker(ctx context.Context, want ifaceSpec, inside *netlink.Handle) (*contract.Tap, error) {
	end, err := inside.LinkByName(want.Name)
	if err != nil {
		return nil, err
	}
	tap := &contract.Tap{Sends: "ingress"}
	find := func() error {
		link, err := netlink.LinkByIndex(end.Attrs().ParentIndex)
		if err == nil {
			tap.Device = link.Attrs().Name
		} else if kernel.HasNoLink(err) {
			err = nil
		}
		return err
	}
	if want.Docker.GuardedBy != "" { // the server's own network
		err = find()
	} else {
		var path string
		if path, _, err = a.overlayNamespace(ctx, want.Docker.Network); err != nil {
			return nil, err
		}
		tap.Namespace = path
		ns, opened := netns.GetFromPath(filepath.Join(a.files.Proc, "1/root", path))
		if opened != nil {
			return nil, opened
		}
		defer ns.Close()
		err = kernel.InNamespace(ns, find)
	}
	if err != nil || tap.Device == "" {
		return nil, err
	}
	return tap, nil
}
