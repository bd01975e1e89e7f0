package main

import "sync"

// queues run the work on each system in the order in which it came, and beside the work on all others: a system that takes long,
// or fails for ever, makes nobody wait.
type queues struct {
	mu      sync.Mutex
	waiting map[string][]func()
}

// add returns at once; the result is closed when the work is done.
func (q *queues) add(system string, work func()) <-chan struct{} {
	done := make(chan struct{})
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.waiting == nil {
		q.waiting = map[string][]func(){}
	}
	_, busy := q.waiting[system]
	q.waiting[system] = append(q.waiting[system], func() {
		defer close(done)
		work()
	})
	if !busy {
		go q.drain(system)
	}
	return done
}

func (q *queues) drain(system string) {
	for {
		q.mu.Lock()
		list := q.waiting[system]
		if len(list) == 0 {
			delete(q.waiting, system)
			q.mu.Unlock()
			return
		}
		q.waiting[system] = list[1:]
		q.mu.Unlock()
		list[0]()
	}
}
