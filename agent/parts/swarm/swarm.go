// Package swarm lets a server take part in the swarm that its plan names.
package swarm

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/part"
)

type node struct {
	part.Base
	host      part.Host
	inSwarmAt time.Time // when docker last said that this server is in its swarm
}

func New(host part.Host) part.Part { return &node{host: host} }

func (*node) Name() string { return "swarm" }

func (n *node) Tick(ctx context.Context) { n.host.Tell("swarm", n.join(ctx)) }

// readSite gives nil where there is none.
func readSite(path string) (*contract.SwarmSite, error) {
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	site := &contract.SwarmSite{}
	return site, json.Unmarshal(data, site)
}

func (n *node) join(ctx context.Context) error {
	if n.host.Docker() == nil {
		return nil
	}
	site, err := readSite(filepath.Join(n.host.Files().Kinds, "swarm.json"))
	if site == nil || err != nil || time.Since(n.inSwarmAt) < 5*time.Second {
		return err
	}
	state, err := n.host.Docker().SwarmState(ctx)
	if err == nil && state == "active" {
		n.inSwarmAt = time.Now()
	}
	if err != nil || state == "active" || state == "pending" {
		return err
	}
	token, err := os.ReadFile(swarmTokenFile)
	if err != nil {
		return err
	}
	return n.host.Docker().Post(ctx, "/swarm/join", map[string]any{
		"RemoteAddrs": []string{site.Manager}, "JoinToken": strings.TrimSpace(string(token)),
		"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": site.Address, "DataPathAddr": site.Address,
	})
}

// swarmTokenFile is where components/kinds/swarm puts the word by which a server joins.
const swarmTokenFile = "/etc/flipflap/swarm-join"
