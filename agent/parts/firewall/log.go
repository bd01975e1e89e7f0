package firewall

import (
	"log"
	"sync/atomic"

	wall "flipflap.local/agent/firewall"
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// logging writes a firewall's lines into the agent's log.
type logging struct {
	reader *ringbuf.Reader
	of     ebpf.MapID
	rules  string // of which it knows what lines say
	told   atomic.Pointer[wall.Told]
}

// followLog reads what the rules in force tell; the caller holds the lock.
func (f *firewalls) followLog(w *wall.Wall) error {
	logs, id, err := w.LogMap()
	if err != nil || logs == nil {
		return err
	}
	defer logs.Close()
	rules, _ := w.InForce()
	l := f.logs[w.Name]
	if l == nil || l.of != id {
		reader, err := ringbuf.NewReader(logs)
		if err != nil {
			return err
		}
		f.forgetLog(w.Name)
		l = &logging{reader: reader, of: id}
		f.logs[w.Name] = l
		l.told.Store(&wall.Told{})
		go wall.Log(reader, func() wall.Told { return *l.told.Load() }, func(line string) { log.Printf("firewall %s: %s", w.Name, line) })
	}
	if l.rules != rules {
		told := w.Told()
		l.told.Store(&told)
		l.rules = rules
	}
	return nil
}

func (f *firewalls) forgetLog(of string) {
	if l := f.logs[of]; l != nil {
		l.reader.Close()
		delete(f.logs, of)
	}
}
