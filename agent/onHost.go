package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The first thread is the main goroutine's alone: a thread that took the server's files cannot give them back, and with the first
// one the whole process would be seen to have them (nsenter by its PID would miss /agent).
func init() { runtime.LockOSThread() }

// onHost runs a command of the server's own, in this process's network namespace and with the server's files: the agent's image
// holds nothing but the agent.
func (a *agent) onHost(command ...string) error {
	_, err := a.tellHost(nil, "", command...)
	return err
}

// inherited is what a command finds the first of its files as.
const inherited = "/proc/self/fd/3"

// tellHost does so with a file that the command inherits, if there is one, and an input, and gives what the command printed.
func (a *agent) tellHost(file *os.File, input string, command ...string) (string, error) {
	type result struct {
		said string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// Never unlocked: the thread ends with the goroutine, and its namespaces with it.
		runtime.LockOSThread()
		said, err := runIn(filepath.Join(a.files.Proc, "1/ns/mnt"), file, input, command)
		done <- result{said, err}
	}()
	got := <-done
	return got.said, got.err
}

const (
	hostTimeout  = 30 * time.Second
	mostOutput   = 4 << 20
	keptOfOutput = 300 // of an error's words
)

// bounded keeps what is written to it, up to a limit: rules of a tenant's own can be as many as it likes.
type bounded struct {
	bytes.Buffer
	limit int
}

func (b *bounded) Write(data []byte) (int, error) {
	if b.Len()+len(data) > b.limit {
		return 0, fmt.Errorf("more than %d bytes", b.limit)
	}
	return b.Buffer.Write(data)
}

func runIn(mounts string, file *os.File, input string, command []string) (string, error) {
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
	ctx, cancel := context.WithTimeout(context.Background(), hostTimeout)
	defer cancel()
	program := exec.CommandContext(ctx, command[0], command[1:]...)
	// A child of it that lives on must not keep us waiting for its output.
	program.WaitDelay = time.Second
	if file != nil {
		program.ExtraFiles = []*os.File{file}
	}
	program.Stdin = strings.NewReader(input)
	program.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	program.Dir = "/"
	said := &bounded{limit: mostOutput}
	program.Stdout, program.Stderr = said, said
	if err := program.Run(); err != nil {
		words := bytes.TrimSpace(said.Bytes())
		return "", fmt.Errorf("%w: %s", err, words[max(0, len(words)-keptOfOutput):])
	}
	return said.String(), nil
}
