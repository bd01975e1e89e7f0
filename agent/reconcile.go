package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"flipflap.local/agent/docker"
	"flipflap.local/agent/part"
)

// lastAttached gives the process of the container that was attached last; the file outlives this agent.
func (a *agent) lastAttached(system string) int {
	status := a.statusOf(system)
	if status.Error != "" {
		return 0
	}
	return status.Pid
}

func (a *agent) statusOf(system string) attachStatus {
	a.mu.Lock()
	status, known := a.tried[system]
	a.mu.Unlock()
	if known {
		return status
	}
	return readStatus(a.files.Status, system)
}

func (a *agent) knownSpec(system string) *spec {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known[system]
}

// note keeps what became of a system, and gives what was known before.
func (a *agent) note(s *spec, status attachStatus) attachStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.tried[s.System]
	if status.Error == "" {
		a.known[s.System] = s
		delete(a.retries, s.System)
	} else if !s.isByHand {
		// A look that something else was the cause of does not count.
		if r, now := a.retries[s.System], time.Now(); !now.Before(r.at) {
			a.retries[s.System] = r.after(now)
		}
	}
	isSame := before.SpecHash == status.SpecHash && before.Pid == status.Pid
	if trouble(before) != "" || trouble(status) != "" || !isSame {
		a.tried[s.System] = status
	}
	return before
}

// reconcile attaches one system where its container runs; false where it does not. Called by the system's queue alone.
func (a *agent) reconcile(ctx context.Context, s *spec) (attachStatus, bool) {
	begin := time.Now()
	c, err := a.Inspect(ctx, s.Container)
	if err == nil && c == nil {
		return attachStatus{}, false
	}
	if err == nil && !s.isByHand && c.Config.Labels["flipflap.stack"] != a.files.Stack {
		if !c.State.Running {
			return attachStatus{}, false
		}
		err = fmt.Errorf("container %s is not of stack %s", s.Container, a.files.Stack)
	}
	if err == nil && !c.State.Running {
		if err = a.start(ctx, s, c); err == errNotOurs {
			return attachStatus{}, false
		}
		if err == nil {
			c, err = a.Inspect(ctx, s.Container)
		}
		if err == nil && c == nil {
			return attachStatus{}, false
		}
	}
	status := attachStatus{System: s.System, SpecHash: s.hash}
	if err == nil {
		if old := a.knownSpec(s.System); old != nil && old.hash != s.hash {
			if err := a.detachChanged(old, s); err != nil {
				log.Printf("%s: %v", s.System, err)
			}
		}
		status.Pid, status.StartedAtMs = c.State.Pid, c.State.StartedAt.UnixMilli()
		s.instance = fmt.Sprint(c.State.StartedAt.UnixMilli())
		err = a.attach(ctx, s, c, a.lastAttached(s.System) != c.State.Pid)
	}
	if err == nil && a.pids == nil {
		err = a.docker.LimitProcesses(ctx, c, s.Processes)
	}
	status.WorkMs = time.Since(begin).Milliseconds()
	if part.IsWaiting(err) {
		status.Waiting, err = err.Error(), nil
	}
	if err != nil {
		status.Error = err.Error()
	} else {
		status.AttachedMs = time.Since(c.State.StartedAt).Milliseconds()
	}
	status.Nftables = s.nftables
	before := a.note(s, status)
	if trouble(before) == "" && before.SpecHash == status.SpecHash && before.Pid == status.Pid && trouble(status) == "" {
		return before, true // nothing new: the figures of the first attach stay
	}
	if trouble(status) != trouble(before) || trouble(status) == "" {
		log.Printf("%s: pid %d, %d ms after start (work %d ms) %s", s.System, status.Pid, status.AttachedMs, status.WorkMs, trouble(status))
	}
	if err := writeStatus(a.files.Status, status); err != nil {
		log.Print(err)
	}
	return status, true
}

// Inspect asks docker, or knows the process itself.
func (a *agent) Inspect(ctx context.Context, name string) (*docker.Container, error) {
	if a.pids == nil {
		return a.docker.Inspect(ctx, name)
	}
	c := &docker.Container{}
	c.State.Pid = a.pids[name]
	c.State.Running = c.State.Pid != 0
	c.Config.Labels = map[string]string{"flipflap.stack": a.files.Stack}
	return c, nil
}
