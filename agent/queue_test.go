package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/docker"
)

func TestQueuesKeepTheOrderOfASystemAndHoldUpNoOther(t *testing.T) {
	q := &queues{}
	stuck := make(chan struct{})
	q.add("stuck", func() { <-stuck })
	var said []string
	behind := q.add("stuck", func() { said = append(said, "behind") })
	for i := range 100 {
		q.add("free", func() { said = append(said, fmt.Sprint(i)) })
	}
	select {
	case <-q.add("free", func() {}):
	case <-time.After(5 * time.Second):
		t.Fatal("a system waits for another")
	}
	for i, one := range said {
		if one != fmt.Sprint(i) {
			t.Fatalf("out of order: %v", said)
		}
	}
	select {
	case <-behind:
		t.Fatal("a system overtakes itself")
	default:
	}
	close(stuck)
	<-behind
	if said[len(said)-1] != "behind" {
		t.Fatal("lost")
	}
}

func TestRetriesComeLaterAndLater(t *testing.T) {
	now := time.Unix(1000, 0)
	var delays []int
	for r, i := (retry{}), 0; i < 13; i++ {
		r = r.after(now)
		delays = append(delays, int(r.at.Sub(now).Seconds()))
	}
	if got, want := fmt.Sprint(delays), "[1 1 1 1 1 2 4 8 16 30 30 30 30]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDueSystemsAreThoseWhoseTimeHasCome(t *testing.T) {
	a, now := newAgent(), time.Now()
	a.retries["late"], a.retries["soon"] = retry{at: now.Add(-time.Second)}, retry{at: now.Add(time.Second)}
	if got := fmt.Sprint(a.due(now)); got != "[late]" {
		t.Error(got)
	}
}

func TestALookAtEverythingEndsWithAllThatIsStillToCome(t *testing.T) {
	a := newAgent()
	a.specsDir, a.files.Status = t.TempDir(), t.TempDir()
	a.pids = map[string]int{}
	for _, system := range []string{"slow", "quick"} {
		text := fmt.Sprintf(`{"system":%q,"container":%q}`, system, system)
		if err := os.WriteFile(filepath.Join(a.specsDir, system+".json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stuck := make(chan struct{})
	a.systems.add("slow", func() { <-stuck })
	first := a.reconcileAll(t.Context())
	second := a.reconcileAll(t.Context())
	select {
	case <-second:
		t.Fatal("a second look is over before what the first has still to come to")
	case <-time.After(100 * time.Millisecond):
	}
	close(stuck)
	<-first
	<-second
}

func TestSystemsThatLeaveAndAreBusyMakeNobodyWaitLong(t *testing.T) {
	a := newAgent()
	a.specsDir, a.files.Status = t.TempDir(), t.TempDir()
	a.pids = map[string]int{}
	stuck := make(chan struct{})
	defer close(stuck)
	for _, system := range []string{"one", "two", "three"} {
		a.known[system] = named(system)
		a.systems.add(system, func() { <-stuck })
	}
	begin := time.Now()
	a.reconcileAll(t.Context())
	if waited := time.Since(begin); waited > patience+time.Second {
		t.Errorf("waited %v", waited)
	}
}

func named(system string) *spec { return &spec{AttachPlan: contract.AttachPlan{System: system}} }

func TestOnlyRetriesThatWereDueCount(t *testing.T) {
	a := newAgent()
	failed := attachStatus{System: "s", Error: "no bridge"}
	for range 20 {
		a.note(named("s"), failed)
	}
	if r := a.retries["s"]; r.tries != 1 {
		t.Errorf("%d tries after one and looks of others", r.tries)
	}
}

func TestPartsLetGoOfWhatChangedForThemAlone(t *testing.T) {
	one := ifaceSpec{MAC: "02:00:00:00:00:01", Addresses: []string{"10.0.0.1/24"}, Hooks: []contract.AttachHook{{Type: "ila", Args: []byte("{}")}}}
	same, other := one, one
	same.MTUBytes = 9000
	same.Hooks = []contract.AttachHook{{Type: "ila", Args: []byte("{}"), Wanted: map[string]contract.Property{"ila": "on"}}}
	other.Hooks = []contract.AttachHook{{Type: "ila", Args: []byte(`{"x":1}`)}}
	if identity(one) != identity(same) || identity(one) == identity(other) {
		t.Error("what a look is to find, or the MTU, is none of the parts' business")
	}
}

func TestOnlySignalsThatEndAContainerAreSomebodysWillToStopIt(t *testing.T) {
	a := newAgent()
	a.specsDir = t.TempDir()
	say := func(action, signal string) bool {
		e := docker.Event{Action: action}
		e.Actor.Attributes = map[string]string{"flipflap.system": "s", "signal": signal}
		a.onEvent(t.Context(), e, func() {})
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.stopped["s"]
	}
	// SIGHUP: docker itself (20.10) takes it for a stop, and then mends no later crash.
	if say("kill", "1") || !say("kill", "15") || say("start", "") || !say("kill", "9") {
		t.Error("a stop is not told from a word")
	}
}

func TestWhatATenantSaysIsBounded(t *testing.T) {
	b := &bounded{limit: 10}
	if _, err := b.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte("x")); err == nil || !strings.Contains(err.Error(), "10 bytes") || b.Len() != 10 {
		t.Errorf("%d bytes, %v", b.Len(), err)
	}
}
