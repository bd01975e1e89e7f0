package ila

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	"flipflap.local/agent/docker"
	"flipflap.local/agent/part"
	"github.com/vishvananda/netlink"
)

// systems makes systems ones of their ILA network: their ports guarded, their identifiers registered.
type systems struct {
	part.Base
	host   part.Host
	engine *Engine
	byHand byHand
}

// Bundle is where components/kinds/ila puts what etcd wants to see.
const Bundle = "/etc/flipflap/ila.pem"

// New takes a registry's opener: nil for etcd.
func New(host part.Host, open Opener) part.Part {
	if open == nil {
		open = OpenEtcd(Bundle)
	}
	return &systems{host: host, engine: NewEngine(OptionsOf(host.Files(), open)), byHand: newByHand()}
}

// OptionsOf a server's files.
func OptionsOf(f part.Files, open Opener) Options {
	return Options{
		Programs: filepath.Join(f.Programs, "ila.bpf.o"), Pins: bpf.PinsOf(f.Bpffs, f.Stack, "ila"), Shared: bpf.SharedPins(f.Bpffs, f.Stack),
		Config: filepath.Join(f.Kinds, "ila.json"), Status: filepath.Join(f.Status, "ila"), Open: open,
	}
}

func (*systems) Name() string { return "ila" }

// Start follows containers that somebody starts by hand.
func (s *systems) Start(ctx context.Context) {
	go func() {
		for ctx.Err() == nil {
			_ = s.host.Docker().Follow(ctx, networkLabel, s.host.Wake, func(docker.Event) {
				s.host.Wake()
				// At the event itself docker may still call it running.
				time.AfterFunc(time.Second, s.host.Wake)
			})
			time.Sleep(time.Second)
		}
	}()
}

func (s *systems) Converge(ctx context.Context) error { return s.engine.Configure(ctx) }

func (s *systems) Again() { s.engine.Again() }

func (s *systems) Tick(context.Context) { s.engine.FollowUplink() }

func (s *systems) Settled(ctx context.Context) {
	s.reconcileByHand(ctx)
	s.engine.Settled()
}

// ipv6Of gives an interface's IPv6 address, without its length.
func ipv6Of(i contract.AttachInterface) (string, error) {
	for _, text := range i.Addresses {
		if prefix, err := netip.ParsePrefix(text); err == nil && prefix.Addr().Is6() {
			return prefix.Addr().String(), nil
		}
	}
	return "", errors.New("it has no IPv6 address")
}

// portNow gives the server's end as it is now: its name was given before it was known.
func portNow(at part.Attachment) (netlink.Link, error) {
	port, err := at.Port()
	if err != nil {
		return nil, err
	}
	return netlink.LinkByIndex(port.Attrs().Index)
}

func (s *systems) Guarded(at part.Attachment, _ json.RawMessage) error {
	device, err := portNow(at)
	if err != nil {
		return err
	}
	return s.engine.Guard(device)
}

func (s *systems) Attached(at part.Attachment, _ json.RawMessage) error {
	address, err := ipv6Of(at.Interface)
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(at.Interface.MAC)
	if err != nil {
		return err
	}
	device, err := portNow(at)
	if err != nil {
		return err
	}
	return s.engine.Attach(Port{
		System: at.System, Network: at.Interface.Network, Address: address, Device: device, MAC: mac, Instance: at.Instance,
	}, at.Fresh)
}

func (s *systems) Detached(at part.Attachment, _ json.RawMessage) error {
	address, err := ipv6Of(at.Interface)
	if err != nil {
		return err
	}
	return s.engine.Detach(address, at.HostLink, at.Interface.HostName)
}

func (s *systems) Look(at part.Attachment, _ json.RawMessage) (map[string]contract.Property, error) {
	address, err := ipv6Of(at.Interface)
	if err != nil {
		return nil, err
	}
	o := OptionsOf(s.host.Files(), nil)
	found := map[string]contract.Property{"neighbours": []string{}}
	if found["ila"], err = Look(o.Config, o.Pins, at.Interface.Network, address, at.HostLink); err != nil || at.HostLink == nil {
		return found, err
	}
	mac, err := net.ParseMAC(at.Interface.MAC)
	if err != nil {
		return nil, err
	}
	found["neighbours"], err = at.Neighbours.Permanent(at.HostLink.Attrs().Index, mac)
	return found, err
}
