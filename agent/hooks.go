package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"flipflap.local/agent/docker"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/vishvananda/netlink"
)

// partOf gives the part that a plan's hook is for.
func (a *agent) partOf(hook string) (part.Part, error) {
	for _, p := range a.parts {
		if p.Name() == hook {
			return p, nil
		}
	}
	return nil, fmt.Errorf("hook %q is not known to this agent", hook)
}

// teller is the part that has addresses told; nil where there is none.
func (a *agent) teller() part.Teller {
	for _, p := range a.parts {
		if t, is := p.(part.Teller); is {
			return t
		}
	}
	return nil
}

func attachment(s *spec, iface ifaceSpec, c *docker.Container) part.Attachment {
	return part.Attachment{System: s.System, Name: s.Container, Instance: s.instance, Interface: iface, Container: c}
}

// eachHook runs the parts of an interface, and names the one that failed.
func (a *agent) eachHook(at part.Attachment, do func(part.Part, json.RawMessage) error) error {
	for _, want := range at.Interface.Hooks {
		p, err := a.partOf(want.Type)
		if err != nil {
			return err
		}
		if err := do(p, want.Args); err != nil {
			return fmt.Errorf("hook %s: %w", want.Type, err)
		}
	}
	return nil
}

// guardPort lets nothing pass by a port that its parts are still to settle.
func (a *agent) guardPort(at part.Attachment) error {
	return a.eachHook(at, func(p part.Part, args json.RawMessage) error { return p.Guarded(at, args) })
}

func (a *agent) runHooks(at part.Attachment) error {
	return a.eachHook(at, func(p part.Part, args json.RawMessage) error { return p.Attached(at, args) })
}

// detachChanged runs the parts of interfaces that a new spec does not have as they were.
func (a *agent) detachChanged(old, now *spec) error {
	same := map[string]string{}
	for _, iface := range now.Interfaces {
		same[iface.HostName] = identity(iface)
	}
	changed := *old
	changed.Interfaces = nil
	for _, iface := range old.Interfaces {
		if same[iface.HostName] != identity(iface) {
			changed.Interfaces = append(changed.Interfaces, iface)
		}
	}
	return a.runDetached(&changed)
}

// runDetached goes on where a part fails: the others have something to take away, too.
func (a *agent) runDetached(s *spec) error {
	var failed []error
	for _, iface := range s.Interfaces {
		at := attachment(s, iface, nil)
		at.HostLink, _ = hostLink(iface) // it may be gone
		for _, want := range iface.Hooks {
			p, err := a.partOf(want.Type)
			if err == nil {
				err = p.Detached(at, want.Args)
			}
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// hostLink gives the server's end of an interface as it is now; nil where it has none.
func hostLink(iface ifaceSpec) (netlink.Link, error) {
	if iface.Parent != nil || iface.Docker != nil {
		return nil, nil
	}
	link, err := netlink.LinkByName(iface.HostName)
	if kernel.HasNoLink(err) {
		return nil, nil
	}
	return link, err
}
