package bpf

import (
	"fmt"
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
