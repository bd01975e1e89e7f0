// Package trace follows packets through this server's devices, by programs at the kernel's tracepoints that live as long as the process.
package trace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unsafe"

	"flipflap.local/agent/contract"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"
)

// Options of one trace.
type Options struct {
	Programs string // the folder of eBPF objects
	Proc     string // the server's
	Filter   string
	Exclude  string
	Also     string
	SampleOf uint
	// Not at every tracepoint: once where a device sends, once where it receives.
	DevicesAlone bool
	// Packets are redirected to systems, past all tracepoints: they are seen at the systems' own interfaces.
	Redirects bool
	For       time.Duration // 0: until the input ends
	// Servers that are pinged meanwhile, and the pings' identifier.
	ProbeTargets    []netip.Addr
	ProbeIdentifier uint16
	// Namespaces gives the server's own of containers: their files, by what we call them.
	Containers func(ctx context.Context) (map[string]string, error)
	// Overlays gives what a file of docker's namespaces is called.
	Overlays func(ctx context.Context, file string) string
}

const (
	// Of a turn: a ring that is never empty must not keep legs from being told.
	batchMost   = 65_536
	drainEvery  = 20 * time.Millisecond
	rescanEvery = time.Second
)

// CheckFilter says what is wrong with an expression; nothing where it is right.
func CheckFilter(text string) error {
	_, err := parseFilter(text)
	return err
}

