package ila

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestPrice measures, by the kernel's own statistics of programs, what a packet costs. `npm run bench -- ila` runs it.
func TestPrice(t *testing.T) {
	if os.Getenv("FLIPFLAP_PRICE") == "" {
		t.Skip("FLIPFLAP_PRICE is not set")
	}
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	const packets = 200_000
	for _, count := range []int{1, 1_000, 100_000, 1_000_000} {
		b := load(t, max(1024, 2*count))
		w := b.world(neutral, 9)
		random := rand.New(rand.NewSource(int64(count)))
		sirs, wires := make([]Address, count), make([]Address, count)
		for i := range sirs {
			sir := randomSIR(random)
			sir.Locator = w.own.Locator
			sirs[i], wires[i] = sir, onWire(sir, w.ownLocator, neutral)
			put(t, b.Mappings, sir, mappingValue{Wire: onWire(sir, w.farServer, neutral), Mode: neutral, Place: placeElsewhere, Server: 1})
		}
		// A server has far fewer systems of its own than there are: no more than its map holds.
		here := min(count, 60_000)
		for i := range here {
			put(t, b.Arrivals, wires[i], arrivalValue{Self: sirs[i], Mode: neutral, Device: loopback})
		}
		for _, keys := range []string{"one", "random"} {
			// One batch to warm up, then the middle of five.
			price := func(p *ebpf.Program, packet func(int) []byte, choices int) float64 {
				out := make([]byte, 2048)
				var batches []float64
				for range 6 {
					before, first := spent(t, p)
					for range packets / 5 {
						n := 0
						if keys == "random" {
							n = random.Intn(choices)
						}
						options := ebpf.RunOptions{Data: packet(n), DataOut: out}
						if verdict, err := p.Run(&options); err != nil || verdict != redirect {
							t.Fatalf("verdict %d, %v", verdict, err)
						}
					}
					after, last := spent(t, p)
					batches = append(batches, float64((after-before).Nanoseconds())/float64(last-first))
				}
				measured := batches[1:]
				sort.Float64s(measured)
				return measured[len(measured)/2]
			}
			sent := build(packetSpec{from: w.own, to: w.peer, protocol: protoTCP, payload: []byte("words")})
			arriving := build(packetSpec{from: w.peer, to: w.ownWire, protocol: protoTCP, payload: []byte("words")})
			to := func(packet []byte, address Address) []byte {
				bytes := address.bytes()
				copy(packet[l3+24:], bytes[:])
				return packet
			}
			out := price(b.PortOut, func(n int) []byte { return to(sent, sirs[n]) }, count)
			in := price(b.UplinkIn, func(n int) []byte { return to(arriving, wires[n]) }, here)
			line, _ := json.Marshal(map[string]any{"mappings": count, "keys": keys, "outNs": out, "inNs": in})
			fmt.Printf("PRICE %s\n", line)
		}
		for _, m := range []*ebpf.Map{b.Mappings, b.Arrivals, b.Ports, b.Servers, b.Prefixes, b.Drops} {
			m.Close()
		}
	}
}

// spent is what the kernel counted of a program: its time, and its runs.
func spent(t *testing.T, p *ebpf.Program) (time.Duration, uint64) {
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	took, _ := info.Runtime()
	runs, _ := info.RunCount()
	return took, runs
}
