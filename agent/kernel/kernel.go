// Package kernel holds what the agent's parts share in speaking to the kernel.
package kernel

import (
	"errors"

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
