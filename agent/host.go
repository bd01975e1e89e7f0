package main

import (
	"context"
	"log"
	"os"
	"path/filepath"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/docker"
	"flipflap.local/agent/part"
)

// What the core does for its parts: part.Host.
var _ part.Host = (*agent)(nil)

func (a *agent) Files() part.Files { return a.files }

// Docker gives nil where processes stand in the place of containers.
func (a *agent) Docker() *docker.Client {
	if a.pids != nil {
		return nil
	}
	return a.docker
}

func (a *agent) Wake() {
	if a.wake != nil {
		a.wake()
	}
}

func (a *agent) Tell(name string, err error) {
	path, said := filepath.Join(a.files.Status, name), ""
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
	log.Printf("%s: %s", name, said)
	if err := os.WriteFile(path, []byte(said), 0o644); err != nil {
		log.Print(err)
	}
}

func (a *agent) Attach(ctx context.Context, plan contract.AttachPlan) bool {
	_, isHere := a.reconcile(ctx, &spec{AttachPlan: plan, isByHand: true})
	return isHere
}

func (a *agent) Release(plan contract.AttachPlan) error {
	if err := a.detach(&spec{AttachPlan: plan, isByHand: true}); err != nil {
		return err
	}
	a.mu.Lock()
	delete(a.known, plan.System)
	a.mu.Unlock()
	a.forget(plan.System)
	return nil
}
