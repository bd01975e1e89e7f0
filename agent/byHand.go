package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"net/url"
	"strings"

	"flipflap.local/agent/ila"
)

// networkLabel puts a container that somebody started by hand (with --network none) into an ILA network of this server.
const networkLabel = "flipflap.network"

// nextHop is what every system of an ILA network routes by; components/kinds/ila says the same of declared ones.
const nextHop = "fe80::1"

func byHandName(id string) string { return "by-hand-" + id[:12] }

// byHandSpec is the attach plan of such a container: an identifier of the half that declared systems never get.
func byHandSpec(id string, n ila.NetworkFacts, isTaken func(string) bool) *spec {
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
	iface := ifaceSpec{
		Network: n.Name, Name: "eth0", HostName: "ffh-" + id[:10], MAC: mac(0xa0), PortMAC: mac(0xa1), MTUBytes: n.MTUBytes,
		Offloads:   offloads,
		Addresses:  []string{address + "/128"},
		Routes:     []routeSpec{{To: n.SIR, Via: nextHop}},
		Neighbours: []neighbourSpec{{Address: nextHop, MAC: mac(0xa1)}},
		Hooks:      []hookSpec{{Type: "ila", Args: json.RawMessage("{}")}},
	}
	return &spec{System: byHandName(id), Container: id, Interfaces: []ifaceSpec{iface}, isByHand: true}
}

// reconcileByHand attaches what runs with our label and no plan, and lets go of what does not run any more.
func (a *agent) reconcileByHand(ctx context.Context) {
	if a.ila == nil || a.pids != nil {
		return
	}
	a.byHandMu.Lock()
	defer a.byHandMu.Unlock()
	running, err := a.docker.labelled(ctx, networkLabel)
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
			if !a.refused[c.ID] {
				log.Printf("%s: it has no network of its own (--network %s), so it is not attached", name, mode)
			}
			a.refused[c.ID] = true
			continue
		}
		network, known := a.ila.Network(c.Labels[networkLabel])
		if !known {
			if !a.refused[c.ID] {
				log.Printf("%s: there is no ILA network %q on this server", name, c.Labels[networkLabel])
			}
			a.refused[c.ID] = true
			continue
		}
		// The same plan as long as it runs, also where the attach failed.
		if a.byHand[name] == nil {
			a.byHand[name] = byHandSpec(c.ID, network, func(address string) bool { return a.ila.IsTaken(address, name) })
		}
		// The list may still have one that has just stopped; what docker says of it alone is newer.
		_, here[name] = a.reconcile(ctx, a.byHand[name])
	}
	for name, s := range a.byHand {
		if here[name] {
			continue
		}
		if err := a.detach(s); err != nil {
			log.Printf("%s: %v", name, err)
			continue
		}
		delete(a.byHand, name)
		a.mu.Lock()
		delete(a.known, name)
		a.mu.Unlock()
		a.forget(name)
	}
}

type listed struct {
	ID         string `json:"Id"`
	Labels     map[string]string
	HostConfig struct{ NetworkMode string }
}

// labelled lists the running containers that have a label.
func (d *docker) labelled(ctx context.Context, label string) ([]listed, error) {
	filters, _ := json.Marshal(map[string][]string{"label": {label}})
	var all []listed
	err := d.read(ctx, "/containers/json?filters="+url.QueryEscape(string(filters)), &all)
	return all, err
}
