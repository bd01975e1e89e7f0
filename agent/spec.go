package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// spec is one system's attach plan. components/host/objects/attachSpec.ts writes it; the field names are the contract.
type spec struct {
	System     string            `json:"system"`
	Container  string            `json:"container"`
	Sysctls    map[string]string `json:"sysctls"`
	Interfaces []ifaceSpec       `json:"interfaces"`
	// All of nftables in the container's network. Empty: what is there is not our business.
	Nftables  string `json:"nftables"`
	Processes int64  `json:"processes"` // at most at once; 0: as docker has it
	// Not by docker: only once what guards its networks stands.
	StartedByAgent bool `json:"startedByAgent"`

	hash     string // of the file's bytes, as the barrier on the server computes it
	instance string // of the container's life
	isByHand bool   // of a container that nobody declared
	nftables *toldNftables
}

type ifaceSpec struct {
	Network      string          `json:"network"`
	Name         string          `json:"name"`     // inside the container
	HostName     string          `json:"hostName"` // on the server
	MAC          string          `json:"mac"`
	PortMAC      string          `json:"portMac"` // of the server's end
	MTUBytes     int             `json:"mtuBytes"`
	Addresses    []string        `json:"addresses"` // with prefix length
	Routes       []routeSpec     `json:"routes"`
	Offloads     map[string]bool `json:"offloads"`     // ethtool's names, inside
	PortOffloads map[string]bool `json:"portOffloads"` // of the server's end
	// Permanent ones, inside the container.
	Neighbours []neighbourSpec `json:"neighbours"`
	Bridge     string          `json:"bridge"` // none where the server routes to it
	Learns     bool            `json:"learns"` // whether the bridge learns MACs at the system's port
	Floods     *bool           `json:"floods"` // whether frames to stations that the bridge does not know go out there; nil: they do
	Hooks      []hookSpec      `json:"hooks"`
	// On a device of the server, without a server's end: the fields of that say nothing then.
	Parent *parentSpec `json:"parent"`
	// An IPv4 address, and the way to others, are told by a system of its network.
	DHCP bool `json:"dhcp"`
	// Whether it takes that way: no interface has a declared one.
	DHCPRoute bool `json:"dhcpRoute"`
	// Made by docker; the fields of the server's end say nothing then.
	Docker *dockerSpec `json:"docker"`
}

// identity is what the hooks tell of an interface; the rest changes without them.
func (i ifaceSpec) identity() string {
	text, _ := json.Marshal([]any{i.MAC, i.Addresses, i.Hooks})
	return string(text)
}

type parentSpec struct {
	Device string `json:"device"`
	Driver string `json:"driver"` // macvlan, ipvlan
	Mode   string `json:"mode"`
}

type routeSpec struct {
	To  string `json:"to"` // a prefix, or "default" of the next hop's family
	Via string `json:"via"`
}

type neighbourSpec struct {
	Address string `json:"address"`
	MAC     string `json:"mac"`
}

// hookSpec is what a kind wants done beside the attach itself; type names an entry of hooks.
type hookSpec struct {
	Type string          `json:"type"`
	Args json.RawMessage `json:"args"`
}

// attachStatus is what the agent tells about a system.
type attachStatus struct {
	System      string `json:"system"`
	SpecHash    string `json:"specHash"`
	Pid         int    `json:"pid"`
	AttachedMs  int64  `json:"attachedMs"` // from the container's start to the end of the attach
	WorkMs      int64  `json:"workMs"`     // of which the attach itself
	StartedAtMs int64  `json:"startedAtMs"`
	// What nftables was told, and what it listed then.
	Nftables *toldNftables `json:"nftables,omitempty"`
	// Attached, but for what another system of its network has not told it yet.
	Waiting string `json:"waiting,omitempty"`
	Error   string `json:"error,omitempty"` // the last: attached.ts reads it with sed
}

// trouble is what keeps the system from being as declared.
func (s attachStatus) trouble() string { return s.Error + s.Waiting }

func readSpec(path string) (*spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &spec{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.Sum256(data)
	s.hash = hex.EncodeToString(sum[:])
	return s, nil
}

// specFiles gives the systems that have a spec, by name.
func specFiles(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok && !strings.HasPrefix(name, ".") {
			found[name] = filepath.Join(dir, e.Name())
		}
	}
	return found, nil
}

// readStatus gives an empty status where there is none.
func readStatus(dir, system string) attachStatus {
	var status attachStatus
	data, err := os.ReadFile(filepath.Join(dir, system+".json"))
	if err == nil {
		_ = json.Unmarshal(data, &status) // half a file is none
	}
	return status
}

// writeStatus replaces the file at once: a reader never sees half of it.
func writeStatus(dir string, status attachStatus) error {
	data, err := json.Marshal(status)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+status.System)
	if err := os.WriteFile(tmp, append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(dir, status.System+".json"))
}
