package firewall

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"slices"

	"flipflap.local/agent/iptables"
	"flipflap.local/agent/wholefile"
	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Counter is of a rule.
type Counter struct{ Packets, Bytes uint64 }

func (c Counter) plus(other Counter) Counter {
	return Counter{c.Packets + other.Packets, c.Bytes + other.Bytes}
}

// state is what is in force, and where its rules count. It outlives the agent as the programs do, and ends with them: both are gone with the
// server's power.
type state struct {
	Place    uint32   `json:"place"` // among the firewalls of the server
	Rules    string   `json:"rules"` // their hash; empty: it is not known that they are in force
	Text     string   `json:"text"`  // the hash of the rules that have the slots; they are a file beside
	Object   string   `json:"object"`
	Networks []string `json:"networks"`
	Entries  int      `json:"entries"`
	// Of the rules, in their order: where they count.
	Slots []uint32 `json:"slots"`
	// That no rule counts in; those of the rules before this change may still be counted in.
	Free     []uint32 `json:"free"`
	Next     uint32   `json:"next"`
	Capacity uint32   `json:"capacity"`
	// What is to be added to what a slot holds.
	Bases map[uint32]Counter `json:"bases"`
}

// Wall is a tenant's firewall on this server.
type Wall struct {
	Name   string
	state  state
	object string // the file of the programs
	pins   string
	folder string // of the state
}

const leastCapacity = 1024

// What no rule decides counts before all rules.
var policySlots = map[iptables.Family]uint32{iptables.IPv4: 0, iptables.IPv6: 1}

// OpenWall reads what is in force of a firewall. It makes nothing.
func OpenWall(name, object, pins, folder string) (*Wall, error) {
	w := &Wall{Name: name, object: object, pins: filepath.Join(pins, name), folder: folder}
	text, err := os.ReadFile(w.stateFile())
	if err == nil {
		err = json.Unmarshal(text, &w.state)
	} else if errors.Is(err, os.ErrNotExist) {
		err = nil
		w.state.Place = noPlace
	}
	if w.state.Bases == nil {
		w.state.Bases = map[uint32]Counter{}
	}
	return w, err
}

const noPlace = ^uint32(0)

// Walls names the firewalls that have a state.
func Walls(folder string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.state"))
	names := make([]string, len(files))
	for i, file := range files {
		base := filepath.Base(file)
		names[i] = base[:len(base)-len(".state")]
	}
	return names, err
}

func (w *Wall) stateFile() string { return filepath.Join(w.folder, w.Name+".state") }
func (w *Wall) rulesFile(hash string) string {
	return filepath.Join(w.folder, w.Name+"."+hash+".rules")
}

// Place gives the firewall's number, which it keeps; false where it has none yet.
func (w *Wall) Place() (uint32, bool) { return w.state.Place, w.state.Place != noPlace }

// IsNoted: somebody may have taken its state away, and with it whose its number is.
func (w *Wall) IsNoted() bool {
	_, err := os.Stat(w.stateFile())
	return err == nil
}

// Settle gives it a number.
func (w *Wall) Settle(place uint32) error {
	w.state.Place = place
	return w.save(w.state)
}

func (w *Wall) save(s state) error { return wholefile.ReplaceJSON(w.stateFile(), s) }

// IsInForce tells whether rules are what the programs have that this agent knows.
func (w *Wall) IsInForce(rules string, networks []string) bool {
	for _, name := range []string{"counters", "connections"} {
		if _, err := os.Stat(filepath.Join(w.pins, name)); err != nil {
			return false
		}
	}
	programs, err := os.ReadFile(w.object)
	return err == nil && w.state.Rules == rules && w.state.Object == wholefile.Hash(programs) && slices.Equal(w.state.Networks, networks)
}

