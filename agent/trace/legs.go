package trace

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"
	"sort"

	"flipflap.local/agent/contract"
)

// identity is what bridges, routers, NAT and tunnels leave alone of a packet. Addresses are not in it, nor hops.
type identity struct {
	kind, protocol, tcpFlags     uint8
	id, payload, fragment, extra uint16
	sequence, acknowledged       uint32
	digest                       uint32
	addresses                    addresses // of ARP alone, which nobody translates
}

func identityOf(p packet) identity {
	i := identity{protocol: p.Protocol, id: p.Id, payload: p.PayloadBytes, sequence: p.Sequence, acknowledged: p.Acknowledged, digest: p.Digest}
	switch {
	case p.OutsideProtocol == protocolESP:
		return identity{kind: 3, protocol: protocolESP, sequence: p.Sequence, acknowledged: p.Vni}
	case p.Type == typeARP:
		return identity{kind: 4, sequence: p.Sequence, addresses: p.Inside}
	case p.Type == typeIPv4:
		i.kind = 1
	case p.Type == typeIPv6:
		i.kind = 2
	default:
		return identity{kind: 5, extra: p.Type, payload: uint16(p.Length)}
	}
	switch p.Protocol {
	case protocolTCP:
		i.tcpFlags = p.TcpFlags
	case protocolICMP, protocolICMPv6:
		i.extra = p.SourcePort // type and code
	}
	if p.Flags&uint8(flagLaterFragment) != 0 {
		i.fragment = uint16(p.Sequence)
	}
	return i
}

// text is the same on every server.
func (i identity) text() string {
	h := fnv.New64a()
	_ = binary.Write(h, binary.BigEndian, i)
	return fmt.Sprintf("%016x", h.Sum64())
}

// leg is a packet's way through this server, as it grows.
type leg struct {
	identity identity
	ordinal  int
	steps    []event
	buffers  []uint64
	lastNs   uint64
}

func (l *leg) hasBuffer(buffer uint64) bool { return slices.Contains(l.buffers, buffer) }

// hasBeenAt: a packet meets a device's point once in a while that a leg is open; twice is another packet, or a copy of a flood.
func (l *leg) hasBeenAt(e event) bool {
	for _, one := range l.steps {
		if one.Namespace == e.Namespace && one.Device == e.Device && one.Point == e.Point {
			return true
		}
	}
	return false
}

const (
	// A leg that has met nothing for so long has ended.
	quietNs = 150_000_000
	// The same while the server itself has the packet: something follows, were it from a long queue or after a neighbour was found.
	heldNs = 1_000_000_000
	// A packet that is on its way for longer is in a queue that nobody declared.
	oldestNs = 2_000_000_000
	// So long after the last packet of an identity its numbers begin again.
	ordinalsNs = 5_000_000_000
)

// collector joins events to legs. Events come in the order of their times.
type collector struct {
	open     map[identity][]*leg
	byBuffer map[uint64]*leg // of what is in a driver's hands
	ordinals map[identity]*ordinal
	// Each open leg and each ordinal once, with when to look at it next: to look at all of them in each turn took more than all else.
	legs     waiting[*leg]
	numbered waiting[identity]
	emit     func(*leg)
	count    uint64
	server   uint32 // its network namespace
}

type ordinal struct {
	next   int
	lastNs uint64
}

func newCollector(server uint32, emit func(*leg)) *collector {
	return &collector{server: server, open: map[identity][]*leg{}, byBuffer: map[uint64]*leg{}, ordinals: map[identity]*ordinal{}, emit: emit}
}

// waiting is what is looked at in the order of its times.
type waiting[T any] struct {
	all []struct {
		what T
		atNs uint64
	}
}

func (w *waiting[T]) put(what T, atNs uint64) {
	w.all = append(w.all, struct {
		what T
		atNs uint64
	}{what, atNs})
}

// due takes what is to be looked at by now; what is not done with is put again with its next time. What stands before it may make it late.
func (w *waiting[T]) due(now uint64, next func(T) (atNs uint64, again bool)) {
	due := 0
	for due < len(w.all) && w.all[due].atNs < now {
		due++
	}
	for _, one := range w.all[:due] {
		if at, again := next(one.what); again {
			w.put(one.what, at)
		}
	}
	w.all = w.all[due:]
}

