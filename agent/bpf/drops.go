package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Reasons reads the names of an enumeration from an object's own BTF, in the form `no mapping`; the last is how many there are.
func Reasons(spec *ebpf.CollectionSpec, enumeration string) ([]string, error) {
	var reasons *btf.Enum
	if err := spec.Types.TypeByName(enumeration, &reasons); err != nil {
		return nil, fmt.Errorf("%s: %w", enumeration, err)
	}
	names := make([]string, len(reasons.Values))
	for _, v := range reasons.Values {
		_, name, _ := strings.Cut(v.Name, "_")
		names[v.Value] = strings.ToLower(strings.ReplaceAll(name, "_", " "))
	}
	return names[:len(names)-1], nil
}

// PinnedDrops gives what a pinned map of an object has counted, by the names of an enumeration; nothing where the map is not there.
func (o Object) PinnedDrops(name, enumeration string) (map[string]uint64, error) {
	counters, err := ebpf.LoadPinnedMap(filepath.Join(o.Pins, name), &ebpf.LoadPinOptions{ReadOnly: true})
	if errors.Is(err, os.ErrNotExist) {
		return map[string]uint64{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer counters.Close()
	spec, err := o.Spec()
	if err != nil {
		return nil, err
	}
	reasons, err := Reasons(spec, enumeration)
	if err != nil {
		return nil, err
	}
	return Drops(counters, reasons)
}

// Drops sums the counter of each reason over all CPUs.
func Drops(counters *ebpf.Map, reasons []string) (map[string]uint64, error) {
	found := map[string]uint64{}
	for i, name := range reasons {
		var each []uint64
		if err := counters.Lookup(uint32(i), &each); err != nil {
			return nil, err
		}
		for _, n := range each {
			found[name] += n
		}
	}
	return found, nil
}