// Change puts rules in the place of others: at once, with the connections and the counters of rules that stay. put has them judge.
func (w *Wall) Change(text string, networks []string, put func(*ebpf.Program) error) error {
	rules := Read(text, networks)
	if len(rules.Faults) > 0 {
		return rules.Faults[0]
	}
	programs, err := os.ReadFile(w.object)
	if err != nil {
		return err
	}
	next := w.state
	next.Text, next.Object, next.Networks = wholefile.Hash([]byte(text)), wholefile.Hash(programs), networks
	next.Entries = len(rules.IPv4.Entries) + len(rules.IPv6.Entries)
	next.Bases = map[uint32]Counter{}
	before, err := w.counters()
	if err != nil {
		return err
	}
	if before != nil {
		defer before.Close()
	}
	kept, err := w.assign(&next, rules.All, before)
	if err != nil {
		return err
	}
	slots := make(map[*iptables.Rule]uint32, len(rules.All))
	for i, one := range rules.All {
		slots[one.Rule] = next.Slots[i]
	}
	var loaded shared
	counts := counting{next.Capacity, policySlots, func(r *iptables.Rule) uint32 { return slots[r] }}
	if err := load(object(w.object, w.pins), rules, counts, &loaded); err != nil {
		return err
	}
	defer loaded.Close()
	// A limit that is new has all of its burst.
	for i, one := range rules.All {
		if slot := next.Slots[i]; one.isLimited() && !kept[slot] {
			if err := loaded.Credits.Put(slot, make([]byte, loaded.Credits.ValueSize())); err != nil {
				return err
			}
		}
	}
	// Where all ends in between, rules that are not noted as in force are put once more; their slots are known.
	old := w.state
	next.Rules = ""
	if err := wholefile.Replace(w.rulesFile(next.Text), []byte(text)); err != nil {
		return err
	}
	if err := w.save(next); err != nil {
		return err
	}
	w.state = next
	if err := put(loaded.Pass); err != nil {
		return err
	}
	if before != nil && next.Capacity != old.Capacity {
		// What counted before counts no more.
		for slot := range kept {
			held, err := held(before, slot)
			if err != nil {
				return err
			}
			next.Bases[slot] = old.Bases[slot].plus(held)
		}
	}
	next.Rules = next.Text
	if err := w.save(next); err != nil {
		return err
	}
	w.state = next
	return w.forgetTexts(next.Text)
}

