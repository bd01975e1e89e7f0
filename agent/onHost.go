package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// The first thread is the main goroutine's alone: a thread that took the server's files cannot give them back, and with the first
// one the whole process would be seen to have them (nsenter by its PID would miss /agent).
func init() { runtime.LockOSThread() }

// onHost runs a command of the server's own, in this process's network namespace and with the server's files: the agent's image
// holds nothing but the agent.
func (a *agent) onHost(command ...string) error {
	_, err := a.tellHost("", command...)
	return err
}

// tellHost does so with an input, and gives what the command printed.
func (a *agent) tellHost(input string, command ...string) (string, error) {
	type result struct {
		said string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its namespaces with it.
		runtime.LockOSThread()
		said, err := runIn(filepath.Join(a.proc, "1/ns/mnt"), input, command)
		done <- result{said, err}
	}()
	got := <-done
	return got.said, got.err
}

func runIn(mounts, input string, command []string) (string, error) {
	ns, err := os.Open(mounts)
	if err != nil {
		return "", err
	}
	defer ns.Close()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return "", fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNS); err != nil {
		return "", fmt.Errorf("%s: %w", mounts, err)
	}
	program := exec.Command(command[0], command[1:]...)
	program.Stdin = strings.NewReader(input)
	program.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	program.Dir = "/"
	said, err := program.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(said))
	}
	return string(said), nil
}