func (c *collector) add(e event) {
	if point(e.Point) == pointSent {
		if l := c.byBuffer[e.Buffer]; l != nil {
			l.steps, l.lastNs = append(l.steps, e), e.AtNs
			delete(c.byBuffer, e.Buffer)
		}
		return
	}
	i := identityOf(e.Packet)
	l := c.find(i, e)
	if l == nil {
		l = &leg{identity: i, ordinal: c.ordinal(i, e.AtNs)}
		c.open[i] = append(c.open[i], l)
		c.legs.put(l, e.AtNs+quietNs)
	}
	if !l.hasBuffer(e.Buffer) {
		l.buffers = append(l.buffers, e.Buffer)
	}
	l.steps, l.lastNs = append(l.steps, e), e.AtNs
	if point(e.Point) == pointStart {
		c.byBuffer[e.Buffer] = l
	}
}

// find gives the leg that an event goes on: that of its socket buffer, else one of the same packet that was not there yet.
func (c *collector) find(i identity, e event) *leg {
	all := c.open[i]
	for at := len(all) - 1; at >= 0; at-- {
		if all[at].hasBuffer(e.Buffer) && !all[at].hasBeenAt(e) && !all[at].isOld(e) {
			return all[at]
		}
	}
	for _, l := range all {
		if !l.hasBeenAt(e) && !l.isOld(e) && l.goesOn(e) {
			return l
		}
	}
	return nil
}

// isOld: a stream of equal packets would be one leg without an end.
func (l *leg) isOld(e event) bool { return l.steps[0].AtNs+oldestNs < e.AtNs }

// goesOn: a buffer that is new to the leg is a copy or a segment of its packet, and not an equal packet of somebody else: it has the same
// ends, and begins in no namespace where the packet never came.
func (l *leg) goesOn(e event) bool {
	last := l.steps[len(l.steps)-1].Packet
	if last.Flags&uint8(flagUnread) != 0 {
		last = l.steps[0].Packet
	}
	p := e.Packet
	if p.Inside != last.Inside || p.SourcePort != last.SourcePort || p.TargetPort != last.TargetPort {
		return false
	}
	if point(e.Point) != pointQueue && point(e.Point) != pointStart {
		return true
	}
	for _, one := range l.steps {
		if one.Namespace == e.Namespace {
			return true
		}
	}
	return false
}

func (c *collector) ordinal(i identity, now uint64) int {
	o := c.ordinals[i]
	if o == nil {
		o = &ordinal{}
		c.ordinals[i] = o
		c.numbered.put(i, now+ordinalsNs)
	}
	o.lastNs = now
	o.next++
	return o.next - 1
}

// patienceNs is how long a leg is waited for.
func (c *collector) patienceNs(l *leg) uint64 {
	last := l.steps[len(l.steps)-1]
	switch point(last.Point) {
	case pointQueue, pointRx, pointGro, pointReceive:
		if last.Namespace == c.server {
			return heldNs
		}
	}
	return quietNs
}

// close ends the legs that have been quiet by now; with all, every leg.
func (c *collector) close(now uint64, all bool) {
	if all {
		now = math.MaxUint64
	}
	var ended []*leg
	c.legs.due(now, func(l *leg) (uint64, bool) {
		if quiet := l.lastNs + c.patienceNs(l); quiet >= now {
			return min(quiet, now+quietNs), true // behind those that wait for less
		}
		ended = append(ended, l)
		c.forget(l)
		return 0, false
	})
	c.numbered.due(now, func(i identity) (uint64, bool) {
		if last := c.ordinals[i].lastNs; last+ordinalsNs >= now || c.open[i] != nil {
			return last + ordinalsNs, true
		}
		delete(c.ordinals, i)
		return 0, false
	})
	sort.Slice(ended, func(a, b int) bool { return ended[a].steps[0].AtNs < ended[b].steps[0].AtNs })
	for _, l := range ended {
		c.count++
		c.emit(l)
	}
}

