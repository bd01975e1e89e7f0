package firewall

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
)

// An Index finds the first of a program's entries that a packet matches. Entries are bits, 512 to a block; for each field a number leads to
// a vector, which has of each block the entries that take it. Blocks that are alike are kept once, and a summary says which of a vector's
// are not empty: of a hundred thousand rules a packet looks at a handful.
//
// What makes that hold is which entries share a block: those that are alike in what narrows them most. Within a block they are in their
// order, so that its first bit is its first entry.
type Index struct {
	fields [fieldFields]indexedField
	blocks []block
	// By bit, the entry.
	entries []uint32
	count   int
}

const (
	blockWords = int(sizeBlockWords)
	blockBits  = 64 * blockWords
)

type block [blockWords]uint64

// indexedField is nil where all entries take all of it.
type indexedField struct {
	starts  []Number // where an interval begins
	vectors []uint32 // and which vector it has
	// Of each vector.
	summaries [][]uint64
	ids       [][]uint32 // of the blocks that are not empty
}

// wide: an entry that takes so much of a field is narrowed by another one.
func isWide(ranges Ranges, most Number) bool {
	if ranges == nil {
		return true
	}
	first, last := ranges[0].First, ranges[len(ranges)-1].Last
	if most.High == 0 {
		return last.Low-first.Low > most.Low>>8
	}
	return last.High-first.High > most.High>>24
}

// placed gives the entries in the order of their bits.
func placed(p *Program) []uint32 {
	order := make([]uint32, len(p.Entries))
	type place struct {
		pattern int
		by      [2]Number
	}
	places := make([]place, len(p.Entries))
	for i := range p.Entries {
		order[i] = uint32(i)
		ranges := &p.Entries[i].Ranges
		at := &places[i]
		keys := []field{fieldSource, fieldDestination}
		for k, f := range keys {
			if isWide(ranges[f], f.most(p.Family)) {
				at.pattern |= 1 << k
			}
		}
		if at.pattern&1 != 0 {
			slices.Reverse(keys)
		}
		if at.pattern == 3 {
			keys = []field{fieldDestinationPort, fieldSourcePort}
		}
		for k, f := range keys {
			if ranges[f] != nil {
				at.by[k] = ranges[f][0].First
			}
		}
	}
	slices.SortStableFunc(order, func(a, b uint32) int {
		x, y := &places[a], &places[b]
		return cmp.Or(x.pattern-y.pattern, x.by[0].compare(y.by[0]), x.by[1].compare(y.by[1]))
	})
	for from := 0; from < len(order); from += blockBits {
		slices.Sort(order[from:min(from+blockBits, len(order))])
	}
	return order
}

func number(is bool) int {
	if is {
		return 1
	}
	return 0
}

// NewIndex builds the index of a program.
func NewIndex(p *Program) *Index {
	x := &Index{entries: placed(p), count: len(p.Entries)}
	b := builder{index: x, program: p, known: map[block]uint32{}}
	for f := range fieldFields {
		if slices.ContainsFunc(p.Entries, func(e Entry) bool { return e.Ranges[f] != nil }) {
			b.field(f)
		}
	}
	return x
}

type builder struct {
	index   *Index
	program *Program
	known   map[block]uint32
}

type change struct {
	at  Number
	bit int
	on  bool
}

