package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/ila"
	"github.com/cilium/ebpf"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// looked is what is there of a system that runs: what a check compares with its spec.
// components/host/objects/attachSpec.ts reads it; the field names are the contract.
type looked struct {
	System     string                 `json:"system"`
	Interfaces map[string]lookedIface `json:"interfaces"`
	Sysctls    map[string]string      `json:"sysctls"`
	Processes  int64                  `json:"processes"`
	Nftables   string                 `json:"nftables,omitempty"` // as declared, changed
	Error      string                 `json:"error,omitempty"`
}

type lookedIface struct {
	MAC       string          `json:"mac"`
	MTUBytes  int             `json:"mtuBytes"`
	Up        bool            `json:"up"`
	Addresses []string        `json:"addresses"`
	Routes    []string        `json:"routes"` // "PREFIX via NEXT HOP"
	Offloads  map[string]bool `json:"offloads"`
	Parent    *lookedParent   `json:"parent,omitempty"`
	Port      *lookedPort     `json:"port"` // null where the server's end is gone
	// Of what the hooks have told: addresses that the server holds as permanent neighbours, and the forwarding entry.
	Neighbours []string `json:"neighbours"`
	Forwarding string   `json:"forwarding,omitempty"` // told, static, missing
	Shortcut   string   `json:"shortcut,omitempty"`   // on, impossible, or what is missing
	ILA        string   `json:"ila,omitempty"`        // on, or what is missing
}

