package firewall

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

type objects struct {
	Out       *ebpf.Program `ebpf:"firewall_out"`
	In        *ebpf.Program `ebpf:"firewall_in"`
	Handed    *ebpf.Program `ebpf:"firewall_handed"`
	Receivers *ebpf.Map     `ebpf:"receivers"`
	Firewalls *ebpf.Map     `ebpf:"firewalls"`
	Taps      *ebpf.Map     `ebpf:"taps"`
	Ends      *ebpf.Map     `ebpf:"ends"`
	Drops     *ebpf.Map     `ebpf:"drops"`
}

// plane is what stands at interfaces, and what it asks: all of it is pinned.
type plane struct {
	objects
	chain bpf.Chain
}

func taps(files part.Files) bpf.Object {
	return bpf.Object{
		Path:   filepath.Join(files.Programs, "tap.bpf.o"),
		Pins:   filepath.Join(bpf.PinsOf(files.Bpffs, files.Stack, name), "taps"),
		Shared: bpf.SharedPins(files.Bpffs, files.Stack),
		Keys:   map[string]any{"ends": endKey{}},
		Values: map[string]any{"ends": endValue{}, "taps": tapValue{}},
	}
}

// isPinned: somebody may have taken the folder of pins away, or a part of it.
func (p *plane) isPinned(files part.Files) bool {
	pins := []string{handedPin(files)}
	for _, name := range []string{"firewalls", "taps", "ends", "drops"} {
		pins = append(pins, filepath.Join(p.chain.Pins, name))
	}
	return !slices.ContainsFunc(pins, func(pin string) bool {
		_, err := os.Stat(pin)
		return err != nil
	})
}

// handedPin is where programs of other parts ask who looks at what they hand to a system.
func handedPin(files part.Files) string {
	return filepath.Join(bpf.SharedPins(files.Bpffs, files.Stack), "receivers")
}

const handedPlace uint32 = 0

// settleHanded has packets judged that come to a system past its interface, as long as there is an interface to look at.
func (p *plane) settleHanded(isWanted bool) error {
	if isWanted {
		return p.Receivers.Put(handedPlace, p.Handed)
	}
	if err := p.Receivers.Delete(handedPlace); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// close lets go of it: what is pinned stays.
func (p *plane) close() {
	p.Out.Close()
	p.In.Close()
	p.Handed.Close()
	for _, m := range []*ebpf.Map{p.Receivers, p.Firewalls, p.Taps, p.Ends, p.Drops} {
		m.Close()
	}
}

func (p *plane) hooks() []bpf.Hook {
	return []bpf.Hook{
		{Name: "firewall_out", Direction: bpf.Ingress, Program: p.Out},
		{Name: "firewall_in", Direction: bpf.Egress, Program: p.In},
	}
}

// forgetUnknown closes what pins have and no state knows: a place may be another firewall's then.
func (p *plane) forgetUnknown(files part.Files) error {
	taken, err := takenPlaces(files)
	if err != nil {
		return err
	}
	for place := range p.Firewalls.MaxEntries() {
		if !taken[place] && p.judges(place) {
			if err := p.Firewalls.Delete(place); err != nil {
				return err
			}
		}
	}
	var index uint32
	var tap tapValue
	var unknown []uint32
	entries := p.Taps.Iterate()
	for entries.Next(&index, &tap) {
		if !taken[tap.Firewall] {
			unknown = append(unknown, index)
		}
	}
	for _, one := range unknown {
		_ = p.Taps.Delete(one) // it may be gone meanwhile
	}
	return entries.Err()
}

// systemNumber is the same for every agent: a system is known by it in the kernel.
func systemNumber(system string) uint32 {
	sum := sha256.Sum256([]byte(system))
	return binary.LittleEndian.Uint32(sum[:])
}

func (p *plane) judges(place uint32) bool { return judges(p.Firewalls, place) }

func judges(slots *ebpf.Map, place uint32) bool {
	var program *ebpf.Program
	if err := slots.Lookup(place, &program); err != nil {
		return false
	}
	program.Close()
	return true
}

// settleEnds tells the programs which addresses are of which systems.
func (p *plane) settleEnds(place uint32, ends []contract.FirewallEnd, networks []string) error {
	wanted := map[endKey]endValue{}
	systems, owners := map[uint32]string{}, map[netip.Addr]string{}
	for _, end := range ends {
		address, err := netip.ParseAddr(end.Address)
		if err != nil {
			return err
		}
		if owner, is := owners[address]; is && owner != end.System {
			return fmt.Errorf("%s is of %s and of %s: their packets cannot be told apart", address, owner, end.System)
		}
		owners[address] = end.System
		value := endValue{Network: networkNumber(networks, end.Network), Place: uint8(placeElsewhere)}
		switch {
		case end.Gateway:
			value.Place = uint8(placeGateway)
		case end.Here:
			value.Place = uint8(placeHere)
		}
		if !end.Gateway {
			value.System = systemNumber(end.System)
			if other, is := systems[value.System]; is && other != end.System {
				return fmt.Errorf("the systems %s and %s cannot be told apart: give one of them another name", other, end.System)
			}
			systems[value.System] = end.System
		}
		wanted[endKey{place, address.As16()}] = value
	}
	present, err := p.endsOf(place)
	if err != nil {
		return err
	}
	for key, value := range wanted {
		if now, is := present[key]; is && now == value {
			continue
		}
		if err := p.Ends.Put(key, value); err != nil {
			return err
		}
	}
	for key := range present {
		if _, is := wanted[key]; is {
			continue
		}
		if err := p.Ends.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
	}
	return nil
}

func (p *plane) endsOf(place uint32) (map[endKey]endValue, error) {
	found := map[endKey]endValue{}
	var key endKey
	var value endValue
	entries := p.Ends.Iterate()
	for entries.Next(&key, &value) {
		if key.Firewall == place {
			found[key] = value
		}
	}
	return found, entries.Err()
}

// networkNumber: 0 is any other.
func networkNumber(networks []string, of string) uint8 { return uint8(slices.Index(networks, of) + 1) }

func (p *plane) letGo(port string) {
	for _, hook := range p.hooks() {
		p.chain.Forget(hook, port)
	}
	if link, err := netlink.LinkByName(port); err == nil {
		_ = p.Taps.Delete(uint32(link.Attrs().Index)) // it may not be there
	}
}

// sweepTaps: a device that is gone took its programs along.
func (p *plane) sweepTaps() error {
	var index uint32
	var value tapValue
	var gone []uint32
	entries := p.Taps.Iterate()
	for entries.Next(&index, &value) {
		if _, err := netlink.LinkByIndex(int(index)); kernel.HasNoLink(err) {
			gone = append(gone, index)
		}
	}
	for _, one := range gone {
		_ = p.Taps.Delete(one) // it may be gone meanwhile
	}
	return entries.Err()
}
