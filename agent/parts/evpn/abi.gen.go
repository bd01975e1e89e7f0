// Code generated from the BTF of bpf/ by `npm run generate`; DO NOT EDIT.

package evpn

type place uint32

const (
	stationHere      place = 1
	stationElsewhere place = 2
)

type stationKey struct {
	Network uint32
	MAC     [6]uint8
	Zero    [2]uint8
}

type station struct {
	Device uint32
	Place  place
}
