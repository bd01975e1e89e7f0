package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// lease is an IPv4 address that a system of the network has told to another.
type lease struct {
	instance string // of the container's life
	address  *net.IPNet
	router   net.IP
	told     *nclient4.Lease
	cancel   context.CancelFunc
}

const (
	// An attach that fails is tried again every second: it need not wait long for an answer.
	dhcpTimeout = 700 * time.Millisecond
	dhcpTries   = 2
)

// is tells whether an address is the leased one; of no lease it never is.
func (l *lease) is(address netlink.Addr) bool {
	return l != nil && address.IPNet.String() == l.address.String()
}

// withRoutes adds the way that the lease tells, where the plan has none to everywhere.
func (l *lease) withRoutes(routes []routeSpec) []routeSpec {
	if l.router == nil {
		return routes
	}
	for _, route := range routes {
		if route.To == "default" && net.ParseIP(route.Via).To4() != nil {
			return routes
		}
	}
	return append(append([]routeSpec{}, routes...), routeSpec{To: "default", Via: l.router.String()})
}

func leaseKey(system, iface string) string { return system + "/" + iface }

// dhcpClient opens a raw socket on a device of a container; it may be used from any thread then.
func dhcpClient(ns netns.NsHandle, device string) (client *nclient4.Client, err error) {
	failed := inNamespace(ns, func() error {
		client, err = nclient4.New(device, nclient4.WithTimeout(dhcpTimeout), nclient4.WithRetry(dhcpTries))
		return err
	})
	return client, failed
}

// leaseOf gives the lease of an interface that is up: the one that is held, or a new one.
func (a *agent) leaseOf(ctx context.Context, s *spec, c *container, want ifaceSpec, ns netns.NsHandle, inside *netlink.Handle, link netlink.Link) (*lease, error) {
	key := leaseKey(s.System, want.Name)
	a.leasesMu.Lock()
	held := a.leases[key]
	a.leasesMu.Unlock()
	if held != nil && held.instance == s.instance {
		present, err := inside.AddrList(link, netlink.FAMILY_V4)
		if err != nil {
			return nil, err
		}
		for _, address := range present {
			if held.is(address) {
				return held, nil
			}
		}
	}
	a.dropLease(key)
	client, err := dhcpClient(ns, want.Name)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	told, err := client.Request(ctx)
	if err != nil {
		if errors.Is(err, nclient4.ErrNoResponse) || errors.Is(err, context.DeadlineExceeded) {
			return nil, errors.New("no server of the network answers")
		}
		return nil, err
	}
	now := &lease{instance: s.instance, told: told}
	if err := now.settle(inside, link); err != nil {
		return nil, err
	}
	following, cancel := context.WithCancel(context.Background())
	now.cancel = cancel
	a.leasesMu.Lock()
	if a.leases == nil {
		a.leases = map[string]*lease{}
	}
	a.leases[key] = now
	a.leasesMu.Unlock()
	go a.renew(following, now, s.Container, want.Name)
	return now, nil
}

// settle puts what was told on the interface, for as long as it was told for.
func (l *lease) settle(inside *netlink.Handle, link netlink.Link) error {
	ack := l.told.ACK
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	l.address = &net.IPNet{IP: ack.YourIPAddr.To4(), Mask: mask}
	l.router = nil
	if routers := dhcpv4.GetIPs(dhcpv4.OptionRouter, ack.Options); len(routers) > 0 {
		l.router = routers[0]
	}
	seconds := int(l.seconds().Seconds())
	address := &netlink.Addr{IPNet: l.address, ValidLft: seconds, PreferedLft: seconds}
	return inside.AddrReplace(link, address)
}

func (l *lease) seconds() time.Duration { return l.told.ACK.IPAddressLeaseTime(time.Hour) }

// renew asks again at half of the lease's time, and then ever more often, until it is dropped or its container is gone.
func (a *agent) renew(ctx context.Context, l *lease, name, device string) {
	begin := time.Now()
	wait := l.seconds() / 2
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(wait, time.Second)):
		}
		err := a.renewOnce(ctx, l, name, device)
		if errors.Is(err, errNotOurs) || ctx.Err() != nil {
			return
		}
		if err == nil {
			begin, wait = time.Now(), l.seconds()/2
			continue
		}
		left := l.seconds() - time.Since(begin)
		log.Printf("%s: dhcp: the address ends in %s: %v", name, left.Round(time.Second), err)
		wait = max(left/4, time.Second)
	}
}

func (a *agent) renewOnce(ctx context.Context, l *lease, name, device string) error {
	c, err := a.docker.inspect(ctx, name)
	if err != nil {
		return err
	}
	if c == nil || !c.State.Running || fmt.Sprint(c.State.StartedAt.UnixMilli()) != l.instance {
		return errNotOurs
	}
	return a.inContainer(c, func(ns netns.NsHandle, inside *netlink.Handle) error {
		link, err := inside.LinkByName(device)
		if err != nil {
			return err
		}
		client, err := dhcpClient(ns, device)
		if err != nil {
			return err
		}
		defer client.Close()
		told, err := client.Renew(ctx, l.told)
		if err != nil {
			return err
		}
		l.told = told
		return l.settle(inside, link)
	})
}

func (a *agent) dropLease(key string) {
	a.leasesMu.Lock()
	defer a.leasesMu.Unlock()
	if held := a.leases[key]; held != nil {
		held.cancel()
		delete(a.leases, key)
	}
}

func (a *agent) dropLeases(s *spec) {
	for _, iface := range s.Interfaces {
		a.dropLease(leaseKey(s.System, iface.Name))
	}
}
