// Code generated from the BTF of bpf/ by `npm run generate`; DO NOT EDIT.

package trace

type point uint32

const (
	pointQueue   point = 1
	pointStart   point = 2
	pointSent    point = 3
	pointRx      point = 4
	pointGro     point = 5
	pointReceive point = 6
	pointDrop    point = 7
	pointIngress point = 8
)

type flag uint32

const (
	flagFirstFragment flag = 1
	flagLaterFragment flag = 2
	flagSuper         flag = 4
	flagUnread        flag = 8
)

type count uint32

const (
	countSeen    count = 0
	countMatched count = 1
	countLost    count = 2
	countCounts  count = 3
)

type namespaceTable uint32

const (
	namespaceTries namespaceTable = 32
	namespaceSlots namespaceTable = 32768
)

type addresses struct {
	Source [16]uint8
	Target [16]uint8
}

type packet struct {
	Inside          addresses
	Outside         addresses
	Vni             uint32
	Type            uint16
	Protocol        uint8
	OutsideProtocol uint8
	SourcePort      uint16
	TargetPort      uint16
	Sequence        uint32
	Acknowledged    uint32
	Id              uint16
	PayloadBytes    uint16
	TcpFlags        uint8
	Hops            uint8
	Flags           uint8
	Zero            uint8
	Length          uint32
	Digest          uint32
}

type event struct {
	AtNs      uint64
	Buffer    uint64
	Namespace uint32
	Device    uint32
	Reason    uint32
	Cpu       uint16
	Point     uint8
	Zero      uint8
	Packet    packet
	_         [4]byte
}
