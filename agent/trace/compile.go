package trace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"unsafe"

	"github.com/cilium/ebpf/asm"
)

// field is a member of `packet`, as the programs have it.
type field string

const (
	fieldType            field = "Type"
	fieldProtocol        field = "Protocol"
	fieldOutsideProtocol field = "OutsideProtocol"
	fieldVNI             field = "Vni"
	fieldSourcePort      field = "SourcePort"
	fieldTargetPort      field = "TargetPort"
	fieldTCPFlags        field = "TcpFlags"
	fieldHops            field = "Hops"
	fieldFlags           field = "Flags"
	fieldLength          field = "Length"
	fieldInsideSource    field = "Inside.Source"
	fieldInsideTarget    field = "Inside.Target"
	fieldOutsideSource   field = "Outside.Source"
	fieldOutsideTarget   field = "Outside.Target"
)

// layout gives where a field is and how wide.
func (f field) layout() (offset int16, bytes int) {
	at, of := uintptr(0), reflect.TypeOf(packet{})
	name, inner := string(f), ""
	for i, c := range f {
		if c == '.' {
			name, inner = string(f[:i]), string(f[i+1:])
		}
	}
	member, is := of.FieldByName(name)
	if is && inner != "" {
		at = member.Offset
		member, is = member.Type.FieldByName(inner)
	}
	if !is {
		panic("a packet has no " + string(f))
	}
	return int16(at + member.Offset), int(member.Type.Size())
}

// compiler writes the instructions of a filter: R1 is the packet, R0 the verdict.
type compiler struct {
	code   asm.Instructions
	labels int
	marks  []string // labels of the instruction that comes next
	same   map[string]string
}

func (c *compiler) label() string {
	c.labels++
	return fmt.Sprintf("filter_%d", c.labels)
}

func (c *compiler) emit(i asm.Instruction) {
	if len(c.marks) > 0 {
		// An instruction has one name: the others are the same place.
		for _, other := range c.marks[1:] {
			c.same[other] = c.marks[0]
		}
		i = i.WithSymbol(c.marks[0])
		c.marks = nil
	}
	c.code = append(c.code, i)
}

func (c *compiler) here(label string) { c.marks = append(c.marks, label) }

// compile gives the instructions of the programs' function for filters; without one all packets are wanted.
func compile(f filter) asm.Instructions {
	c := &compiler{same: map[string]string{}}
	// The function begins here: its first instruction has the function's own name.
	c.emit(asm.Mov.Imm(asm.R0, 0))
	yes, no := c.label(), c.label()
	if f != nil {
		c.branch(f, yes, no)
	}
	c.here(yes)
	c.emit(asm.Mov.Imm(asm.R0, 1))
	c.emit(asm.Return())
	c.here(no)
	c.emit(asm.Mov.Imm(asm.R0, 0))
	c.emit(asm.Return())
	for i := range c.code {
		if to, is := c.same[c.code[i].Reference()]; is {
			c.code[i] = c.code[i].WithReference(to)
		}
	}
	return reachable(c.code)
}

// reachable leaves out what nothing leads to: the kernel takes no such program.
func reachable(code asm.Instructions) asm.Instructions {
	places := map[string]int{}
	for i, one := range code {
		if one.Symbol() != "" {
			places[one.Symbol()] = i
		}
	}
	met := make([]bool, len(code))
	var visit func(i int)
	visit = func(i int) {
		for ; !met[i]; i++ {
			met[i] = true
			if to := code[i].Reference(); to != "" {
				visit(places[to])
			}
			if op := code[i].OpCode.JumpOp(); op == asm.Exit || op == asm.Ja {
				return
			}
		}
	}
	visit(0)
	var kept asm.Instructions
	for i, one := range code {
		if met[i] {
			kept = append(kept, one)
		}
	}
	return kept
}

// branch goes to yes or to no.
func (c *compiler) branch(f filter, yes, no string) {
	switch f := f.(type) {
	case both:
		more := c.label()
		c.branch(f.a, more, no)
		c.here(more)
		c.branch(f.b, yes, no)
	case either:
		more := c.label()
		c.branch(f.a, yes, more)
		c.here(more)
		c.branch(f.b, yes, no)
	case not:
		c.branch(f.a, no, yes)
	case test:
		offset, bytes := f.field.layout()
		c.emit(asm.LoadMem(asm.R2, asm.R1, offset, map[int]asm.Size{1: asm.Byte, 2: asm.Half, 4: asm.Word}[bytes]))
		if f.mask != ^uint32(0) {
			c.emit(asm.And.Imm(asm.R2, int32(f.mask)))
		}
		c.emit(asm.LoadImm(asm.R3, int64(f.value), asm.DWord))
		jump := map[string]asm.JumpOp{"=": asm.JEq, "<": asm.JLT, ">": asm.JGT}[f.is]
		c.emit(jump.Reg(asm.R2, asm.R3, yes))
		c.emit(asm.Ja.Label(no))
	case within:
		c.within(f, yes, no)
	}
}

func (c *compiler) within(f within, yes, no string) {
	offset, _ := f.field.layout()
	address, bits := f.prefix.Masked().Addr().As16(), f.prefix.Bits()
	for word := 0; word < 4 && bits > 0; word++ {
		mask := ^uint32(0)
		if bits < 32 {
			mask = ^uint32(0) << (32 - bits)
		}
		bits -= 32
		// Bytes of an address, as a load of this machine's order finds them.
		var swapped [4]byte
		binary.BigEndian.PutUint32(swapped[:], mask)
		c.emit(asm.LoadMem(asm.R2, asm.R1, offset+int16(4*word), asm.Word))
		if mask != ^uint32(0) {
			c.emit(asm.LoadImm(asm.R3, int64(binary.NativeEndian.Uint32(swapped[:])), asm.DWord))
			c.emit(asm.And.Reg(asm.R2, asm.R3))
		}
		c.emit(asm.LoadImm(asm.R3, int64(binary.NativeEndian.Uint32(address[4*word:])), asm.DWord))
		c.emit(asm.JNE.Reg(asm.R2, asm.R3, no))
	}
	c.emit(asm.Ja.Label(yes))
}

// matches judges a packet as the compiled filter does: for tests, and for what no program has read.
func matches(f filter, p packet) bool {
	switch f := f.(type) {
	case nil:
		return true
	case both:
		return matches(f.a, p) && matches(f.b, p)
	case either:
		return matches(f.a, p) || matches(f.b, p)
	case not:
		return !matches(f.a, p)
	case test:
		value := numberOf(p, f.field) & f.mask
		return f.is == "=" && value == f.value || f.is == "<" && value < f.value || f.is == ">" && value > f.value
	case within:
		address := map[field][16]uint8{
			fieldInsideSource: p.Inside.Source, fieldInsideTarget: p.Inside.Target,
			fieldOutsideSource: p.Outside.Source, fieldOutsideTarget: p.Outside.Target,
		}[f.field]
		return f.prefix.Contains(netip.AddrFrom16(address))
	}
	return false
}

func numberOf(p packet, f field) uint32 {
	value := reflect.ValueOf(p).FieldByName(string(f))
	return uint32(value.Uint())
}

// packetBytes is what a packet takes in the programs.
const packetBytes = int(unsafe.Sizeof(packet{}))

func bytesOf(p packet) []byte {
	return append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(&p)), packetBytes)...)
}

func packetFrom(data []byte) packet { return *(*packet)(unsafe.Pointer(&data[0])) }