func (b *builder) field(f field) {
	x := b.index
	blocks := (x.count + blockBits - 1) / blockBits
	now := make([]block, blocks)
	most := f.most(b.program.Family)
	var changes []change
	for bit, entry := range x.entries {
		ranges := b.program.Entries[entry].Ranges[f]
		if ranges == nil {
			now[bit/blockBits].set(bit%blockBits, true)
			continue
		}
		for _, s := range ranges {
			changes = append(changes, change{s.First, bit, true})
			if s.Last != most {
				changes = append(changes, change{s.Last.next(), bit, false})
			}
		}
	}
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(a.at.compare(b.at), number(a.on)-number(b.on)) // what ends ends before what begins
	})
	ids := make([]uint32, blocks)
	for at := range now {
		ids[at] = b.id(now[at])
	}
	into := &x.fields[f]
	seen := map[string]uint32{}
	key := make([]byte, 4*blocks)
	add := func(at Number) {
		for i, id := range ids {
			binary.LittleEndian.PutUint32(key[4*i:], id)
		}
		vector, known := seen[string(key)]
		if !known {
			vector = uint32(len(into.ids))
			seen[string(key)] = vector
			summary := make([]uint64, (blocks+63)/64)
			var some []uint32
			for i := range now {
				if now[i] != (block{}) {
					summary[i/64] |= 1 << (i % 64)
					some = append(some, ids[i])
				}
			}
			into.summaries, into.ids = append(into.summaries, summary), append(into.ids, some)
		}
		into.starts, into.vectors = append(into.starts, at), append(into.vectors, vector)
	}
	if len(changes) == 0 || changes[0].at != (Number{}) {
		add(Number{})
	}
	changed := map[int]bool{}
	for i := 0; i < len(changes); {
		at := changes[i].at
		for ; i < len(changes) && changes[i].at == at; i++ {
			c := changes[i]
			now[c.bit/blockBits].set(c.bit%blockBits, c.on)
			changed[c.bit/blockBits] = true
		}
		for one := range changed {
			ids[one] = b.id(now[one])
		}
		clear(changed)
		add(at)
	}
}

func (b *block) set(bit int, on bool) {
	if on {
		b[bit/64] |= 1 << (bit % 64)
	} else {
		b[bit/64] &^= 1 << (bit % 64)
	}
}

func (b *builder) id(of block) uint32 {
	id, known := b.known[of]
	if !known {
		id = uint32(len(b.index.blocks))
		b.known[of] = id
		b.index.blocks = append(b.index.blocks, of)
	}
	return id
}

func (f *indexedField) vector(n Number) uint32 { return f.vectors[f.interval(n)] }

func (f *indexedField) interval(n Number) int {
	at, is := slices.BinarySearchFunc(f.starts, n, Number.compare)
	if !is {
		at--
	}
	return at
}

// First finds the first entry from one on that takes the numbers; the count of entries where none does.
func (x *Index) First(from int, numbers *[fieldFields]Number) int {
	var used []*indexedField
	var vectors []uint32
	for f := range x.fields {
		if one := &x.fields[f]; one.starts != nil {
			used, vectors = append(used, one), append(vectors, one.vector(numbers[f]))
		}
	}
	best := x.count
	for word := range (x.count + blockBits*64 - 1) / (blockBits * 64) {
		summary := ^uint64(0)
		for i, one := range used {
			summary &= one.summaries[vectors[i]][word]
		}
		if len(used) == 0 {
			summary = 1<<min(64, (x.count+blockBits-1)/blockBits-64*word) - 1
		}
		for ; summary != 0; summary &= summary - 1 {
			at := 64*word + bits.TrailingZeros64(summary)
			for w := range blockWords {
				match := ^uint64(0)
				for i, one := range used {
					match &= x.blocks[one.id(vectors[i], at)][w]
				}
				isFound := false
				for ; match != 0; match &= match - 1 {
					bit := at*blockBits + 64*w + bits.TrailingZeros64(match)
					if bit >= x.count {
						break
					}
					if entry := int(x.entries[bit]); entry >= from {
						best, isFound = min(best, entry), true
						break
					}
				}
				if isFound {
					break
				}
			}
		}
	}
	return best
}

// id gives the number of a vector's block that is not empty: they are as many as the summary's bits before it.
func (f *indexedField) id(vector uint32, at int) uint32 {
	before := 0
	for word := range at / 64 {
		before += bits.OnesCount64(f.summaries[vector][word])
	}
	before += bits.OnesCount64(f.summaries[vector][at/64] & (1<<(at%64) - 1))
	return f.ids[vector][before]
}

// Bytes is about what the index takes.
func (x *Index) Bytes() int {
	all := len(x.blocks)*blockWords*8 + 4*len(x.entries)
	for f := range x.fields {
		one := &x.fields[f]
		all += len(one.starts) * 12
		for i := range one.ids {
			all += 8*len(one.summaries[i]) + 4*len(one.ids[i]) + 4
		}
	}
	return all
}
