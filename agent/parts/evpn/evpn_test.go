package evpn

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAnEntryWaitsForItsPort(t *testing.T) {
	tries := 0
	err := onceForwarding(func() error {
		if tries++; tries < 3 {
			return unix.EPERM
		}
		return nil
	})
	if err != nil || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
	other := errors.New("no such bridge")
	if err := onceForwarding(func() error { return other }); err != other {
		t.Errorf("got %v", err)
	}
}
