package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"flipflap.local/agent/ila"
	"golang.org/x/sys/unix"
)

type agent struct {
	stack, specsDir, statusDir, proc, programs, bpffs string
	docker                                            *docker
	pids                                              map[string]int // in place of docker: the processes of containers
	ila                                               *ila.Engine
	shortcut                                          *shortcut // nil where the server has none

	ilaError error

	mu sync.Mutex
	// Of containers started by hand: their plans, and those whose network there is not.
	byHand  map[string]*spec
	refused map[string]bool

	known map[string]*spec // attached once: what to take back when the spec is gone
	tried map[string]attachStatus

	guarded map[string]string // docker networks whose guard stands, and where
	stopped map[string]bool   // systems that somebody stopped

	wake func() // for a look at everything; nil where it looks once

	parents sync.Map // devices of the server that interfaces sit on, by name

	leasesMu sync.Mutex
	leases   map[string]*lease // by system and interface

	cilium *docker // its API, in the same words as docker's

	inSwarmAt time.Time // when docker last said that this server is in its swarm
}

// run follows docker's events and the folder of specs until ctx ends. A failed attach (a bridge that is
// not there yet, say) is tried again every second.
func (a *agent) run(ctx context.Context) error {
	a.known, a.tried = map[string]*spec{}, map[string]attachStatus{}
	a.byHand, a.refused = map[string]*spec{}, map[string]bool{}
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	a.wake = wake
	if err := watchFolder(a.specsDir, wake); err != nil {
		return err
	}
	kinds := a.kindsDir()
	if err := os.MkdirAll(kinds, 0o755); err == nil {
		if err := watchFolder(kinds, wake); err != nil {
			return err
		}
	}
	go a.followParents(ctx)
	a.openShortcut(ctx, wake)
	a.ila = ila.NewEngine(a.ilaOptions(ila.OpenEtcd(ilaBundle)))
	a.configureILA(ctx)
	go func() {
		for ctx.Err() == nil {
			_ = a.docker.follow(ctx, networkLabel, wake, func(event) {
				wake()
				// At the event itself docker may still call it running.
				time.AfterFunc(time.Second, wake)
			})
			time.Sleep(time.Second)
		}
	}()
	go func() {
		for ctx.Err() == nil {
			err := a.docker.follow(ctx, "flipflap.stack="+a.stack, func() {
				a.mu.Lock()
				clear(a.stopped)
				a.mu.Unlock()
				wake()
			}, func(e event) { a.onEvent(ctx, e, wake) })
			log.Printf("docker's events ended (%v); again in a second", err)
			time.Sleep(time.Second)
		}
	}()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	log.Printf("stack %s: following", a.stack)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			a.configureILA(ctx)
			a.tell("swarm", a.joinSwarm(ctx))
			a.ila.Again()
			a.reconcileAll(ctx)
		case <-again.C:
			a.ila.FollowUplink()
			a.tell("swarm", a.joinSwarm(ctx))
			if a.ilaError != nil || a.anyFailed() {
				a.configureILA(ctx)
				a.reconcileAll(ctx)
			}
		}
	}
}

// ilaBundle is where components/kinds/ila puts what etcd wants to see.
const ilaBundle = "/etc/flipflap/ila.pem"

// kindsDir holds what kinds have to tell the agent beside the systems' specs.
func (a *agent) kindsDir() string { return filepath.Join(a.specsDir, "kinds") }

func (a *agent) ilaOptions(open ila.Opener) ila.Options {
	return ila.Options{
		Programs: filepath.Join(filepath.Dir(a.programs), "ila.bpf.o"), Pins: ila.PinsOf(a.bpffs, a.stack),
		Config: filepath.Join(a.kindsDir(), "ila.json"), Status: filepath.Join(a.statusDir, "ila"), Open: open,
	}
}

// configureILA says once what keeps this server from its part.
func (a *agent) configureILA(ctx context.Context) {
	err := a.ila.Configure(ctx)
	if err != nil && (a.ilaError == nil || err.Error() != a.ilaError.Error()) {
		log.Printf("ila: %v", err)
	}
	a.ilaError = err
}

// tell writes what keeps a part of this server from working where a check finds it, and logs it once.
func (a *agent) tell(part string, err error) {
	path, said := filepath.Join(a.statusDir, part), ""
	if err != nil {
		said = err.Error()
	}
	if before, _ := os.ReadFile(path); string(before) == said {
		return
	}
	if said == "" {
		os.Remove(path)
		return
	}
	log.Printf("%s: %s", part, said)
	if err := os.WriteFile(path, []byte(said), 0o644); err != nil {
		log.Print(err)
	}
}

// openShortcut makes the short cut where the server can have one, and says why where not.
func (a *agent) openShortcut(ctx context.Context, wake func()) {
	said := "on"
	s, err := newShortcut(a.programs)
	if err == nil {
		err = s.watch(ctx, wake)
	}
	if err == nil {
		a.shortcut = s
	} else {
		said = "off: " + err.Error()
	}
	log.Printf("short cut %s", said)
	if err := os.WriteFile(filepath.Join(a.statusDir, "shortcut"), []byte(said+"\n"), 0o644); err != nil {
		log.Print(err)
	}
}

func (a *agent) anyFailed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, status := range a.tried {
		if status.Error != "" {
			return true
		}
	}
	return false
}

