// Package part is what the agent's parts are to its core: what kinds and capabilities want done beside the attach itself.
package part

import (
	"context"
	"encoding/json"
	"errors"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/docker"
	"flipflap.local/agent/kernel"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Attachment is what a part is told of one interface of a system.
type Attachment struct {
	System    string
	Name      string // of the container
	Instance  string // of the container's life
	Interface contract.AttachInterface
	Container *docker.Container // nil where it has stopped
	// The server's end; nil where it is gone, and of interfaces that have none: those on a device of the server, and docker's own.
	HostLink netlink.Link
	Fresh    bool // the container has not been attached since it started
	// Of a look, all systems' at once; else FreshNeighbours.
	Neighbours *kernel.NeighbourLists
}

// Port gives the server's end to a part that can do nothing without.
func (at Attachment) Port() (netlink.Link, error) {
	if at.HostLink == nil {
		return nil, errors.New("the interface has no end on the server")
	}
	return at.HostLink, nil
}

// Part is what a plan's hooks of one name are done by. Methods may be called at once for several systems.
type Part interface {
	// Name is what a plan's hooks call it.
	Name() string
	// Start begins to follow what the part depends on, until ctx ends.
	Start(ctx context.Context)
	// Converge is called when something may have changed: files of kinds, containers, devices. What fails is tried again each second.
	Converge(ctx context.Context) error
	// Again gives the kernel everything once more: somebody may have changed it.
	Again()
	// Tick is called each second.
	Tick(ctx context.Context)
	// Guarded comes before a port is up: nothing may pass by one that is still to be settled.
	Guarded(at Attachment, args json.RawMessage) error
	// Attached comes once the interface is up, and again at every look at the system: it converges.
	Attached(at Attachment, args json.RawMessage) error
	// Detached comes when the container has stopped or its plan is gone; it succeeds where there is nothing left to take away.
	Detached(at Attachment, args json.RawMessage) error
	// Look gives what is there, by the kernel. Another process asks: nothing has been started in it.
	Look(at Attachment, args json.RawMessage) (map[string]contract.Property, error)
	// Settled comes when every system that runs has been tried.
	Settled(ctx context.Context)
}

// Base does nothing. Parts embed it, and have what they need.
type Base struct{}

func (Base) Start(context.Context)                      {}
func (Base) Converge(context.Context) error             { return nil }
func (Base) Again()                                     {}
func (Base) Tick(context.Context)                       {}
func (Base) Guarded(Attachment, json.RawMessage) error  { return nil }
func (Base) Attached(Attachment, json.RawMessage) error { return nil }
func (Base) Detached(Attachment, json.RawMessage) error { return nil }
func (Base) Look(Attachment, json.RawMessage) (map[string]contract.Property, error) {
	return nil, nil
}
func (Base) Settled(context.Context) {}

// Told is what a system of its network tells an interface: an address, which the teller keeps on it, and a way to others.
type Told struct {
	Is     func(netlink.Addr) bool // whether an address is the told one
	Routes []contract.AttachRoute
}

// Teller is a part that has addresses told to interfaces that ask for one.
type Teller interface {
	Told(at Attachment, inside *netlink.Handle, link netlink.Link) (*Told, error)
	// Keep lets go of what a system's plan does not ask for any more.
	Keep(system string, plan []contract.AttachInterface)
}

// Waiting is no failure of an attach: it is done when another system has told what is missing.
type Waiting struct{ Why error }

func (w *Waiting) Error() string { return w.Why.Error() }

// IsWaiting tells it from a failure.
func IsWaiting(err error) bool {
	var waiting *Waiting
	return errors.As(err, &waiting)
}

// Host is what the core does for its parts.
type Host interface {
	// Files names the server's folders.
	Files() Files
	Docker() *docker.Client
	// Wake asks for a look at everything.
	Wake()
	// Tell writes what keeps a part of this server from working where a check finds it, and logs it once.
	Tell(part string, err error)
	// Inspect gives nil where there is no such container.
	Inspect(ctx context.Context, name string) (*docker.Container, error)
	// Within opens the network of a container that runs.
	Within(c *docker.Container, work func(ns netns.NsHandle, inside *netlink.Handle) error) error
	// Attach attaches a container that nobody declared; false where it does not run. Release lets go of it.
	Attach(ctx context.Context, plan contract.AttachPlan) bool
	Release(plan contract.AttachPlan) error
}

// Files are the folders that the core and its parts share.
type Files struct {
	Stack    string
	Kinds    string // what kinds have to tell the agent beside the systems' plans
	Status   string // what the agent has to say
	Programs string // eBPF objects
	Bpffs    string
	Proc     string // the server's
}
