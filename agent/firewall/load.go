package firewall

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"flipflap.local/agent/bpf"
	"flipflap.local/agent/iptables"
	"github.com/cilium/ebpf"
)

// shared are the programs of a tenant's rules, and what rules have in common with those before them.
type shared struct {
	Pass        *ebpf.Program `ebpf:"firewall_pass"`
	Counters    *ebpf.Map     `ebpf:"counters"`
	Faults      *ebpf.Map     `ebpf:"faults"`
	Connections *ebpf.Map     `ebpf:"connections"`
	Fragments   *ebpf.Map     `ebpf:"fragments"`
	Rejections  *ebpf.Map     `ebpf:"rejections"`
	Credits     *ebpf.Map     `ebpf:"credits"`
	Logs        *ebpf.Map     `ebpf:"logs"`
}

// Close lets go of them: what is attached or pinned stays.
func (s *shared) Close() {
	s.Pass.Close()
	for _, m := range []*ebpf.Map{s.Counters, s.Faults, s.Connections, s.Fragments, s.Rejections, s.Credits, s.Logs} {
		m.Close()
	}
}

// counting says where what is counted.
type counting struct {
	slots    uint32
	policies map[iptables.Family]uint32 // what no rule decides
	of       func(*iptables.Rule) uint32
}

// object is the programs' file; with pins, what rules share outlives this process.
func object(path, pins string) bpf.Object {
	return bpf.Object{
		Path: path, Pins: pins, Keys: map[string]any{"connections": flowKey{}},
		Values: map[string]any{
			"entries_ipv4": entryValue{}, "entries_ipv6": entryValue{}, "counters": counterValue{}, "connections": connectionValue{},
		},
	}
}

// load puts rules into the kernel, and what `into` has fields for of their programs and maps.
func load(o bpf.Object, rules *Rules, counts counting, into any) error {
	o.MaxEntries = map[string]uint32{"counters": counts.slots, "credits": counts.slots}
	spec, err := o.Spec()
	if err != nil {
		return err
	}
	generation, err := generationNow()
	if err != nil {
		return err
	}
	if err := spec.Variables["generation"].Set(generation); err != nil {
		return err
	}
	for _, p := range []*Program{rules.IPv4, rules.IPv6} {
		name := p.Family.String()
		places, value := laid(p, NewIndex(p))
		places.Counter = counts.policies[p.Family]
		if err := spec.Variables[name].Set(places); err != nil {
			return err
		}
		index := spec.Maps["index_"+name]
		index.ValueSize, index.Value = uint32(len(value)), nil
		index.Contents = []ebpf.MapKV{{Key: uint32(0), Value: value}}
		entries := spec.Maps["entries_"+name]
		entries.MaxEntries = uint32(max(len(p.Entries), 1))
		for i := range p.Entries {
			v, err := valueOf(&p.Entries[i], counts.of)
			if err != nil {
				return err
			}
			entries.Contents = append(entries.Contents, ebpf.MapKV{Key: uint32(i), Value: v})
		}
	}
	return o.LoadSpec(spec, into)
}

// generationNow tells these rules from all others while the server has power: about the milliseconds since it started, and no rules are
// put into the kernel as fast.
func generationNow() (uint64, error) {
	now, err := monotonicNs()
	return uint64(now) >> 20, err
}

// answers are ICMP's types and codes, the type first; a reset of TCP has none.
var answers = map[string]uint16{
	"icmp-net-unreachable": 0x0300, "icmp-host-unreachable": 0x0301, "icmp-proto-unreachable": 0x0302, "icmp-port-unreachable": 0x0303,
	"icmp-net-prohibited": 0x0309, "icmp-host-prohibited": 0x030a, "icmp-admin-prohibited": 0x030d,
	"icmp6-no-route": 0x0100, "icmp6-adm-prohibited": 0x0101, "icmp6-addr-unreachable": 0x0103, "icmp6-port-unreachable": 0x0104,
	"icmp6-policy-fail": 0x0105, "icmp6-reject-route": 0x0106,
}

func valueOf(e *Entry, counterOf func(*iptables.Rule) uint32) (entryValue, error) {
	v := entryValue{
		Action: e.Action, To: uint32(e.To), Other: uint32(e.Else), Counter: counterOf(e.Rule),
		MarkValue: e.Rule.Target.MarkValue, MarkMask: e.Rule.Target.MarkMask,
	}
	if e.Counts {
		v.Flags |= flagCounts
	}
	if e.Action == actionReject {
		v.To = uint32(answers[e.Rule.Target.Reject])
	}
	switch m := e.Check.(type) {
	case nil:
	case *iptables.Mark:
		v.Flags |= flagChecksMark
		v.CheckValue, v.CheckMask = m.Value, m.Mask
		if m.Not {
			v.Flags |= flagChecksNot
		}
	case *iptables.Limit:
		v.Flags |= flagChecksLimit
		cost := m.Rate.Cost()
		v.CheckValue, v.CheckMask, v.Burst = uint32(cost), uint32(cost>>32), m.Burst
	default:
		return v, fmt.Errorf("line %d: %T is not known to the firewall's program", e.Rule.Line, m)
	}
	return v, nil
}

