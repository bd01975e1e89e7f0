package trace

import (
	"testing"
)

// seen is an event of an echo, numbered by its sequence.
func seen(at uint64, buffer uint64, device uint32, p point, sequence uint32) event {
	return event{AtNs: at, Buffer: buffer, Namespace: 1, Device: device, Point: uint8(p), Packet: packet{Type: typeIPv4, Protocol: protocolICMP, SourcePort: 8 << 8, Sequence: sequence, Digest: 5}}
}

func legsOf(events ...event) []*leg {
	var all []*leg
	c := newCollector(0, func(l *leg) { all = append(all, l) })
	for _, e := range events {
		c.add(e)
	}
	c.close(0, true)
	return all
}

func TestAPacketIsOneLegThroughDevicesThatKeepItsBuffer(t *testing.T) {
	all := legsOf(
		seen(10, 7, 1, pointQueue, 1), seen(11, 7, 1, pointStart, 1), seen(12, 7, 2, pointRx, 1), event{AtNs: 13, Buffer: 7, Namespace: 1, Device: 1, Point: uint8(pointSent), Packet: packet{Flags: uint8(flagUnread)}},
		seen(14, 7, 3, pointQueue, 1),
	)
	if len(all) != 1 || len(all[0].steps) != 5 || len(all[0].buffers) != 1 {
		t.Fatalf("%d legs: %+v", len(all), all)
	}
}

func TestTwoPacketsAreTwoLegsThoughTheyUseOneBuffer(t *testing.T) {
	all := legsOf(seen(10, 7, 1, pointQueue, 1), seen(20, 7, 1, pointQueue, 2))
	if len(all) != 2 {
		t.Fatalf("%d legs", len(all))
	}
}

func TestEqualPacketsAreToldApartByTheirBuffers(t *testing.T) {
	all := legsOf(
		seen(10, 7, 1, pointQueue, 1), seen(11, 8, 1, pointQueue, 1),
		seen(12, 8, 2, pointRx, 1), seen(13, 7, 2, pointRx, 1),
	)
	if len(all) != 2 || all[0].ordinal != 0 || all[1].ordinal != 1 {
		t.Fatalf("%+v", all)
	}
	for _, l := range all {
		if len(l.steps) != 2 || l.steps[0].Buffer != l.steps[1].Buffer {
			t.Errorf("%+v", l.steps)
		}
	}
}

func TestACopyGoesOnInTheLegOfItsPacket(t *testing.T) {
	all := legsOf(
		seen(10, 7, 1, pointQueue, 1), seen(11, 7, 2, pointRx, 1),
		// A bridge floods: two ports, one of them by a copy.
		seen(12, 9, 3, pointQueue, 1), seen(13, 7, 4, pointQueue, 1),
		seen(14, 9, 5, pointRx, 1), seen(15, 7, 6, pointRx, 1),
	)
	if len(all) != 1 || len(all[0].buffers) != 2 || len(all[0].steps) != 6 {
		t.Fatalf("%d legs: %+v", len(all), all[0])
	}
}

func TestEqualPacketsOfTwoSystemsAreTwoLegs(t *testing.T) {
	other := seen(11, 8, 9, pointStart, 1)
	other.Namespace = 2
	if all := legsOf(seen(10, 7, 1, pointStart, 1), other); len(all) != 2 {
		t.Fatalf("%d legs of equal packets that two systems sent", len(all))
	}
	answer := seen(11, 8, 2, pointRx, 1)
	answer.Packet.Inside.Source = [16]uint8{15: 2}
	if all := legsOf(seen(10, 7, 1, pointStart, 1), answer); len(all) != 2 {
		t.Fatalf("%d legs of a packet and an equal one of others", len(all))
	}
}

func TestAStreamOfEqualPacketsEnds(t *testing.T) {
	var told int
	c := newCollector(0, func(*leg) { told++ })
	for i := range uint64(100) {
		at := i * 100_000_000
		c.add(seen(at, 7, 1, pointStart, 1))
		c.add(seen(at+1, 7, 2, pointRx, 1))
		c.close(at+1, false)
	}
	if told < 90 {
		t.Errorf("%d of 100 were told", told)
	}
}

func TestWhatTheServerHoldsIsWaitedFor(t *testing.T) {
	const held = 600_000_000
	for server, wanted := range map[uint32]int{1: 1, 2: 2} {
		var all []*leg
		c := newCollector(server, func(l *leg) { all = append(all, l) })
		c.add(seen(10, 7, 1, pointStart, 1))
		c.add(seen(11, 7, 2, pointReceive, 1))
		for at := uint64(20_000_000); at < held; at += 20_000_000 {
			c.close(at, false)
		}
		c.add(seen(held, 7, 3, pointDrop, 1))
		c.close(held+2*quietNs, false)
		if len(all) != wanted {
			t.Errorf("%d legs where the server is %d, wanted %d", len(all), server, wanted)
		}
	}
}

func TestARetransmissionIsALegOfItsOwn(t *testing.T) {
	all := legsOf(seen(10, 7, 1, pointQueue, 1), seen(11, 7, 2, pointRx, 1), seen(300_000_000, 9, 1, pointQueue, 1), seen(300_000_001, 9, 2, pointRx, 1))
	if len(all) != 2 || all[1].ordinal != 1 {
		t.Fatalf("%+v", all)
	}
}

func TestAddressesAndHopsAreNoPartOfAnIdentity(t *testing.T) {
	a, b := seen(1, 1, 1, pointQueue, 1).Packet, seen(1, 1, 1, pointQueue, 1).Packet
	b.Inside.Source, b.Hops, b.TargetPort, b.Vni, b.Length = [16]uint8{15: 9}, 63, 9, 7, 150
	if identityOf(a) != identityOf(b) {
		t.Error("NAT or a router made another packet of it")
	}
	b.Sequence = 2
	if identityOf(a) == identityOf(b) {
		t.Error("the next ping is the same packet")
	}
}

// BenchmarkLegs: what an event of a fast connection costs the agent.
func BenchmarkLegs(b *testing.B) {
	var told int
	c := newCollector(0, func(*leg) { told++ })
	for i := range uint64(b.N) {
		packet := i / 4
		at := packet * 10_000 // 100,000 packets a second
		c.add(seen(at+i%4, packet%512, uint32(i%4), pointStart, uint32(packet)))
		if i%8000 == 0 { // each 20 ms
			c.close(at, false)
		}
	}
}
