// Code generated from the BTF of bpf/ by `npm run generate`; DO NOT EDIT.

package guard

type flag uint32

const (
	flagUntagged  flag = 1
	flagAnyIpv4   flag = 2
	flagAnySource flag = 4
)

type source struct {
	Port    uint32
	Address [16]uint8
}

type rule struct {
	MAC   [6]uint8
	Zero  [2]uint8
	Flags flag
}