// forget lets go of a leg that has ended.
func (c *collector) forget(l *leg) {
	if kept := slices.DeleteFunc(c.open[l.identity], func(one *leg) bool { return one == l }); len(kept) > 0 {
		c.open[l.identity] = kept
	} else {
		delete(c.open, l.identity)
	}
	for _, buffer := range l.buffers {
		if c.byBuffer[buffer] == l {
			delete(c.byBuffer, buffer)
		}
	}
}

var pointNames = map[point]string{
	pointQueue: "net_dev_queue", pointStart: "net_dev_start_xmit", pointSent: "net_dev_xmit", pointRx: "netif_rx",
	pointGro: "napi_gro_receive_entry", pointReceive: "netif_receive_skb", pointDrop: "kfree_skb", pointIngress: "tcx_ingress",
}

func textOf(address [16]uint8) string {
	if address == [16]uint8{} {
		return ""
	}
	return netip.AddrFrom16(address).Unmap().String()
}

func told(p packet) contract.TracePacket {
	t := contract.TracePacket{
		Type: int(p.Type), Protocol: int(p.Protocol), Source: textOf(p.Inside.Source), Target: textOf(p.Inside.Target),
		SourcePort: int(p.SourcePort), TargetPort: int(p.TargetPort), Sequence: int(p.Sequence), Acknowledged: int(p.Acknowledged),
		TcpFlags: int(p.TcpFlags), ID: int(p.Id), PayloadBytes: int(p.PayloadBytes), Hops: int(p.Hops), Bytes: int(p.Length),
	}
	for _, one := range []struct {
		flag  flag
		words string
	}{{flagFirstFragment, "first fragment"}, {flagLaterFragment, "later fragment"}, {flagSuper, "super"}} {
		if p.Flags&uint8(one.flag) != 0 {
			t.Flags = append(t.Flags, one.words)
		}
	}
	if p.Type == typeIPv6 {
		// :: is an address, too.
		t.Source, t.Target = netip.AddrFrom16(p.Inside.Source).String(), netip.AddrFrom16(p.Inside.Target).String()
	}
	if p.OutsideProtocol != 0 {
		kind := "vxlan"
		if p.OutsideProtocol == protocolESP {
			kind = "esp"
			t.Source, t.Target = "", ""
		}
		t.Tunnel = &contract.TraceTunnel{Kind: kind, Source: textOf(p.Outside.Source), Target: textOf(p.Outside.Target), Number: int(p.Vni)}
	}
	return t
}

// matches: a filter wants the packet as it was at one of its steps.
func (l *leg) matches(f filter) bool {
	return slices.ContainsFunc(l.steps, func(e event) bool { return e.Packet.Flags&uint8(flagUnread) == 0 && matches(f, e.Packet) })
}

// asTold gives a leg in the program's words.
func (l *leg) asTold(names func(namespace, device uint32) (string, string), reasons map[uint32]string) contract.TraceLeg {
	t := contract.TraceLeg{Identity: l.identity.text(), Ordinal: l.ordinal}
	places := map[packet]int{}
	last := 0
	for _, e := range l.steps {
		if e.Packet.Flags&uint8(flagUnread) == 0 {
			at, known := places[e.Packet]
			if !known {
				at = len(t.Packets)
				places[e.Packet] = at
				t.Packets = append(t.Packets, told(e.Packet))
			}
			last = at
		}
		namespace, device := names(e.Namespace, e.Device)
		step := contract.TraceStep{Namespace: namespace, Device: device, Point: pointNames[point(e.Point)], AtNs: int64(e.AtNs), Cpu: int(e.Cpu), Packet: last}
		// A driver's own word comes by a buffer that is known.
		step.Buffer = max(0, slices.Index(l.buffers, e.Buffer))
		if point(e.Point) == pointDrop {
			step.Reason = reasons[e.Reason]
			if step.Reason == "" {
				step.Reason = fmt.Sprint(e.Reason)
			}
		}
		t.Steps = append(t.Steps, step)
	}
	return t
}
