package firewall

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// More lines a second nobody reads, and they fill a disk.
const mostLinesPerSecond = 100

// Log says a line for each packet that LOG tells of, until the reader is closed. One process reads at a time.
func Log(reader *ringbuf.Reader, told func() Told, say func(string)) {
	var record ringbuf.Record
	var second int64
	said, unsaid := 0, 0
	for {
		if err := reader.ReadInto(&record); err != nil {
			return
		}
		if now := time.Now().Unix(); now != second {
			if unsaid > 0 {
				say(fmt.Sprintf("%d packets more than %d a second were to be told of", unsaid, mostLinesPerSecond))
			}
			second, said, unsaid = now, 0, 0
		}
		if said++; said > mostLinesPerSecond {
			unsaid++
			continue
		}
		var event loggedEvent
		if _, err := binary.Decode(record.RawSample, binary.NativeEndian, &event); err != nil {
			continue
		}
		t := told()
		say(lineOf(&event, t.prefixes[event.Counter], t.networks))
	}
}

// LogMap gives the map that a firewall's packets are told in, with its number; nil where there are no rules yet.
func (w *Wall) LogMap() (*ebpf.Map, ebpf.MapID, error) {
	m, err := pinned(w.pins, "logs")
	if err != nil || m == nil {
		return nil, 0, err
	}
	info, err := m.Info()
	if err != nil {
		m.Close()
		return nil, 0, err
	}
	id, _ := info.ID()
	return m, id, nil
}

// Told is what lines say of rules in force.
type Told struct {
	prefixes map[uint32]string // by where the rules count
	networks []string
}

// Told gives it.
func (w *Wall) Told() Told {
	t := Told{map[uint32]string{}, w.state.Networks}
	text, err := os.ReadFile(w.rulesFile(w.state.Text))
	if err != nil {
		return t
	}
	for i, one := range parse(string(text), w.state.Networks).All {
		if log := one.Rule.Target.Log; log != nil && i < len(w.state.Slots) {
			t.prefixes[w.state.Slots[i]] = log.Prefix
		}
	}
	return t
}

// lineOf says a packet as iptables' LOG does.
func lineOf(e *loggedEvent, prefix string, networks []string) string {
	name := func(number uint8) string {
		if number == 0 || int(number) > len(networks) {
			return ""
		}
		return networks[number-1]
	}
	words := []string{"IN=" + name(e.In), "OUT=" + name(e.Out)}
	header := e.Header[:min(int(e.Captured), len(e.Header))]
	protocol, upper := uint8(0), []byte(nil)
	switch {
	case e.IsIPv6 != 0 && len(header) >= 40:
		words = append(words, "SRC="+addressOf(header[8:24]), "DST="+addressOf(header[24:40]), fmt.Sprintf("LEN=%d HOPLIMIT=%d", e.Bytes, header[7]))
		protocol, upper = header[6], header[40:]
	case e.IsIPv6 == 0 && len(header) >= 20:
		words = append(words, "SRC="+addressOf(header[12:16]), "DST="+addressOf(header[16:20]), fmt.Sprintf("LEN=%d TTL=%d ID=%d", e.Bytes, header[8], binary.BigEndian.Uint16(header[4:])))
		protocol = header[9]
		if start := int(header[0]&15) * 4; start <= len(header) && binary.BigEndian.Uint16(header[6:])&0x1fff == 0 {
			upper = header[start:]
		}
	}
	words = append(words, "PROTO="+protocolName(protocol))
	switch {
	case protocol == 6 && len(upper) >= 14:
		words = append(words, portsOf(upper), strings.Join(flagWords(upper[13]), " "))
	case (protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136) && len(upper) >= 4:
		words = append(words, portsOf(upper))
	case (protocol == 1 || protocol == 58) && len(upper) >= 2:
		words = append(words, fmt.Sprintf("TYPE=%d CODE=%d", upper[0], upper[1]))
	}
	return strings.TrimSpace(prefix + strings.Join(words, " "))
}

func addressOf(bytes []byte) string {
	ip, _ := netip.AddrFromSlice(bytes)
	return ip.String()
}

func portsOf(upper []byte) string {
	return fmt.Sprintf("SPT=%d DPT=%d", binary.BigEndian.Uint16(upper), binary.BigEndian.Uint16(upper[2:]))
}

func protocolName(number uint8) string {
	names := map[uint8]string{1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
	if name, is := names[number]; is {
		return name
	}
	return fmt.Sprint(number)
}

func flagWords(flags byte) []string {
	var words []string
	for i, name := range []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"} {
		if flags&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return words
}
