package ila

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// NetworkFacts is what others need to know of a network.
type NetworkFacts struct {
	Name     string
	SIR      string
	MTUBytes int
	// Whether systems may leave checksums to a NIC.
	ChecksumOffload bool
	network         *network
}

// Network gives a network of this server.
func (e *Engine) Network(name string) (NetworkFacts, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.site == nil || e.site.networks[name] == nil {
		return NetworkFacts{}, false
	}
	n := e.site.networks[name]
	return NetworkFacts{n.Name, n.SIR, n.MTUBytes, n.ChecksumOffload, n}, true
}

// IsTaken: another system has the address.
func (e *Engine) IsTaken(text, system string) bool {
	a, err := ParseAddress(text)
	if err != nil {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	record, isTold := e.told[a]
	p := e.ports[a]
	return isTold && record.System != system || p != nil && p.System != system
}

// ByHand chooses an address for a container that is not declared: type LUID, the network's VNID, and a number over 16 bits;
// those that are declared without an address have one under (components/net/ila.ts).
func (n NetworkFacts) ByHand(seed []byte, isTaken func(string) bool) string {
	number := binary.BigEndian.Uint32(seed)
	for {
		low := number & 0xffff
		if number>>16 != 0 && low != 0 && low != 0xffff {
			if text := n.network.address(number).String(); !isTaken(text) {
				return text
			}
		}
		number++
	}
}

// Look says what is missing of a system's part in its network, by the kernel; "on" where nothing is.
func Look(configPath, pins, networkName, address string, device netlink.Link) (string, error) {
	s, err := readSite(configPath)
	if err != nil {
		return "", err
	}
	n := s.networks[networkName]
	sir, err := ParseAddress(address)
	if err != nil || n == nil {
		return "the network is not told", err
	}
	if device == nil {
		return "no port", nil
	}
	p := &plane{Chain: bpf.NewChain(pins)}
	for _, h := range p.portHooks() {
		if !p.Has(h, device) {
			return "no program " + h.Name + " at the port", nil
		}
	}
	if missing, err := lookAtMaps(s, n, sir, pins, device); missing != "" || err != nil {
		return missing, err
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Dst: host(sir), LinkIndex: device.Attrs().Index}, netlink.RT_FILTER_DST|netlink.RT_FILTER_OIF)
	if err != nil {
		return "", err
	}
	if len(routes) == 0 {
		return "no route of the server to it", nil
	}
	if n.Backend == "ebpf" {
		uplink, err := netlink.LinkByName(s.Uplink)
		if err != nil {
			return "", err
		}
		for _, h := range p.uplinkHooks() {
			if !p.Has(h, uplink) {
				return "no program " + h.Name + " at the uplink", nil
			}
		}
		return "on", nil
	}
	wire, mode := s.wire(n, sir, s.self)
	if mode == neutral || wire == sir {
		return "on", nil
	}
	routes, err = netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Dst: host(wire), LinkIndex: device.Attrs().Index}, netlink.RT_FILTER_DST|netlink.RT_FILTER_OIF)
	if err == nil && len(routes) == 0 {
		return "no route that translates", nil
	}
	return "on", err
}

func lookAtMaps(s *site, n *network, sir Address, pins string, device netlink.Link) (string, error) {
	open := func(name string) (*ebpf.Map, error) {
		return ebpf.LoadPinnedMap(filepath.Join(pins, name), &ebpf.LoadPinOptions{ReadOnly: true})
	}
	ports, err := open("ports")
	if err != nil {
		return "no maps", nil
	}
	defer ports.Close()
	var now portValue
	if err := ports.Lookup(uint32(device.Attrs().Index), &now); err != nil || now.Self != sir {
		return "the port is not in the map", nil
	}
	if n.Backend != "ebpf" {
		return "", nil
	}
	arrivals, err := open("arrivals")
	if err != nil {
		return "no maps", nil
	}
	defer arrivals.Close()
	wire, _ := s.wire(n, sir, s.self)
	var arrival arrivalValue
	if err := arrivals.Lookup(wire, &arrival); err != nil || arrival.Self != sir || int(arrival.Device) != device.Attrs().Index {
		return "what arrives for it is not in the map", nil
	}
	return "", nil
}

const systemsMost = 1000

// ReadFacts reads what the kernel holds, and what the agent that runs has said of its registry.
func ReadFacts(o Options) (*Facts, error) {
	s, err := readSite(o.Config)
	if err != nil {
		return nil, err
	}
	facts := &Facts{Contract: contract.Version, Registry: "not connected yet", Systems: []System{}}
	var said status
	if data, err := os.ReadFile(o.Status); err == nil && json.Unmarshal(data, &said) == nil {
		facts.Registry, facts.SinceMs = said.Registry, said.SinceMs
	}
	spec, err := object(o.Programs, "").Spec()
	if err != nil {
		return nil, err
	}
	names, err := bpf.Reasons(spec, "ila_reason")
	if err != nil {
		return nil, err
	}
	drops, err := ebpf.LoadPinnedMap(filepath.Join(o.Pins, "drops"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("drops: %w", err)
	}
	defer drops.Close()
	if facts.Drops, err = bpf.Drops(drops, names); err != nil {
		return nil, err
	}
	mappings, err := ebpf.LoadPinnedMap(filepath.Join(o.Pins, "mappings"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("mappings: %w", err)
	}
	defer mappings.Close()
	var key Address
	var value mappingValue
	for entries := mappings.Iterate(); entries.Next(&key, &value); {
		facts.Mappings++
		n := s.networkOf(key)
		if n == nil || len(facts.Systems) >= systemsMost {
			continue
		}
		at := s.self
		if value.Place == placeElsewhere {
			for _, one := range s.servers {
				if one.index == value.Server {
					at = one
				}
			}
		}
		wire, _ := s.wire(n, key, at)
		facts.Systems = append(facts.Systems, System{Address: key.String(), Network: n.Name, Wire: wire.String(), Server: at.Name})
	}
	sort.Slice(facts.Systems, func(i, j int) bool { return facts.Systems[i].Address < facts.Systems[j].Address })
	return facts, nil
}
