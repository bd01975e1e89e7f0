package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// swarmSite is what a server must know to join a swarm; components/host/objects/swarmNode.ts writes it.
type swarmSite struct {
	Manager string `json:"manager"`
	Address string `json:"address"`
}

// readSwarmSite gives nil where there is none.
func readSwarmSite(path string) (*swarmSite, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	site := &swarmSite{}
	return site, json.Unmarshal(data, site)
}

// joinSwarm lets this server take part in the swarm that its plan names.
func (a *agent) joinSwarm(ctx context.Context) error {
	site, err := readSwarmSite(filepath.Join(a.kindsDir(), "swarm.json"))
	if site == nil || err != nil || time.Since(a.inSwarmAt) < 5*time.Second {
		return err
	}
	state, err := a.docker.swarmState(ctx)
	if err == nil && state == "active" {
		a.inSwarmAt = time.Now()
	}
	if err != nil || state == "active" || state == "pending" {
		return err
	}
	token, err := os.ReadFile(swarmTokenFile)
	if err != nil {
		return err
	}
	return a.docker.post(ctx, "/swarm/join", map[string]any{
		"RemoteAddrs": []string{site.Manager}, "JoinToken": strings.TrimSpace(string(token)),
		"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": site.Address, "DataPathAddr": site.Address,
	})
}

// swarmTokenFile is where components/kinds/swarm puts the word by which a server joins.
const swarmTokenFile = "/etc/flipflap/swarm-join"
