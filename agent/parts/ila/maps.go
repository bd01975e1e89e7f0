package ila

import (
	"os"
	"path/filepath"
	"strings"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/kernel"
	"github.com/cilium/ebpf"
)

// serversMost is the size of the map of servers.
const serversMost = 4096

type objects struct {
	PortOut   *ebpf.Program `ebpf:"ila_port_out"`
	PortIn    *ebpf.Program `ebpf:"ila_port_in"`
	UplinkIn  *ebpf.Program `ebpf:"ila_uplink_in"`
	UplinkOut *ebpf.Program `ebpf:"ila_uplink_out"`
	Mappings  *ebpf.Map     `ebpf:"mappings"`
	Arrivals  *ebpf.Map     `ebpf:"arrivals"`
	Ports     *ebpf.Map     `ebpf:"ports"`
	Servers   *ebpf.Map     `ebpf:"servers"`
	Prefixes  *ebpf.Map     `ebpf:"prefixes"`
	Drops     *ebpf.Map     `ebpf:"drops"`
}

// plane is the programs and maps of a server. Both are pinned: packets go on while no agent runs.
type plane struct {
	objects
	bpf.Chain
}

// object is what the programs and maps are built as, with our structures of the maps' values.
func object(path, pins string) bpf.Object {
	return bpf.Object{Path: path, Pins: pins, Keys: map[string]any{"mappings": Address{}, "arrivals": Address{}}, Values: map[string]any{
		"mappings": mappingValue{}, "arrivals": arrivalValue{}, "ports": portValue{}, "servers": serverValue{},
	}}
}

// openPlane takes over the maps of an agent before it, where they are of the same form.
func openPlane(path, pins, shared string, capacity int) (*plane, error) {
	o := object(path, pins)
	o.Shared = shared
	if capacity > 0 {
		o.MaxEntries = map[string]uint32{"mappings": uint32(capacity)}
	}
	if err := moveFlatPins(pins); err != nil {
		return nil, err
	}
	p := &plane{Chain: bpf.NewChain(pins)}
	return p, o.Load(&p.objects)
}

// flatPins are the beginnings of attachments' names in agents before pins had a folder for each object, and what they are now.
var flatPins = [][2]string{{"port-out-", "ila_port_out-"}, {"port-in-", "ila_port_in-"}, {"uplink-in-", "ila_uplink_in-"}, {"uplink-out-", "ila_uplink_out-"}}

// fromFlat gives a pin's name now; none where it is nothing of ours.
func fromFlat(name string) (string, bool) {
	for _, m := range []string{"mappings", "arrivals", "ports", "servers", "prefixes", "drops"} {
		if name == m {
			return name, true
		}
	}
	for _, pair := range flatPins {
		if device, is := strings.CutPrefix(name, pair[0]); is {
			return pair[1] + device, true
		}
	}
	return "", false
}

// moveFlatPins takes over what such an agent has left: maps and attachments lay a folder higher.
func moveFlatPins(pins string) error {
	flat := filepath.Dir(pins)
	entries, err := os.ReadDir(flat)
	if err != nil {
		return kernel.IgnoreGone(err)
	}
	for _, e := range entries {
		name, is := fromFlat(e.Name())
		if !is || e.IsDir() {
			continue
		}
		if err := os.MkdirAll(pins, 0o700); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(flat, e.Name()), filepath.Join(pins, name)); err != nil {
			return err
		}
	}
	return nil
}

func (p *plane) portHooks() []bpf.Hook {
	return []bpf.Hook{
		{Name: "ila_port_out", Direction: bpf.Ingress, Program: p.PortOut},
		{Name: "ila_port_in", Direction: bpf.Egress, Program: p.PortIn},
	}
}

func (p *plane) uplinkHooks() []bpf.Hook {
	return []bpf.Hook{
		{Name: "ila_uplink_in", Direction: bpf.Ingress, Program: p.UplinkIn},
		{Name: "ila_uplink_out", Direction: bpf.Egress, Program: p.UplinkOut},
	}
}
