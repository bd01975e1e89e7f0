// Package kernel holds what the agent's parts share in speaking to the kernel.
package kernel

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol marks our routes (rtnetlink(7): numbers above RTPROT_STATIC are free for use; components/host/objects/route.ts says why this one).
const RouteProtocol = 240

// IgnoreGone is for what is taken away: it may be gone already.
func IgnoreGone(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

// HasNoLink: the error of a look for a device that is not there.
func HasNoLink(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing)
}

// LinkIndex gives 0 where there is no such device.
func LinkIndex(name string) (int, error) {
	link, err := netlink.LinkByName(name)
	if HasNoLink(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return link.Attrs().Index, nil
}

// HasEnd: an IPv4 address with an end was told by somebody, and not declared.
func HasEnd(address netlink.Addr) bool {
	return address.IP.To4() != nil && address.Flags&unix.IFA_F_PERMANENT == 0
}
