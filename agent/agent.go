package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"flipflap.local/agent/docker"
	"flipflap.local/agent/part"
	"golang.org/x/sys/unix"
)

type agent struct {
	files       part.Files
	deviceGroup uint
	specsDir    string
	docker      *docker.Client
	pids        map[string]int // in place of docker: the processes of containers
	parts       []part.Part
	troubles    map[string]string // of parts: what kept them from converging, of the run loop alone

	systems queues

	mu      sync.Mutex       // of the maps below; held for their reading and writing only
	known   map[string]*spec // attached once: what to take back when the spec is gone
	tried   map[string]attachStatus
	retries map[string]retry           // systems whose attach failed
	queued  map[string]<-chan struct{} // looks that are still to come, by their systems
	stopped map[string]bool            // systems that somebody stopped
	guards  map[string]*guard

	wake func() // for a look at everything; nil where it looks once

	tracedPids map[string]int // of containers, by their identifiers: of a trace alone

	parents sync.Map // devices of the server that interfaces sit on, by name
}

func newAgent() *agent {
	return &agent{
		known: map[string]*spec{}, tried: map[string]attachStatus{}, retries: map[string]retry{},
		queued: map[string]<-chan struct{}{}, stopped: map[string]bool{}, guards: map[string]*guard{},
		troubles: map[string]string{},
	}
}

// run follows docker's events and the folder of specs until ctx ends. A failed attach (a bridge that is
// not there yet, say) is tried again by itself.
func (a *agent) run(ctx context.Context) error {
	changed := make(chan struct{}, 1)
	wake := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	a.wake = wake
	specs := changedNames{news: make(chan struct{}, 1)}
	if err := watchFolder(a.specsDir, specs.add); err != nil {
		return err
	}
	go a.followKinds(ctx, wake)
	go a.followParents(ctx)
	for _, p := range a.parts {
		p.Start(ctx)
	}
	go func() {
		for ctx.Err() == nil {
			err := a.docker.Follow(ctx, "flipflap.stack="+a.files.Stack, func() {
				a.mu.Lock()
				clear(a.stopped)
				a.mu.Unlock()
				wake()
			}, func(e docker.Event) { a.onEvent(ctx, e, wake) })
			log.Printf("docker's events ended (%v); again in a second", err)
			time.Sleep(time.Second)
		}
	}()
	// Beside the events: a part may have to wait for others.
	a.converge(ctx)
	again := time.NewTicker(time.Second)
	defer again.Stop()
	log.Printf("stack %s: following", a.files.Stack)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			a.converge(ctx)
			a.againAll()
			a.reconcileAll(ctx)
		case <-specs.news:
			a.reconcileSome(ctx, specs.take(), wake)
		case <-again.C:
			for _, p := range a.parts {
				p.Tick(ctx)
			}
			if len(a.troubles) > 0 {
				if a.converge(ctx); len(a.troubles) == 0 {
					wake()
				}
			}
			for _, system := range a.due(time.Now()) {
				a.again(ctx, system)
			}
		}
	}
}

// followKinds watches the folder of kinds, which comes and goes with what is in it.
func (a *agent) followKinds(ctx context.Context, wake func()) {
	var watched uint64
	for ; ctx.Err() == nil; time.Sleep(time.Second) {
		var now unix.Stat_t
		if err := unix.Stat(a.files.Kinds, &now); err != nil {
			watched = 0
			continue
		}
		if now.Ino == watched {
			continue
		}
		if err := watchFolder(a.files.Kinds, func([]string) { wake() }); err != nil {
			log.Print(err)
			continue
		}
		watched = now.Ino
		wake() // what came before it was watched
	}
}

// converge says once what keeps a part of this server from what it has to do.
func (a *agent) converge(ctx context.Context) {
	for _, p := range a.parts {
		err := p.Converge(ctx)
		if err == nil {
			delete(a.troubles, p.Name())
			continue
		}
		if a.troubles[p.Name()] != err.Error() {
			log.Printf("%s: %v", p.Name(), err)
		}
		a.troubles[p.Name()] = err.Error()
	}
}

func (a *agent) againAll() {
	for _, p := range a.parts {
		p.Again()
	}
}

// due gives the failed systems whose time has come.
func (a *agent) due(now time.Time) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []string
	for system, r := range a.retries {
		if !now.Before(r.at) {
			all = append(all, system)
		}
	}
	return all
}

// specPath gives the file of a system's plan; none where the name is no file's.
func (a *agent) specPath(system string) (string, bool) {
	path := filepath.Join(a.specsDir, system+".json")
	return path, filepath.Base(path) == system+".json"
}

// again looks at one system, once: where a look is still to come that one will do. What it gives is closed when it is done.
func (a *agent) again(ctx context.Context, system string) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if coming, is := a.queued[system]; is {
		return coming
	}
	// It begins after this lock is free.
	done := a.systems.add(system, func() {
		a.mu.Lock()
		delete(a.queued, system)
		a.mu.Unlock()
		path, _ := a.specPath(system)
		s, err := readSpec(path)
		if os.IsNotExist(err) {
			a.forget(system)
			return
		}
		if err != nil {
			log.Printf("%s: %v", system, err)
			return
		}
		a.reconcile(ctx, s)
	})
	a.queued[system] = done
	return done
}

// endsContainer tells the signals by which docker stops containers from those that programs take for a word.
var endsContainer = map[string]bool{"2": true, "3": true, "9": true, "15": true}

