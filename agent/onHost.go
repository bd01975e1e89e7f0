package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// The first thread is the main goroutine's alone: a thread that took the server's files cannot give them back, and with the first
// one the whole process would be seen to have them (nsenter by its PID would miss /agent).
func init() { runtime.LockOSThread() }

// onHost runs a command of the server's own, in this process's network namespace and with the server's files: the agent's image
// holds nothing but the agent.
func (a *agent) onHost(command ...string) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its namespaces with it.
		runtime.LockOSThread()
		done <- runIn(filepath.Join(a.proc, "1/ns/mnt"), command)
	}()
	return <-done
}

func runIn(mounts string, command []string) error {
	ns, err := os.Open(mounts)
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("%s: %w", mounts, err)
	}
	program := exec.Command(command[0], command[1:]...)
	program.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	program.Dir = "/"
	if said, err := program.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(said))
	}
	return nil
}
