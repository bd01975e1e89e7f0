// Code generated from the BTF of bpf/ by `npm run generate`; DO NOT EDIT.

package firewall

type field uint32

const (
	fieldSource          field = 0
	fieldDestination     field = 1
	fieldProtocol        field = 2
	fieldSourcePort      field = 3
	fieldDestinationPort field = 4
	fieldFlags           field = 5
	fieldState           field = 6
	fieldIn              field = 7
	fieldOut             field = 8
	fieldFields          field = 9
)

type stateNumber uint32

const (
	stateInvalid       stateNumber = 0
	stateNew           stateNumber = 1
	stateRelated       stateNumber = 2
	stateEstablished   stateNumber = 3
	stateUntracked     stateNumber = 4
	stateLaterFragment stateNumber = 8
)

type action uint32

const (
	actionCount  action = 0
	actionLog    action = 1
	actionMark   action = 2
	actionAccept action = 3
	actionDrop   action = 4
	actionReject action = 5
	actionSkip   action = 6
)

type flag uint32

const (
	flagCounts      flag = 1
	flagChecksMark  flag = 2
	flagChecksNot   flag = 4
	flagChecksLimit flag = 8
)

type fault uint32

const (
	faultUnreadable          fault = 0
	faultTooLong             fault = 1
	faultFull                fault = 2
	faultFragmentBeforeFirst fault = 3
	faultFaults              fault = 4
)

type size uint32

const (
	sizeBlockWords size = 8
	sizeSpareBytes size = 64
	sizeStepsMost  size = 512
)

type entryValue struct {
	Action     action
	Flags      flag
	To         uint32
	Other      uint32
	Counter    uint32
	MarkValue  uint32
	MarkMask   uint32
	CheckValue uint32
	CheckMask  uint32
	Burst      uint32
}

type counterValue struct {
	Packets uint64
	Bytes   uint64
}

type indexPlaces struct {
	Mask       uint32
	Used       uint32
	Dense      uint32
	Tables     [9]uint32
	Starts     [2]uint32
	Vectors    [2]uint32
	Words      uint32
	Ids        uint32
	Blocks     uint32
	Entries    uint32
	EntryCount uint32
	Flags      uint32
	Accepts    uint32
	Counter    uint32
}

type flowKey struct {
	Addresses [2][16]uint8
	Ports     [2]uint16
	Protocol  uint8
	IsTurned  uint8
	Zero      [2]uint8
}

type connectionValue struct {
	UntilNs uint64
	Judged  [2]struct {
		Of       uint64
		Counters [4]uint32
	}
	Tcp        uint8
	IsTurned   uint8
	IsReplied  uint8
	IsClosing  uint8
	LastPacket uint8
	IsLastBack uint8
	Zero       [2]uint8
}

type loggedEvent struct {
	Counter  uint32
	Bytes    uint32
	In       uint8
	Out      uint8
	IsIPv6   uint8
	Captured uint8
	Zero     uint32
	Header   [60]uint8
}
