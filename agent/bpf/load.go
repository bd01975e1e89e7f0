// Package bpf loads our programs, keeps them where they outlive the agent, and puts them on devices in one order.
package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
)

// Object is one of bpf/'s programs with its maps, as it is to be loaded.
type Object struct {
	Path string
	// A folder of a bpffs where maps and attachments outlive this process. Empty: all goes with it.
	Pins string
	// A folder of a bpffs with maps that several objects share. Empty: this one has its own.
	Shared string
	// Our structures of the maps' values, by the maps' names: their sizes are compared with those that the programs were built with.
	Values map[string]any
	Keys   map[string]any // of those of their keys that we know
	// Of maps whose size is not the one that is written in C.
	MaxEntries map[string]uint32
}

// Spec reads the object and compares its maps with what this agent knows of them.
func (o Object) Spec() (*ebpf.CollectionSpec, error) {
	file, err := os.Open(o.Path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	spec, err := ebpf.LoadCollectionSpecFromReader(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Path, err)
	}
	for name, value := range o.Values {
		m := spec.Maps[name]
		if key := o.Keys[name]; m == nil || int(m.ValueSize) != binary.Size(value) || key != nil && int(m.KeySize) != binary.Size(key) {
			return nil, fmt.Errorf("%s: map %s is not the one that this agent knows (%s)", o.Path, name, reflect.TypeOf(value).Name())
		}
	}
	for name, count := range o.MaxEntries {
		spec.Maps[name].MaxEntries = count
	}
	return spec, nil
}

// Load loads the programs and maps into a struct with `ebpf` tags. Pinned maps of the same form are taken over with what is in them.
func (o Object) Load(into any) error {
	spec, err := o.Spec()
	if err != nil {
		return err
	}
	return o.LoadSpec(spec, into)
}

// LoadSpec loads what Spec gave, with what was changed in it.
func (o Object) LoadSpec(spec *ebpf.CollectionSpec, into any) error {
	old := map[string]*ebpf.Map{}
	defer func() {
		for _, m := range old {
			m.Close() // LoadAndAssign has its own
		}
	}()
	for name, wanted := range spec.Maps {
		if o.Shared == "" || !shared[name] {
			continue
		}
		m, err := openShared(o.Shared, name, wanted)
		if err != nil {
			return err
		}
		old[name] = m
	}
	if o.Pins == "" {
		return spec.LoadAndAssign(into, &ebpf.CollectionOptions{MapReplacements: old})
	}
	if err := os.MkdirAll(o.Pins, 0o700); err != nil {
		return fmt.Errorf("%s: %w", o.Pins, err)
	}
	var others []string // of another form
	for name, wanted := range spec.Maps {
		if old[name] != nil {
			continue
		}
		pin := filepath.Join(o.Pins, name)
		m, err := ebpf.LoadPinnedMap(pin, nil)
		if err != nil {
			continue
		}
		if wanted.Compatible(m) == nil {
			old[name] = m
			continue
		}
		m.Close()
		others = append(others, pin)
	}
	if err := spec.LoadAndAssign(into, &ebpf.CollectionOptions{MapReplacements: old}); err != nil {
		return err
	}
	for _, pin := range others {
		if err := os.Remove(pin); err != nil {
			return err
		}
	}
	return o.pinFresh(into, old)
}

// shared are the maps that objects share by their names. Parts say there what they do for others' packets.
var shared = map[string]bool{"receivers": true}

// held are those that this process has opened: programs that ask one go on asking it, so where somebody took its pin away it is pinned again.
var held = struct {
	sync.Mutex
	maps map[string]*ebpf.Map
}{maps: map[string]*ebpf.Map{}}

// openShared opens a shared map, or makes it: who comes first does. The caller closes it.
func openShared(folder, name string, wanted *ebpf.MapSpec) (*ebpf.Map, error) {
	pin := filepath.Join(folder, name)
	held.Lock()
	defer held.Unlock()
	if held.maps[pin] == nil {
		m, err := ebpf.LoadPinnedMap(pin, nil)
		if err == nil && wanted.Compatible(m) != nil {
			m.Close()
			err = errors.New("of another form")
		}
		if err != nil {
			m, err = ebpf.NewMap(wanted)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		held.maps[pin] = m
	}
	m, err := held.maps[pin].Clone()
	if err != nil {
		return nil, err
	}
	return m, pinAgain(m, pin)
}

// pinAgain pins a map where nothing or another one is.
func pinAgain(m *ebpf.Map, pin string) error {
	now, err := ebpf.LoadPinnedMap(pin, nil)
	if err == nil {
		defer now.Close()
		if is, err := isSame(now, m); is || err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(pin), 0o700); err != nil {
		return err
	}
	if err := os.Remove(pin); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return m.Pin(pin)
}

func isSame(a, b *ebpf.Map) (bool, error) {
	one, err := a.Info()
	if err != nil {
		return false, err
	}
	other, err := b.Info()
	if err != nil {
		return false, err
	}
	x, _ := one.ID()
	y, _ := other.ID()
	return x == y, nil
}

// pinFresh pins the maps of a struct that were not taken over.
func (o Object) pinFresh(into any, old map[string]*ebpf.Map) error {
	fields := reflect.ValueOf(into).Elem()
	for i := range fields.NumField() {
		m, is := fields.Field(i).Interface().(*ebpf.Map)
		name := fields.Type().Field(i).Tag.Get("ebpf")
		if !is || old[name] != nil {
			continue
		}
		if err := m.Pin(filepath.Join(o.Pins, name)); err != nil {
			return fmt.Errorf("pin of %s: %w", name, err)
		}
	}
	return nil
}

// PinsOf is the folder of one object's pins of a stack; a bpffs takes no dots.
func PinsOf(bpffs, stack, object string) string {
	return filepath.Join(bpffs, "flipflap-"+stack, object)
}

// SharedPins is the folder of what a stack's objects share.
func SharedPins(bpffs, stack string) string { return PinsOf(bpffs, stack, "shared") }

// pinnedName stands for a device in the name of a pin.
func pinnedName(device string) string { return strings.ReplaceAll(device, ".", ":") }
