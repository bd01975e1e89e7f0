package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Of the contract, as the core calls them.
type (
	looked      = contract.Looked
	lookedIface = contract.LookedInterface
	lookedPort  = contract.LookedPort
)

// look gives what is there of every system with a spec whose container runs, by their names. Nothing is changed.
func (a *agent) look(ctx context.Context) ([]looked, error) {
	files, err := specFiles(a.specsDir)
	if err != nil {
		return nil, err
	}
	var (
		mu    sync.Mutex
		all   []looked
		group sync.WaitGroup
		turns = make(chan struct{}, 8)
		lists kernel.NeighbourLists
	)
	for system, path := range files {
		group.Add(1)
		turns <- struct{}{}
		go func() {
			defer func() { <-turns; group.Done() }()
			found, err := a.lookAt(ctx, path, &lists)
			if err != nil {
				found = &looked{Interfaces: map[string]lookedIface{}, Error: err.Error()}
			}
			if found == nil {
				return
			}
			found.System, found.Contract = system, contract.Version
			mu.Lock()
			defer mu.Unlock()
			all = append(all, *found)
		}()
	}
	group.Wait()
	sort.Slice(all, func(i, j int) bool { return all[i].System < all[j].System })
	return all, nil
}

// lookAt gives nil where the container does not run.
func (a *agent) lookAt(ctx context.Context, path string, lists *kernel.NeighbourLists) (*looked, error) {
	s, err := readSpec(path)
	if err != nil {
		return nil, err
	}
	c, err := a.docker.Inspect(ctx, s.Container)
	if err != nil || c == nil || !c.State.Running {
		return nil, err
	}
	found := &looked{Interfaces: map[string]lookedIface{}, Sysctls: map[string]string{}, Processes: c.Processes()}
	return found, a.Within(c, func(ns netns.NsHandle, inside *netlink.Handle) error {
		if err := kernel.AddressList.MustBeFew(ns); err != nil {
			return err
		}
		for _, want := range s.Interfaces {
			at := attachment(s, want, c)
			at.Neighbours = lists
			iface, err := a.lookAtInterface(ctx, at, inside)
			if err != nil {
				return fmt.Errorf("interface %s: %w", want.Name, err)
			}
			if iface != nil {
				found.Interfaces[want.Name] = *iface
			}
		}
		if found.Nftables, err = a.lookAtNftables(s, ns); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		if len(s.Prohibited) > 0 {
			if found.Prohibited, err = lookAtProhibited(inside); err != nil {
				return err
			}
		}
		return kernel.InNamespace(ns, func() error {
			for name, iface := range found.Interfaces {
				if iface.Offloads, err = offloadsOf(name); err != nil {
					return err
				}
				found.Interfaces[name] = iface
			}
			for key := range s.Sysctls {
				text, err := os.ReadFile(filepath.Join(a.files.Proc, "sys", strings.ReplaceAll(key, ".", "/")))
				if errors.Is(err, os.ErrNotExist) {
					text, err = []byte("0"), nil
				}
				if err != nil {
					return err
				}
				found.Sysctls[key] = strings.TrimSpace(string(text))
			}
			return nil
		})
	})
}

// lookAtInterface gives nil where the container has no such interface.
func (a *agent) lookAtInterface(ctx context.Context, at part.Attachment, inside *netlink.Handle) (*lookedIface, error) {
	want := at.Interface
	device, err := inside.LinkByName(want.Name)
	if kernel.HasNoLink(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	inner := device.Attrs()
	found := &lookedIface{MAC: inner.HardwareAddr.String(), MTUBytes: inner.MTU, Up: inner.Flags&net.FlagUp != 0, Addresses: []string{}, Routes: []string{}, Parts: map[string]contract.Property{}}
	addresses, err := inside.AddrList(device, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		switch {
		case address.Scope != int(netlink.SCOPE_UNIVERSE):
		case want.DHCP && kernel.HasEnd(address):
			found.Addresses = append(found.Addresses, "dhcp")
		default:
			found.Addresses = append(found.Addresses, address.IPNet.String())
		}
	}
	routes, err := kernel.OurRoutes(inside, device)
	if err != nil {
		return nil, err
	}
	for _, route := range routes {
		to := "default"
		if route.Dst != nil {
			if ones, _ := route.Dst.Mask.Size(); ones > 0 {
				to = route.Dst.String()
			}
		}
		found.Routes = append(found.Routes, fmt.Sprintf("%s via %s", to, route.Gw))
	}
	sort.Strings(found.Addresses)
	sort.Strings(found.Routes)
	found.Parent = parentOf(device)
	if at.HostLink, err = hostLink(want); err != nil {
		return nil, err
	}
	if at.HostLink != nil {
		if found.Port, err = lookAtPort(at.HostLink); err != nil {
			return nil, err
		}
	}
	if found.Tap, err = a.Tap(ctx, at, inside); err != nil {
		return nil, err
	}
	err = a.eachHook(at, func(p part.Part, args json.RawMessage) error {
		properties, err := p.Look(at, args)
		maps.Copy(found.Parts, properties)
		return err
	})
	return found, err
}

func lookAtPort(host netlink.Link) (*lookedPort, error) {
	at := host.Attrs()
	found := &lookedPort{MAC: at.HardwareAddr.String(), MTUBytes: at.MTU, Up: at.Flags&net.FlagUp != 0}
	if at.MasterIndex != 0 {
		bridge, err := netlink.LinkByIndex(at.MasterIndex)
		if err != nil {
			return nil, err
		}
		found.Bridge = bridge.Attrs().Name
		learning, err := os.ReadFile(filepath.Join("/sys/class/net", at.Name, "brport/learning"))
		if err != nil {
			return nil, err
		}
		found.Learns = strings.TrimSpace(string(learning)) == "1"
		floods, err := os.ReadFile(filepath.Join("/sys/class/net", at.Name, "brport/unicast_flood"))
		if err != nil {
			return nil, err
		}
		found.Floods = strings.TrimSpace(string(floods)) == "1"
	}
	var err error
	found.Offloads, err = offloadsOf(at.Name)
	return found, err
}

// offloadsOf acts on a device of the calling thread's network namespace.
func offloadsOf(device string) (map[string]bool, error) {
	handle, err := ethtool.NewEthtool()
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	return handle.Features(device)
}
