// Package dhcp asks for addresses that systems of a network tell to others, and keeps them.
package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"sync"
	"time"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/kernel"
	"flipflap.local/agent/part"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	dhcpTimeout = 700 * time.Millisecond
	dhcpTries   = 3 // each waits twice as long: servers look for three seconds whether an address is free
	// Of a lease: below the least every server would be asked all the time, and the kernel takes the greatest number for no end.
	leastLease = 10 * time.Second
	mostLease  = (1 << 30) * time.Second
)

// askRenewal: a server that has an opinion on when to renew tells it to those that ask.
var askRenewal = dhcpv4.WithRequestedOptions(dhcpv4.OptionRenewTimeValue)

// lease is what one interface was told by a system of its network. A goroutine of its own asks, renews and asks anew; attach
// takes what holds now, and waits for nobody.
type lease struct {
	of     leaseOwner
	cancel context.CancelFunc

	mu      sync.Mutex
	told    *toldAddress // nil while nobody has answered
	trouble error        // why
}

// leaseOwner: where one of these differs, another lease is asked for.
type leaseOwner struct {
	instance  string // of the container's life
	container string
	network   string
	index     int // of the interface, in the container
}

type toldAddress struct {
	address *net.IPNet
	router  net.IP
	until   time.Time
	renewal time.Time // when to ask whether it still holds
	by      *nclient4.Lease
}

// is tells whether an address is the told one; of none it never is.
func (t *toldAddress) is(address netlink.Addr) bool {
	return t != nil && address.IPNet.String() == t.address.String()
}

// route gives the way that was told; none where another interface has one that is declared.
func (t *toldAddress) route(want contract.AttachInterface) []contract.AttachRoute {
	if t == nil || t.router == nil || !want.DHCPRoute {
		return nil
	}
	return []contract.AttachRoute{{To: "default", Via: t.router.String()}}
}

func (t *toldAddress) put(inside *netlink.Handle, link netlink.Link) error {
	seconds := max(int(time.Until(t.until).Seconds()), 1)
	return inside.AddrReplace(link, &netlink.Addr{IPNet: t.address, ValidLft: seconds, PreferedLft: seconds})
}

// putAlone: what was told before goes first, for with an address of a subnet the kernel takes its secondaries too.
func (t *toldAddress) putAlone(inside *netlink.Handle, link netlink.Link) error {
	present, err := inside.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for _, address := range present {
		if kernel.HasEnd(address) && !t.is(address) {
			if err := kernel.IgnoreGone(inside.AddrDel(link, &address)); err != nil {
				return err
			}
		}
	}
	return t.put(inside, link)
}

// readAck takes nothing for granted: whoever is in the network may answer.
func readAck(by *nclient4.Lease) (*toldAddress, error) {
	ack := by.ACK
	address, mask := ack.YourIPAddr.To4(), ack.SubnetMask()
	if mask == nil && address != nil {
		mask = address.DefaultMask()
	}
	if ones, bits := mask.Size(); address == nil || !address.IsGlobalUnicast() || bits != 32 || ones == 0 {
		return nil, fmt.Errorf("what was told is no address of a host: %v, netmask %v", ack.YourIPAddr, mask)
	}
	told := &toldAddress{address: &net.IPNet{IP: address, Mask: mask}, by: by}
	if routers := dhcpv4.GetIPs(dhcpv4.OptionRouter, ack.Options); len(routers) > 0 && routers[0].IsGlobalUnicast() {
		told.router = routers[0]
	}
	life := min(max(ack.IPAddressLeaseTime(time.Hour), leastLease), mostLease)
	told.until = time.Now().Add(life)
	renewal := ack.IPAddressRenewalTime(life / 2)
	told.renewal = time.Now().Add(min(max(renewal, time.Second), life/2))
	return told, nil
}

// wellFormed lets packets by that are as long as they say: the DHCP library (20250417) ends the process at others.
type wellFormed struct{ net.PacketConn }

func (w wellFormed) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.PacketConn.ReadFrom(b)
		if err != nil || isWhole(b[:n]) {
			return n, from, err
		}
	}
}

// isWhole: an IPv4 packet with all of its header, and of UDP's.
func isWhole(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	header, total := int(b[0]&0xf)*4, int(b[2])<<8|int(b[3])
	return header >= 20 && total >= header+8 && total <= len(b)
}

// openClient opens a raw socket on a device of a container; it may be used from any thread then.
func openClient(ns netns.NsHandle, link netlink.Link) (client *nclient4.Client, err error) {
	failed := kernel.InNamespace(ns, func() error {
		at := link.Attrs()
		raw, err := packet.Listen(&net.Interface{Index: at.Index, Name: at.Name, MTU: at.MTU, HardwareAddr: at.HardwareAddr}, packet.Datagram, unix.ETH_P_IP, nil)
		if err != nil {
			return err
		}
		conn := nclient4.NewBroadcastUDPConn(wellFormed{raw}, &net.UDPAddr{Port: nclient4.ClientPort})
		client, err = nclient4.NewWithConn(conn, at.HardwareAddr, nclient4.WithTimeout(dhcpTimeout), nclient4.WithRetry(dhcpTries))
		return err
	})
	return client, failed
}

func leaseKey(system, iface string) string { return system + "/" + iface }

// errGone: who asked is no more.
var errGone = errors.New("the container or its interface is gone")

type client struct {
	part.Base
	host part.Host

	leasesMu sync.Mutex
	leases   map[string]*lease // by system and interface
}

