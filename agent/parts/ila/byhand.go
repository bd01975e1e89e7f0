package ila

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"strings"
	"sync"

	"flipflap.local/agent/contract"
)

// networkLabel puts a container that somebody started by hand (with --network none) into an ILA network of this server.
const networkLabel = "flipflap.network"

// nextHop is what every system of an ILA network routes by; components/kinds/ila says the same of declared ones.
const nextHop = "fe80::1"

func byHandName(id string) string { return "by-hand-" + id[:12] }

// byHandSpec is the attach plan of such a container: an identifier of the half that declared systems never get.
func byHandSpec(id string, n NetworkFacts, isTaken func(string) bool) contract.AttachPlan {
	sum := sha256.Sum256([]byte(n.Name + " " + id))
	mac := func(first byte) string {
		return fmt.Sprintf("02:ff:%02x:%02x:%02x:%02x", first, sum[8], sum[9], sum[10])
	}
	address := n.ByHand(sum[:4], isTaken)
	offloads := map[string]bool{}
	if !n.ChecksumOffload {
		for _, feature := range []string{"tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation"} {
			offloads[feature] = false
		}
	}
	iface := contract.AttachInterface{
		Network: n.Name, Name: "eth0", HostName: "ffh-" + id[:10], MAC: mac(0xa0), PortMAC: mac(0xa1), MTUBytes: n.MTUBytes,
		Offloads:   offloads,
		Addresses:  []string{address + "/128"},
		Routes:     []contract.AttachRoute{{To: n.SIR, Via: nextHop}},
		Neighbours: []contract.AttachNeighbour{{Address: nextHop, MAC: mac(0xa1)}},
		Hooks:      []contract.AttachHook{{Type: "ila", Args: json.RawMessage("{}")}},
	}
	return contract.AttachPlan{System: byHandName(id), Container: id, Interfaces: []contract.AttachInterface{iface}}
}

// byHand is of containers that somebody started: their plans, and those that get none. One look at them at a time.
type byHand struct {
	mu      *sync.Mutex
	plans   map[string]contract.AttachPlan
	refused map[string]bool
}

func newByHand() byHand {
	return byHand{mu: &sync.Mutex{}, plans: map[string]contract.AttachPlan{}, refused: map[string]bool{}}
}

func (b byHand) refuse(id, format string, words ...any) {
	if !b.refused[id] {
		log.Printf("%s: %s", byHandName(id), fmt.Sprintf(format, words...))
	}
	b.refused[id] = true
}

// reconcileByHand attaches what runs with our label and no plan, and lets go of what does not run any more.
func (s *systems) reconcileByHand(ctx context.Context) {
	if s.host.Docker() == nil {
		return
	}
	b := s.byHand
	b.mu.Lock()
	defer b.mu.Unlock()
	running, err := s.host.Docker().Labelled(ctx, networkLabel)
	if err != nil {
		log.Printf("containers with the label %s: %v", networkLabel, err)
		return
	}
	here := map[string]bool{}
	for _, c := range running {
		if c.Labels["flipflap.stack"] != "" {
			continue
		}
		name := byHandName(c.ID)
		if mode := c.HostConfig.NetworkMode; mode == "host" || strings.HasPrefix(mode, "container:") {
			// Its network is the server's own, or another container's.
			b.refuse(c.ID, "it has no network of its own (--network %s), so it is not attached", mode)
			continue
		}
		network, known := s.engine.Network(c.Labels[networkLabel])
		if !known {
			b.refuse(c.ID, "there is no ILA network %q on this server", c.Labels[networkLabel])
			continue
		}
		// The same plan as long as it runs, also where the attach failed.
		if _, is := b.plans[name]; !is {
			b.plans[name] = byHandSpec(c.ID, network, func(address string) bool { return s.engine.IsTaken(address, name) })
		}
		// The list may still have one that has just stopped; what docker says of it alone is newer.
		here[name] = s.host.Attach(ctx, b.plans[name])
	}
	for name, plan := range b.plans {
		if here[name] {
			continue
		}
		if err := s.host.Release(plan); err != nil {
			log.Printf("%s: %v", name, err)
			continue
		}
		delete(b.plans, name)
	}
}