// onEvent is the short way of a container's start: its own spec and no other.
func (a *agent) onEvent(ctx context.Context, e docker.Event, wake func()) {
	system := e.Actor.Attributes["flipflap.system"]
	if system == "" {
		wake() // one of ours, that others may wait for
		return
	}
	path, ok := a.specPath(system)
	if !ok {
		return
	}
	a.mu.Lock()
	switch e.Action {
	case "kill": // by somebody, who will say when it is to run again
		if endsContainer[e.Actor.Attributes["signal"]] {
			a.stopped[system] = true
		}
	case "start":
		delete(a.stopped, system)
	}
	a.mu.Unlock()
	if e.Action == "kill" {
		return
	}
	a.systems.add(system, func() {
		s, err := readSpec(path)
		if err != nil {
			return // its spec is still to come, and wakes us then
		}
		if e.Action != "die" {
			a.reconcile(ctx, s)
			return
		}
		if err := a.detach(s); err != nil {
			log.Printf("%s: stopped: %v", system, err)
		}
		a.forget(system)
		if s.StartedByAgent {
			time.AfterFunc(100*time.Millisecond, wake)
		}
	})
}

func (a *agent) forget(system string) {
	a.mu.Lock()
	delete(a.tried, system)
	delete(a.retries, system)
	a.mu.Unlock()
	if err := os.Remove(filepath.Join(a.files.Status, system+".json")); err != nil && !os.IsNotExist(err) {
		log.Print(err)
	}
}

// gone gives the systems that were attached and have no spec any more.
func (a *agent) gone(files map[string]string) map[string]*spec {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]*spec{}
	for system, old := range a.known {
		if _, declared := files[system]; !declared && !old.isByHand {
			all[system] = old
		}
	}
	return all
}

// takeBack detaches a system that is declared no longer; where that fails it is tried again with the next look at everything,
// which comes in half a minute at the latest.
func (a *agent) takeBack(system string, old *spec) {
	if err := a.detach(old); err != nil {
		log.Printf("%s: %v", system, err)
		if a.wake != nil {
			time.AfterFunc(longestDelay, a.wake)
		}
		return
	}
	a.mu.Lock()
	delete(a.known, system)
	a.mu.Unlock()
	a.forget(system)
}

// patience is how long what is declared waits for what is not to make room.
const patience = 2 * time.Second

// reconcileAll has every system that has a spec attached, and taken back what has none any more. What it gives is closed when all
// of it is done; a system whose turn is still to come from before is not waited for twice.
func (a *agent) reconcileAll(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	files, err := specFiles(a.specsDir)
	if err != nil {
		log.Print(err)
		close(done)
		return done
	}
	leaving := []<-chan struct{}{}
	for system, old := range a.gone(files) {
		leaving = append(leaving, a.systems.add(system, func() { a.takeBack(system, old) }))
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, one := range leaving {
		select {
		case <-one:
		case <-patient.Done():
		}
	}
	var coming []<-chan struct{}
	for system := range files {
		coming = append(coming, a.again(ctx, system))
	}
	go func() {
		defer close(done)
		for _, one := range coming {
			<-one
		}
		for _, p := range a.parts {
			p.Settled(ctx)
		}
	}()
	return done
}

// allTried gives what became of every system, once all is done.
func (a *agent) allTried() []attachStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []attachStatus
	for _, status := range a.tried {
		all = append(all, status)
	}
	return all
}

// changedNames collects files of a folder until somebody takes them.
type changedNames struct {
	mu    sync.Mutex
	names map[string]bool
	news  chan struct{}
}

func (c *changedNames) add(names []string) {
	c.mu.Lock()
	if c.names == nil {
		c.names = map[string]bool{}
	}
	for _, name := range names {
		c.names[name] = true
	}
	c.mu.Unlock()
	select {
	case c.news <- struct{}{}:
	default:
	}
}

func (c *changedNames) take() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := c.names
	c.names = nil
	return names
}

// reconcileSome looks at the systems whose specs came, changed or went, and at no others: of a hundred that come one after the
// other each would be asked for a hundred times.
func (a *agent) reconcileSome(ctx context.Context, names map[string]bool, wake func()) {
	a.againAll()
	for name := range names {
		system, isSpec := strings.CutSuffix(name, ".json")
		if !isSpec || strings.HasPrefix(name, ".") {
			continue
		}
		path, is := a.specPath(system)
		if !is {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			a.again(ctx, system)
			continue
		}
		old := a.knownSpec(system)
		if old == nil || old.isByHand {
			a.again(ctx, system)
			continue
		}
		a.systems.add(system, func() {
			if _, err := os.Stat(path); err != nil {
				a.takeBack(system, old)
			}
		})
	}
	// More came than the kernel keeps.
	if names[""] {
		wake()
	}
}

// watchFolder gives the names of files that are put in place or taken away; an empty one where some were lost.
func watchFolder(folder string, changed func(names []string)) error {
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
			n, err := unix.Read(fd, buffer)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				log.Printf("watching %s: %v", folder, err)
				return
			}
			changed(namesOf(buffer[:n]))
		}
	}()
	return nil
}

// namesOf gives the names in inotify's events: struct inotify_event, and a name that ends with zeros.
func namesOf(events []byte) []string {
	var names []string
	for len(events) >= unix.SizeofInotifyEvent {
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:16]))
		if end > len(events) {
			break
		}
		names = append(names, strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00"))
		events = events[end:]
	}
	return names
}