// Run prints what it sees as JSON lines until ctx ends, the time is over, or the output is closed.
func Run(ctx context.Context, o Options, out io.Writer) error {
	begin := time.Now()
	f, err := parseFilter(o.Filter)
	if err != nil {
		return err
	}
	also, err := parseFilter(o.Also)
	if err != nil {
		return err
	}
	wanted := f
	if wanted == nil {
		also = nil
	}
	if also != nil {
		f = either{wanted, also}
	}
	excluded, err := parseFilter(o.Exclude)
	if err != nil {
		return err
	}
	f = without(f, excluded)
	p, err := load(filepath.Join(o.Programs, "trace.bpf.o"), f, uint32(o.SampleOf), o.DevicesAlone, o.Redirects)
	if err != nil {
		return err
	}
	defer p.close()
	s := &server{options: o, programs: p, names: map[uint32]string{}, devices: devices{names: map[[2]uint32]string{}}, asked: map[[2]uint32]bool{}}
	if err := s.scan(ctx); err != nil {
		return err
	}
	reasons := dropReasons()
	reader, err := ringbuf.NewReader(p.collection.Maps["events"])
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := p.attach(); err != nil {
		return err
	}
	sort.Strings(p.missing)
	box := newOutbox(out)
	ready := contract.TraceReady{Contract: contract.Version, Missing: append([]string{}, p.missing...), WallNs: fmt.Sprint(time.Now().UnixNano() - int64(monotonic())), AttachMs: time.Since(begin).Milliseconds()}
	box.put(contract.TraceLine{Ready: &ready})
	if o.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	if len(o.ProbeTargets) > 0 {
		probing, end := context.WithCancel(ctx)
		defer end()
		if err := probes(probing, o.ProbeTargets, o.ProbeIdentifier); err != nil {
			return err
		}
	}
	d := drains{reader: reader}
	own, err := inodeOf(ownNamespace)
	if err != nil {
		return err
	}
	c := newCollector(own, func(l *leg) {
		if box.isFull() {
			box.untold++
			return
		}
		told := l.asTold(s.nameOf, reasons)
		told.Aside = also != nil && !l.matches(wanted)
		box.put(contract.TraceLine{Leg: &told})
	})
	scanned := time.Now()
	for ctx.Err() == nil {
		now, err := d.drain(c)
		if err != nil {
			return err
		}
		c.close(now, false)
		if time.Since(scanned) > rescanEvery {
			// Docker may be busy, and a container going: the next look finds what this one did not.
			_ = s.scan(ctx)
			scanned = time.Now()
		}
	}
	p.detach()
	now, err := d.drain(c)
	if err != nil {
		return err
	}
	c.close(now, true)
	counts := contract.TraceCounts{
		Seen: int64(p.counted(countSeen)), Matched: int64(p.counted(countMatched)), Lost: int64(p.counted(countLost)), Missed: int64(p.missed()), Legs: int64(c.count),
		Untold: box.untold, CpuMs: cpuTime().Milliseconds(), Seconds: time.Since(begin).Seconds(),
	}
	box.put(contract.TraceLine{Counts: &counts})
	_ = box.close() // nobody may listen any more
	return nil
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// monotonic is the programs' clock.
func monotonic() uint64 {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return uint64(now.Nano())
}

// drains reads the ring once in a while: a program that woke us up would cost its packet more than itself.
type drains struct {
	reader *ringbuf.Reader
	record ringbuf.Record
	batch  []event // kept: to make one for each turn took a quarter of a core
}

func (d *drains) drain(c *collector) (uint64, error) {
	batch := d.batch[:0]
	d.reader.SetDeadline(time.Now().Add(drainEvery))
	for {
		err := d.reader.ReadInto(&d.record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return 0, err
		}
		if len(d.record.RawSample) < int(unsafe.Sizeof(event{})) {
			return 0, fmt.Errorf("an event of %d bytes: the programs are not those of this agent", len(d.record.RawSample))
		}
		batch = append(batch, *(*event)(unsafe.Pointer(&d.record.RawSample[0])))
		if len(batch) == batchMost {
			break // what else there is comes in the next turn
		}
	}
	// CPUs put theirs into the ring as they come.
	sort.SliceStable(batch, func(a, b int) bool { return batch[a].AtNs < batch[b].AtNs })
	for _, e := range batch {
		c.add(e)
	}
	d.batch = batch
	return monotonic(), nil
}

// server is what the namespaces and devices of this server are called.
type server struct {
	options  Options
	programs *programs
	names    map[uint32]string
	paths    map[uint32]string
	devices  devices
	asked    map[[2]uint32]bool
	// The programs do not know yet of all that there are, and that have gone.
	isChanged bool
}

// scan finds the namespaces that there are now.
func (s *server) scan(ctx context.Context) error {
	found := map[string]string{ownNamespace: ""}
	root := filepath.Join(s.options.Proc, "1/root")
	for path, name := range namespaceFiles(filepath.Join(root, "run/netns")) {
		found[path] = strings.TrimPrefix(name, "ff-") // a system's, as its container would be called
	}
	containers, err := s.options.Containers(ctx)
	if err != nil {
		return err
	}
	for path, name := range containers {
		found[path] = name
	}
	overlays := namespaceFiles(filepath.Join(root, "run/docker/netns"))
	for path, name := range overlays {
		if strings.HasPrefix(name, "1-") {
			found[path] = name
		}
	}
	s.paths = map[uint32]string{}
	var failed []error
	for path, name := range found {
		inode, is := namespaceAt(path)
		if !is {
			continue
		}
		// What is a container's is called so, whoever else has it.
		if called, known := s.names[inode]; !known || called == "" && name != "" {
			if called := overlays[path]; called != "" {
				name = s.options.Overlays(ctx, name)
			}
			s.names[inode] = name
			s.isChanged = s.isChanged || !known
		}
		s.paths[inode] = path
		// Its interfaces may come after it.
		if containers[path] != "" {
			failed = append(failed, s.programs.attachAt(inode, path))
		}
	}
	for inode := range s.names {
		if _, is := s.paths[inode]; !is {
			delete(s.names, inode)
			s.isChanged = true
			s.devices.forget(inode)
		}
	}
	clear(s.asked)
	if s.isChanged {
		err := s.programs.setNamespaces(slices.Collect(maps.Keys(s.names)))
		s.isChanged = err != nil
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// ownNamespace is the server's.
const ownNamespace = "/proc/self/ns/net"

const nsfsMagic = 0x6e736673

// namespaceAt gives the inode of a namespace; a file that one was mounted on is none.
func namespaceAt(path string) (uint32, bool) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil || fs.Type != nsfsMagic {
		return 0, false
	}
	inode, err := inodeOf(path)
	return inode, err == nil
}

// nameOf looks a device up; one that came since is asked for once between scans.
func (s *server) nameOf(namespace, device uint32) (string, string) {
	key := [2]uint32{namespace, device}
	name, known := s.devices.names[key]
	if path := s.paths[namespace]; !known && path != "" && !s.asked[key] {
		s.asked[key] = true
		_ = s.devices.readDevices(namespace, path) // it may have gone meanwhile
		name = s.devices.names[key]
	}
	if name == "" {
		name = fmt.Sprintf("#%d", device)
	}
	return s.names[namespace], printable(name)
}

// printable: a tenant names its own devices, and a terminal obeys control characters.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, name)
}

// dropReasons reads the kernel's own words for drops.
func dropReasons() map[uint32]string {
	words := map[uint32]string{}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return words
	}
	var reasons *btf.Enum
	if err := kernel.TypeByName("skb_drop_reason", &reasons); err != nil {
		return words
	}
	for _, v := range reasons.Values {
		words[uint32(v.Value)] = strings.TrimPrefix(strings.TrimPrefix(v.Name, "SKB_DROP_REASON_"), "SKB_")
	}
	return words
}
