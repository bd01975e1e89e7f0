package main

import (
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func (a *agent) namespaceOfContainer(c *container) (netns.NsHandle, error) {
	ns, err := netns.GetFromPath(filepath.Join(a.proc, fmt.Sprint(c.State.Pid), "ns", "net"))
	if err != nil {
		return ns, fmt.Errorf("the container's network namespace: %w", err)
	}
	return ns, nil
}

// inContainer opens the network of a container that runs for as long as work does.
func (a *agent) inContainer(c *container, work func(ns netns.NsHandle, inside *netlink.Handle) error) error {
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

// inNamespace runs work on a thread of the given network namespace. The thread is never given back
// where the way home fails: Go ends a locked thread with its goroutine.
func inNamespace(ns netns.NsHandle, work func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			result <- err
			return
		}
		defer home.Close()
		if err := netns.Set(ns); err != nil {
			result <- err
			return
		}
		err = work()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