// More than this a field's vectors are not to take only for being read faster.
const denseBytesMost = 1 << 20

// layout writes an index as the program reads it.
type layout struct {
	bytes []byte
	at    indexPlaces
}

func (l *layout) here(aligned int) uint32 {
	for len(l.bytes)%aligned != 0 {
		l.bytes = append(l.bytes, 0)
	}
	return uint32(len(l.bytes))
}

func (l *layout) put32(n uint32) { l.bytes = binary.LittleEndian.AppendUint32(l.bytes, n) }
func (l *layout) put64(n uint64) { l.bytes = binary.LittleEndian.AppendUint64(l.bytes, n) }

func laid(p *Program, x *Index) (indexPlaces, []byte) {
	l := layout{}
	blocks := (x.count + blockBits - 1) / blockBits
	l.at.Words = uint32((blocks + 63) / 64)
	l.at.Ids = (8*l.at.Words + 2*l.at.Words + 7) / 8 * 8
	l.at.EntryCount = uint32(x.count)
	if p.Accept {
		l.at.Accepts = 1
	}
	for f := range fieldFields {
		if one := &x.fields[f]; one.starts != nil {
			l.at.Used |= 1 << f
			l.field(p, f, one, blocks)
		}
	}
	l.at.Flags = flagsThatCount(&x.fields[fieldFlags])
	l.at.Blocks = l.here(8)
	for i := range x.blocks {
		for _, word := range x.blocks[i] {
			l.put64(word)
		}
	}
	l.at.Entries = l.here(8)
	for bit := range blocks * blockBits {
		entry := uint32(x.count)
		if bit < len(x.entries) {
			entry = x.entries[bit]
		}
		l.put32(entry)
	}
	size := 1 << bits.Len(uint(len(l.bytes)))
	l.at.Mask = uint32(size - 1)
	return l.at, append(l.bytes, make([]byte, size+int(sizeSpareBytes)-len(l.bytes))...)
}

// flagsThatCount are TCP's flags by which entries differ.
func flagsThatCount(of *indexedField) uint32 {
	var flags uint32
	if of.starts == nil {
		return 0
	}
	for bit := uint64(1); bit < 1<<8; bit <<= 1 {
		for number := range uint64(1 << 8) {
			if of.vector(Number{Low: number}) != of.vector(Number{Low: number ^ bit}) {
				flags |= uint32(bit)
			}
		}
	}
	return flags
}

func (l *layout) field(p *Program, f field, one *indexedField, blocks int) {
	isDense := len(one.ids)*blocks*4 <= denseBytesMost
	if isDense {
		l.at.Dense |= 1 << f
	}
	vectors := make([]uint32, len(one.ids))
	for v := range one.ids {
		vectors[v] = l.here(8)
		for _, word := range one.summaries[v] {
			l.put64(word)
		}
		before := 0
		for _, word := range one.summaries[v] {
			l.bytes = binary.LittleEndian.AppendUint16(l.bytes, uint16(before))
			before += bits.OnesCount64(word)
		}
		l.here(8)
		if !isDense {
			for _, id := range one.ids[v] {
				l.put32(id)
			}
			continue
		}
		for at := range blocks {
			id := uint32(0) // of a block that the summary leaves out
			if one.summaries[v][at/64]>>(at%64)&1 != 0 {
				id = one.id(uint32(v), at)
			}
			l.put32(id)
		}
	}
	if f > fieldDestination {
		l.at.Tables[f] = l.here(8)
		for n := range f.most(p.Family).Low + 1 {
			l.put32(vectors[one.vector(Number{Low: n})])
		}
		return
	}
	isIPv6 := p.Family == iptables.IPv6
	l.at.Starts[f] = l.here(8)
	for _, start := range one.starts {
		if isIPv6 {
			l.put64(start.High)
			l.put64(start.Low)
		} else {
			l.put32(uint32(start.Low))
		}
	}
	l.at.Vectors[f] = l.here(8)
	for _, v := range one.vectors {
		l.put32(vectors[v])
	}
	l.at.Tables[f] = l.here(8)
	if isIPv6 {
		l.put32(0)
		l.put32(uint32(len(one.starts) - 1))
	} else {
		for upper := range uint64(1<<16 + 1) {
			l.put32(uint32(min(one.interval(Number{Low: upper << 16}), len(one.starts)-1)))
		}
	}
}
