package trace

import (
	"encoding/json"
	"io"

	"flipflap.local/agent/contract"
)

// outboxLines is how many lines wait for whoever reads them: a tenth of a second of a fast trace, some MiB.
const outboxLines = 5000

// outbox writes lines beside what reads the ring: a slow reader must not cost events, whose number nobody would know.
type outbox struct {
	lines  chan contract.TraceLine
	ended  chan struct{}
	err    error // once ended
	untold int64
}

func newOutbox(out io.Writer) *outbox {
	o := &outbox{lines: make(chan contract.TraceLine, outboxLines), ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		for line := range o.lines {
			if o.err == nil {
				o.err = encoder.Encode(line)
			}
		}
	}()
	return o
}

// isFull: what would be put there is not even made.
func (o *outbox) isFull() bool { return len(o.lines) == cap(o.lines) }

func (o *outbox) put(line contract.TraceLine) { o.lines <- line }

// close waits until all is written.
func (o *outbox) close() error {
	close(o.lines)
	<-o.ended
	return o.err
}
