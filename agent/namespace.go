package main

import (
	"fmt"
	"path/filepath"

	"flipflap.local/agent/docker"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func (a *agent) namespaceOfContainer(c *docker.Container) (netns.NsHandle, error) {
	ns, err := netns.GetFromPath(filepath.Join(a.files.Proc, fmt.Sprint(c.State.Pid), "ns", "net"))
	if err != nil {
		return ns, fmt.Errorf("the container's network namespace: %w", err)
	}
	return ns, nil
}

// Within opens the network of a container that runs for as long as work does.
func (a *agent) Within(c *docker.Container, work func(ns netns.NsHandle, inside *netlink.Handle) error) error {
	ns, err := a.namespaceOfContainer(c)
	if err != nil {
		return err
	}
	defer ns.Close()
	inside, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer inside.Close()
	return work(ns, inside)
}