type lookedPort struct {
	MAC      string          `json:"mac"`
	MTUBytes int             `json:"mtuBytes"`
	Up       bool            `json:"up"`
	Bridge   string          `json:"bridge"`
	Learns   bool            `json:"learns"`
	Floods   bool            `json:"floods"`
	Offloads map[string]bool `json:"offloads"`
}

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
	)
	for system, path := range files {
		group.Add(1)
		turns <- struct{}{}
		go func() {
			defer func() { <-turns; group.Done() }()
			found, err := a.lookAt(ctx, path)
			if err != nil {
				found = &looked{Error: err.Error()}
			}
			if found == nil {
				return
			}
			found.System = system
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
func (a *agent) lookAt(ctx context.Context, path string) (*looked, error) {
	s, err := readSpec(path)
	if err != nil {
		return nil, err
	}
	c, err := a.docker.inspect(ctx, s.Container)
	if err != nil || c == nil || !c.State.Running {
		return nil, err
	}
	found := &looked{Interfaces: map[string]lookedIface{}, Sysctls: map[string]string{}, Processes: c.processes()}
	return found, a.inContainer(c, func(ns netns.NsHandle, inside *netlink.Handle) error {
		if err := addressList.mustBeFew(ns); err != nil {
			return err
		}
		for _, want := range s.Interfaces {
			iface, err := a.lookAtInterface(want, inside)
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
		return inNamespace(ns, func() error {
			for name, iface := range found.Interfaces {
				if iface.Offloads, err = offloadsOf(name); err != nil {
					return err
				}
				found.Interfaces[name] = iface
			}
			for key := range s.Sysctls {
				text, err := os.ReadFile(filepath.Join(a.proc, "sys", strings.ReplaceAll(key, ".", "/")))
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
func (a *agent) lookAtInterface(want ifaceSpec, inside *netlink.Handle) (*lookedIface, error) {
	device, err := inside.LinkByName(want.Name)
	var missing netlink.LinkNotFoundError
	if asLinkNotFound(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	at := device.Attrs()
	found := &lookedIface{MAC: at.HardwareAddr.String(), MTUBytes: at.MTU, Up: at.Flags&net.FlagUp != 0, Addresses: []string{}, Routes: []string{}, Neighbours: []string{}}
	addresses, err := inside.AddrList(device, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		switch {
		case address.Scope != int(netlink.SCOPE_UNIVERSE):
		case want.DHCP && hasEnd(address):
			found.Addresses = append(found.Addresses, "dhcp")
		default:
			found.Addresses = append(found.Addresses, address.IPNet.String())
		}
	}
	routes, err := ourRoutes(inside, device)
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
	if found.Parent = parentOf(device); found.Parent != nil {
		return found, nil
	}
	host, err := netlink.LinkByName(want.HostName)
	if err == nil {
		found.Port, err = lookAtPort(host)
	}
	if err != nil && !asLinkNotFound(err, &missing) {
		return nil, err
	}
	for _, hook := range want.Hooks {
		if err := a.lookAtHook(hook, want, host, found); err != nil {
			return nil, fmt.Errorf("hook %s: %w", hook.Type, err)
		}
	}
	sort.Strings(found.Neighbours)
	return found, nil
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

func (a *agent) lookAtHook(hook hookSpec, want ifaceSpec, host netlink.Link, found *lookedIface) error {
	if hook.Type == "ila" {
		return a.lookAtILA(want, host, found)
	}
	if hook.Type != "advertised" {
		var args neighbourArgs
		if err := json.Unmarshal(hook.Args, &args); err != nil {
			return err
		}
		index, err := linkIndex(args.Device)
		if err != nil || index == 0 {
			return err
		}
		mac, err := net.ParseMAC(want.MAC)
		if err != nil {
			return err
		}
		return (told{bridge: index, mac: mac}).lookAtNeighbours(found)
	}
	t, err := tell(attachment{iface: want}, hook.Args)
	if err != nil {
		return err
	}
	if t.bridge != 0 {
		if err := t.lookAtNeighbours(found); err != nil {
			return err
		}
	}
	found.Forwarding, found.Shortcut = "missing", "no port"
	if host == nil {
		return nil
	}
	port := host.Attrs().Index
	entries, err := netlink.NeighList(port, unix.AF_BRIDGE)
	if err != nil {
		return err
	}
	for _, n := range entries {
		if n.HardwareAddr.String() != t.mac.String() || n.MasterIndex == 0 {
			continue
		}
		found.Forwarding = "told"
		if n.State&(netlink.NUD_NOARP|netlink.NUD_PERMANENT) != 0 {
			found.Forwarding = "static"
		}
	}
	if found.Shortcut, err = a.lookAtShortcut(t, port); err != nil {
		return fmt.Errorf("short cut: %w", err)
	}
	return nil
}

func (a *agent) lookAtILA(want ifaceSpec, host netlink.Link, found *lookedIface) error {
	address, err := ipv6Of(want)
	if err != nil {
		return err
	}
	o := a.ilaOptions(nil)
	if found.ILA, err = ila.Look(o.Config, o.Pins, want.Network, address, host); err != nil || host == nil {
		return err
	}
	listed, err := netlink.NeighList(host.Attrs().Index, netlink.FAMILY_V6)
	if err != nil {
		return err
	}
	for _, n := range listed {
		if n.State&netlink.NUD_PERMANENT != 0 && n.HardwareAddr.String() == want.MAC {
			found.Neighbours = append(found.Neighbours, n.IP.String())
		}
	}
	return nil
}

func (t told) lookAtNeighbours(found *lookedIface) error {
	present, err := t.onBridge()
	if err != nil {
		return err
	}
	for ip, n := range present {
		if !isTold(n) && n.State&netlink.NUD_PERMANENT != 0 {
			found.Neighbours = append(found.Neighbours, ip)
		}
	}
	return nil
}

// lookAtShortcut asks the kernel, not the agent that runs: its programs at the port and at the tunnel, and its entry.
func (a *agent) lookAtShortcut(t told, port int) (string, error) {
	if said, err := os.ReadFile(filepath.Join(a.statusDir, "shortcut")); err == nil && strings.HasPrefix(string(said), "off") {
		return "impossible", nil
	}
	var programs overlayObjects
	out, err := bpf.Find(programs.systemOut(), port)
	if err != nil {
		return "", err
	}
	if !t.shortcut {
		if out != nil {
			out.Close()
			return "program at the port", nil
		}
		return "off", nil
	}
	if out == nil {
		return "no program at the port", nil
	}
	defer out.Close()
	in, err := bpf.Find(programs.tunnelIn(), t.tunnel)
	if err != nil {
		return "", err
	}
	if in == nil {
		return "no program at the tunnel", nil
	}
	in.Close()
	info, err := out.Info()
	if err != nil {
		return "", err
	}
	ids, _ := info.MapIDs()
	for _, id := range ids {
		stations, err := ebpf.NewMapFromID(id)
		if err != nil {
			return "", err
		}
		defer stations.Close()
		if stations.KeySize() != 12 {
			continue
		}
		var now station
		if err := stations.Lookup(keyOf(t.tunnel, t.mac), &now); err != nil || now != (station{uint32(port), stationHere}) {
			return "not in the map", nil
		}
	}
	return "on", nil
}