func New(host part.Host) part.Part { return &client{host: host, leases: map[string]*lease{}} }

func (*client) Name() string { return "dhcp" }

// Told gives what holds now, and waits for nobody.
func (a *client) Told(at part.Attachment, inside *netlink.Handle, link netlink.Link) (*part.Told, error) {
	told, err := a.leaseOf(at, link).holds(inside, link)
	return &part.Told{Is: told.is, Routes: told.route(at.Interface)}, err
}

// leaseOf gives the lease of an interface that is up: the one that is held, or a new one that is asked for from now on.
func (a *client) leaseOf(at part.Attachment, link netlink.Link) *lease {
	of := leaseOwner{instance: at.Instance, container: at.Name, network: at.Interface.Network, index: link.Attrs().Index}
	a.leasesMu.Lock()
	defer a.leasesMu.Unlock()
	key := leaseKey(at.System, at.Interface.Name)
	if held := a.leases[key]; held != nil {
		if held.of == of {
			return held
		}
		held.drop()
	}
	ctx, cancel := context.WithCancel(context.Background())
	now := &lease{of: of, cancel: cancel, trouble: errors.New("asking for an address")}
	a.leases[key] = now
	go a.ask(ctx, now)
	return now
}

// holds gives what was told, with the address on the interface, also where somebody took it away.
func (l *lease) holds(inside *netlink.Handle, link netlink.Link) (*toldAddress, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told == nil {
		return nil, &part.Waiting{Why: fmt.Errorf("dhcp: %w", l.trouble)}
	}
	present, err := inside.AddrList(link, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	for _, address := range present {
		if l.told.is(address) {
			return l.told, nil
		}
	}
	return l.told, l.told.put(inside, link)
}

// ask goes on until the lease is dropped, or its container or interface is gone.
func (a *client) ask(ctx context.Context, l *lease) {
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		var err error
		if wait, err = a.askOnce(ctx, l); err != nil {
			if errors.Is(err, errGone) || ctx.Err() != nil {
				return
			}
			wait = time.Second
		}
	}
}

// askOnce tells how long the answer is good for.
func (a *client) askOnce(ctx context.Context, l *lease) (wait time.Duration, err error) {
	c, err := a.host.Inspect(ctx, l.of.container)
	if err != nil {
		return 0, err
	}
	if c == nil || !c.State.Running || fmt.Sprint(c.State.StartedAt.UnixMilli()) != l.of.instance {
		return 0, errGone
	}
	err = a.host.Within(c, func(ns netns.NsHandle, inside *netlink.Handle) error {
		if err := kernel.AddressList.MustBeFew(ns); err != nil {
			return err
		}
		link, err := inside.LinkByIndex(l.of.index)
		if err != nil {
			return errGone // the next one has a lease of its own
		}
		client, err := openClient(ns, link)
		if err != nil {
			return err
		}
		defer client.Close()
		l.mu.Lock()
		held := l.told
		l.mu.Unlock()
		var by *nclient4.Lease
		if held == nil {
			by, err = client.Request(ctx, askRenewal)
		} else {
			// No longer than the address is ours: at its end another is asked for at once.
			until, end := context.WithDeadline(ctx, held.until)
			by, err = client.Renew(until, held.by, askRenewal)
			end()
		}
		var told *toldAddress
		if err == nil {
			told, err = readAck(by)
		}
		if errors.Is(err, nclient4.ErrNoResponse) || errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no server of the network answers")
		}
		var isNew bool
		wait, isNew, err = l.hear(ctx, inside, link, told, err)
		if isNew {
			a.host.Wake()
		}
		return err
	})
	return wait, err
}

// hear takes an answer, or that there was none. True where attach has something to do for it.
func (l *lease) hear(ctx context.Context, inside *netlink.Handle, link netlink.Link, told *toldAddress, failure error) (time.Duration, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() != nil {
		return 0, false, errGone
	}
	held := l.told
	if failure == nil {
		l.told, l.trouble = told, nil
		if err := told.putAlone(inside, link); err != nil {
			return 0, false, err
		}
		isNew := held == nil || held.address.String() != told.address.String() || !held.router.Equal(told.router)
		return time.Until(told.renewal), isNew, nil
	}
	isOther := l.trouble == nil || l.trouble.Error() != failure.Error()
	l.trouble = failure
	if held == nil {
		return time.Second, isOther, nil
	}
	log.Printf("%s: dhcp: the address ends in %s: %v", l.of.container, time.Until(held.until).Round(time.Second), failure)
	var refused *nclient4.ErrNak
	if left := time.Until(held.until); !errors.As(failure, &refused) && left > 0 {
		return min(max(left/4, time.Second), left), false, nil
	}
	// From here on it may be another's.
	l.told = nil
	_ = inside.AddrDel(link, &netlink.Addr{IPNet: held.address}) // at its end the kernel has done so
	return 0, true, nil
}

// drop: nothing that is under way is put on an interface any more.
func (l *lease) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cancel()
}

// Keep lets go of a system's leases, but for those that its plan still asks for.
func (a *client) Keep(system string, plan []contract.AttachInterface) {
	wanted := map[string]bool{}
	for _, iface := range plan {
		wanted[leaseKey(system, iface.Name)] = iface.DHCP
	}
	a.leasesMu.Lock()
	defer a.leasesMu.Unlock()
	for key, held := range a.leases {
		if strings.HasPrefix(key, leaseKey(system, "")) && !wanted[key] {
			held.drop()
			delete(a.leases, key)
		}
	}
}