// forgetTexts takes away rules that are judged by no more.
func (w *Wall) forgetTexts(but string) error {
	files, err := filepath.Glob(w.rulesFile("*"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if file == w.rulesFile(but) {
			continue
		}
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

// assign gives each rule a place to count: one that stays keeps its own. Kept are those.
func (w *Wall) assign(next *state, all []Ruled, before *ebpf.Map) (map[uint32]bool, error) {
	old := map[string][]uint32{}
	if text, err := os.ReadFile(w.rulesFile(w.state.Text)); err == nil && before != nil {
		for i, one := range parse(string(text), w.state.Networks).All {
			if i < len(w.state.Slots) {
				old[one.Identity()] = append(old[one.Identity()], w.state.Slots[i])
			}
		}
	} else {
		next.Free, next.Next, next.Capacity = nil, uint32(len(policySlots)), 0
	}
	kept := map[uint32]bool{}
	for _, slot := range policySlots {
		kept[slot] = true
		next.Bases[slot] = w.state.Bases[slot]
	}
	next.Slots = make([]uint32, len(all))
	var fresh []int
	for i, one := range all {
		identity := one.Identity()
		if slots := old[identity]; len(slots) > 0 {
			next.Slots[i], old[identity] = slots[0], slots[1:]
			kept[slots[0]] = true
			next.Bases[slots[0]] = w.state.Bases[slots[0]]
		} else {
			fresh = append(fresh, i)
		}
	}
	free := slices.Clone(next.Free)
	for _, i := range fresh {
		if len(free) == 0 {
			next.Slots[i] = next.Next
			next.Next++
			continue
		}
		slot := free[0]
		free = free[1:]
		now, err := held(before, slot)
		if err != nil {
			return nil, err
		}
		next.Slots[i] = slot
		next.Bases[slot] = Counter{-now.Packets, -now.Bytes}
	}
	for _, slots := range old {
		free = append(free, slots...)
	}
	slices.Sort(free)
	next.Free = free
	if next.Next > next.Capacity {
		next.Capacity = max(leastCapacity, uint32(1)<<bits.Len32(next.Next))
		// A larger map begins with nothing in it.
		for slot := range next.Bases {
			if !kept[slot] {
				delete(next.Bases, slot)
			}
		}
	}
	return kept, nil
}

// counters gives the map that rules count in; nil where there is none.
func (w *Wall) counters() (*ebpf.Map, error) { return pinned(w.pins, "counters") }

func pinned(pins, name string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(pins, name), nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return m, err
}

// held is what a slot holds, of all processors.
func held(counters *ebpf.Map, slot uint32) (Counter, error) {
	var each []counterValue
	if err := counters.Lookup(slot, &each); err != nil {
		return Counter{}, err
	}
	var sum Counter
	for _, one := range each {
		sum = sum.plus(Counter(one))
	}
	return sum, nil
}

// Counted is a rule with what it has met; without one: what a family's rules have not decided.
type Counted struct {
	Ruled
	Policy string
	Counter
}

// Counts gives the rules in force, in their order.
func (w *Wall) Counts() ([]Counted, error) {
	if w.state.Text == "" {
		return nil, nil
	}
	text, err := os.ReadFile(w.rulesFile(w.state.Text))
	if err != nil {
		return nil, err
	}
	counters, err := w.counters()
	if err != nil || counters == nil {
		return nil, err
	}
	defer counters.Close()
	rules := parse(string(text), w.state.Networks)
	if len(rules.All) != len(w.state.Slots) {
		return nil, fmt.Errorf("firewall %s: its state is of other rules", w.Name)
	}
	var counted []Counted
	add := func(one Counted, slot uint32) error {
		now, err := held(counters, slot)
		one.Counter = now.plus(w.state.Bases[slot])
		counted = append(counted, one)
		return err
	}
	for i, one := range rules.All {
		if err := add(Counted{Ruled: one}, w.state.Slots[i]); err != nil {
			return nil, err
		}
	}
	for _, one := range rules.Policies() {
		if err := add(one, policySlots[one.Family]); err != nil {
			return nil, err
		}
	}
	return counted, nil
}

// InForce gives the hash of the rules that judge, and how many entries they make; empty: none judge.
func (w *Wall) InForce() (rules string, entries int) { return w.state.Rules, w.state.Entries }

// Connections counts those that are known, and lets go of those that have ended.
func (w *Wall) Connections(sweep bool) (int, error) {
	m, err := pinned(w.pins, "connections")
	if err != nil || m == nil {
		return 0, err
	}
	defer m.Close()
	now, err := monotonicNs()
	if err != nil {
		return 0, err
	}
	var key flowKey
	var value connectionValue
	var over []flowKey
	count := 0
	entries := m.Iterate()
	for entries.Next(&key, &value) {
		// A packet that comes at its very end begins it anew: some time after that nobody does.
		if value.UntilNs+uint64(graceNs) < uint64(now) {
			over = append(over, key)
		} else if value.UntilNs >= uint64(now) {
			count++
		}
	}
	// Entries that come and go meanwhile may cut it short.
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return 0, err
	}
	if sweep {
		for _, one := range over {
			// It may have been begun anew meanwhile.
			if err := m.Lookup(one, &value); err != nil || value.UntilNs+uint64(graceNs) >= uint64(now) {
				continue
			}
			if err := m.Delete(one); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return 0, err
			}
		}
	}
	return count, nil
}

// monotonicNs is the clock that programs read.
func monotonicNs() (int64, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return now.Nano(), err
}

const graceNs = 10_000_000_000

// Faults gives packets that no rule has dropped, by why.
func (w *Wall) Faults() (map[string]uint64, error) {
	return object(w.object, w.pins).PinnedDrops("faults", "firewall_fault")
}

// Remove forgets it; nothing leads to its programs any more.
func (w *Wall) Remove() error {
	return errors.Join(os.RemoveAll(w.pins), w.forgetTexts(""), os.RemoveAll(w.stateFile()))
}

const mostNetworks = 255

// Networks gives those that -i and -o may name, by their numbers: one that it had keeps its own.
func (w *Wall) Networks(wanted []string) ([]string, error) {
	networks := slices.Clone(w.state.Networks)
	for _, one := range wanted {
		if !slices.Contains(networks, one) {
			networks = append(networks, one)
		}
	}
	if len(networks) > mostNetworks {
		return nil, fmt.Errorf("firewall %s: it has had more than %d networks: take it away and declare it again", w.Name, mostNetworks)
	}
	return networks, nil
}
