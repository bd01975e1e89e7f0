// Code generated from the BTF of bpf/ by `npm run generate`; DO NOT EDIT.

package ila

type Mode uint32

const (
	neutral         Mode = 0
	neutralAuto     Mode = 1
	adjustTransport Mode = 2
	noAction        Mode = 3
)

type portFlag uint32

const (
	flagByStack portFlag = 1
)

type place uint32

const (
	placeHere      place = 0
	placeElsewhere place = 1
)

type prefixKind uint32

const (
	prefixLocator prefixKind = 1
	prefixSIR     prefixKind = 2
	prefixByStack prefixKind = 256
)

type portValue struct {
	Self  Address
	Flags portFlag
	Zero  uint32
}

type mappingValue struct {
	Wire     Address
	CsumDiff uint32
	Mode     Mode
	Place    place
	Device   uint32
	Server   uint32
	Zero     uint32
}

type arrivalValue struct {
	Self     Address
	CsumDiff uint32
	Mode     Mode
	Device   uint32
	Zero     uint32
}

type serverValue struct {
	NextHop  [16]uint8
	NextMAC  [6]uint8
	OwnMAC   [6]uint8
	Device   uint32
	MTUBytes uint32
	HasMAC   uint32
}