// onEvent is the short way of a container's start: its own spec and no other.
func (a *agent) onEvent(ctx context.Context, e event, wake func()) {
	system := e.Actor.Attributes["flipflap.system"]
	if system == "" {
		wake() // one of ours, that others may wait for
		return
	}
	path := filepath.Join(a.specsDir, system+".json")
	if filepath.Base(path) != system+".json" {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := readSpec(path)
	if err != nil {
		return // its spec is still to come, and wakes us then
	}
	switch e.Action {
	case "kill": // by somebody, who will say when it is to run again
		a.stopped[system] = true
	case "die":
		if err := a.detach(s); err != nil {
			log.Printf("%s: stopped: %v", system, err)
		}
		a.forget(system)
		if s.StartedByAgent {
			time.AfterFunc(100*time.Millisecond, wake)
		}
	default:
		delete(a.stopped, system)
		a.reconcile(ctx, s)
	}
}

func (a *agent) forget(system string) {
	delete(a.tried, system)
	if err := os.Remove(filepath.Join(a.statusDir, system+".json")); err != nil && !os.IsNotExist(err) {
		log.Print(err)
	}
}

// reconcileAll attaches every system that has a spec and takes back what has none any more.
func (a *agent) reconcileAll(ctx context.Context) []attachStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	files, err := specFiles(a.specsDir)
	if err != nil {
		log.Print(err)
		return nil
	}
	for system, old := range a.known {
		if _, declared := files[system]; !declared && !old.isByHand {
			if err := a.detach(old); err != nil {
				log.Printf("%s: %v", system, err)
				continue
			}
			delete(a.known, system)
			a.forget(system)
		}
	}
	var all []attachStatus
	for system, path := range files {
		s, err := readSpec(path)
		if err != nil {
			log.Printf("%s: %v", system, err)
			continue
		}
		if status, ok := a.reconcile(ctx, s); ok {
			all = append(all, status)
		}
	}
	a.reconcileByHand(ctx)
	if a.ila != nil {
		a.ila.Settled()
	}
	return all
}

// lastAttached gives the process of the container that was attached last; the file outlives this agent.
func (a *agent) lastAttached(system string) int {
	status := a.statusOf(system)
	if status.Error != "" {
		return 0
	}
	return status.Pid
}

func (a *agent) statusOf(system string) attachStatus {
	if status, known := a.tried[system]; known {
		return status
	}
	return readStatus(a.statusDir, system)
}

// reconcile attaches one system where its container runs; false where it does not.
func (a *agent) reconcile(ctx context.Context, s *spec) (attachStatus, bool) {
	begin := time.Now()
	c, err := a.inspect(ctx, s.Container)
	if err == nil && c == nil {
		return attachStatus{}, false
	}
	if err == nil && !s.isByHand && c.Config.Labels["flipflap.stack"] != a.stack {
		if !c.State.Running {
			return attachStatus{}, false
		}
		err = fmt.Errorf("container %s is not of stack %s", s.Container, a.stack)
	}
	if err == nil && !c.State.Running {
		if err = a.start(ctx, s, c); err == errNotOurs {
			return attachStatus{}, false
		}
		if err == nil {
			c, err = a.inspect(ctx, s.Container)
		}
		if err == nil && c == nil {
			return attachStatus{}, false
		}
	}
	status := attachStatus{System: s.System, SpecHash: s.hash}
	if err == nil {
		if old := a.known[s.System]; old != nil && old.hash != s.hash {
			if err := a.detachChanged(old, s); err != nil {
				log.Printf("%s: %v", s.System, err)
			}
		}
		status.Pid, status.StartedAtMs = c.State.Pid, c.State.StartedAt.UnixMilli()
		s.instance = fmt.Sprint(c.State.StartedAt.UnixMilli())
		err = a.attach(ctx, s, c, a.lastAttached(s.System) != c.State.Pid)
	}
	status.WorkMs = time.Since(begin).Milliseconds()
	if isWaiting(err) {
		status.Waiting, err = err.Error(), nil
	}
	if err != nil {
		status.Error = err.Error()
	} else {
		if a.known != nil {
			a.known[s.System] = s
		}
		status.AttachedMs = time.Since(c.State.StartedAt).Milliseconds()
	}
	status.Nftables = s.nftables
	before := a.tried[s.System]
	if before.trouble() == "" && before.SpecHash == status.SpecHash && before.Pid == status.Pid && status.trouble() == "" {
		return before, true // nothing new: the figures of the first attach stay
	}
	if status.trouble() != before.trouble() || status.trouble() == "" {
		log.Printf("%s: pid %d, %d ms after start (work %d ms) %s", s.System, status.Pid, status.AttachedMs, status.WorkMs, status.trouble())
	}
	if a.tried != nil {
		a.tried[s.System] = status
	}
	if err := writeStatus(a.statusDir, status); err != nil {
		log.Print(err)
	}
	return status, true
}

// inspect asks docker, or knows the process itself.
func (a *agent) inspect(ctx context.Context, name string) (*container, error) {
	if a.pids == nil {
		return a.docker.inspect(ctx, name)
	}
	c := &container{}
	c.State.Pid = a.pids[name]
	c.State.Running = c.State.Pid != 0
	c.Config.Labels = map[string]string{"flipflap.stack": a.stack}
	return c, nil
}

// watchFolder calls changed whenever a file of the folder is put in place or taken away.
func watchFolder(folder string, changed func()) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return err
	}
	if _, err := unix.InotifyAddWatch(fd, folder, unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_CLOSE_WRITE); err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	go func() {
		buffer := make([]byte, 64*1024)
		for {
			if _, err := unix.Read(fd, buffer); err != nil && err != unix.EINTR {
				log.Printf("watching %s: %v", folder, err)
				return
			}
			changed()
		}
	}()
	return nil
}
