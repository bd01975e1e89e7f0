package dhcp

import (
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

func TestAcksThatAreNoAddress(t *testing.T) {
	usable := net.IPv4(10, 9, 0, 8)
	for _, c := range []struct {
		what    string
		address net.IP
		mask    net.IPMask
		ok      bool
	}{
		{"an address", usable, net.CIDRMask(24, 32), true},
		{"no netmask: that of its class", usable, nil, true},
		{"a netmask with holes", usable, net.IPv4Mask(255, 0, 255, 0), false},
		{"a netmask of nothing", usable, net.IPv4Mask(0, 0, 0, 0), false},
		{"a group", net.IPv4(224, 0, 0, 5), nil, false},
		{"all", net.IPv4bcast, net.CIDRMask(24, 32), false},
		{"none", net.IPv4zero, net.CIDRMask(24, 32), false},
		{"loopback", net.IPv4(127, 0, 0, 1), net.CIDRMask(8, 32), false},
	} {
		options := []dhcpv4.Modifier{dhcpv4.WithYourIP(c.address)}
		if c.mask != nil {
			options = append(options, dhcpv4.WithNetmask(c.mask))
		}
		ack, err := dhcpv4.New(options...)
		if err != nil {
			t.Fatal(err)
		}
		told, err := readAck(&nclient4.Lease{ACK: ack})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, %v", c.what, told, err)
		}
	}
}

func TestLeasesWithoutAnEnd(t *testing.T) {
	for _, c := range []struct {
		seconds     uint32
		least, most time.Duration
	}{{0xffffffff, mostLease - time.Minute, mostLease}, {0, leastLease - time.Second, leastLease}, {600, 9 * time.Minute, 10 * time.Minute}} {
		ack, err := dhcpv4.New(
			dhcpv4.WithYourIP(net.IPv4(10, 9, 0, 8)),
			dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
			dhcpv4.WithLeaseTime(c.seconds),
		)
		if err != nil {
			t.Fatal(err)
		}
		told, err := readAck(&nclient4.Lease{ACK: ack})
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(told.until); left < c.least || left > c.most {
			t.Errorf("%d seconds: %s", c.seconds, left)
		}
	}
}

func TestPacketsThatLie(t *testing.T) {
	packet := func(header byte, total, length int) []byte {
		b := make([]byte, length)
		b[0], b[2], b[3] = 0x40|header, byte(total>>8), byte(total)
		return b
	}
	for _, c := range []struct {
		what string
		b    []byte
		ok   bool
	}{
		{"whole", packet(5, 28, 28), true},
		{"with padding", packet(5, 28, 46), true},
		{"with options", packet(7, 36, 36), true},
		{"shorter than it says", packet(5, 40, 28), false},
		{"without a header of UDP", packet(5, 20, 28), false},
		{"with a header that is none", packet(2, 28, 28), false},
		{"with half a header", packet(5, 28, 28)[:12], false},
		{"of nothing", nil, false},
	} {
		if isWhole(c.b) != c.ok {
			t.Errorf("%s: %v is wanted", c.what, c.ok)
		}
	}
}
