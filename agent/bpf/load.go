// Package bpf loads our programs, keeps them where they outlive the agent, and puts them on devices in one order.
package bpf

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/cilium/ebpf"
)

// Object is one of bpf/'s programs with its maps, as it is to be loaded.
type Object struct {
	Path string
	// A folder of a bpffs where maps and attachments outlive this process. Empty: all goes with it.
	Pins string
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
	if o.Pins == "" {
		return spec.LoadAndAssign(into, nil)
	}
	if err := os.MkdirAll(o.Pins, 0o700); err != nil {
		return fmt.Errorf("%s: %w", o.Pins, err)
	}
	old := map[string]*ebpf.Map{}
	defer func() {
		for _, m := range old {
			m.Close() // LoadAndAssign has its own
		}
	}()
	var others []string // of another form
	for name, wanted := range spec.Maps {
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

// pinnedName stands for a device in the name of a pin.
func pinnedName(device string) string { return strings.ReplaceAll(device, ".", ":") }
