package kernel

import (
	"runtime"

	"github.com/vishvananda/netns"
)

// InNamespace runs work on a thread of the given network namespace. The thread is never given back
// where the way home fails: Go ends a locked thread with its goroutine.
func InNamespace(ns netns.NsHandle, work func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			result <- err
			return
		}
		defer home.Close()
		if err := netns.Set(ns); err != nil {
			result <- err
			return
		}
		err = work()
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}
