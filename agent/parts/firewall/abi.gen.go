// Code generated from the BTF of bpf/ by `npm run generate`; DO NOT EDIT.

package firewall

type placeNumber uint32

const (
	placeElsewhere placeNumber = 0
	placeHere      placeNumber = 1
	placeGateway   placeNumber = 2
)

type tapValue struct {
	Firewall uint32
	System   uint32
	Network  uint8
	IsRouter uint8
	Zero     [2]uint8
}

type endKey struct {
	Firewall uint32
	Address  [16]uint8
}

type endValue struct {
	System  uint32
	Network uint8
	Place   uint8
	Zero    [2]uint8
}
