package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"flipflap.local/agent/contract"
	"flipflap.local/agent/wholefile"
)

// spec is one system's plan, with what the agent knows of it beside.
type spec struct {
	contract.AttachPlan

	hash     string // of the file's bytes, as the barrier on the server computes it
	instance string // of the container's life
	isByHand bool   // of a container that nobody declared
	nftables *contract.ToldNftables
}

// Of the contract, as the core calls them.
type (
	ifaceSpec     = contract.AttachInterface
	routeSpec     = contract.AttachRoute
	neighbourSpec = contract.AttachNeighbour
	dockerSpec    = contract.DockerJoin
	attachStatus  = contract.AttachStatus
)

// identity is what parts tell of an interface; the rest changes without them, and so does what a look is to find.
func identity(i ifaceSpec) string {
	hooks := make([][2]string, len(i.Hooks))
	for at, hook := range i.Hooks {
		hooks[at] = [2]string{hook.Type, string(hook.Args)}
	}
	text, _ := json.Marshal([]any{i.MAC, i.Addresses, hooks})
	return string(text)
}

// trouble is what keeps a system from being as declared.
func trouble(s attachStatus) string { return s.Error + s.Waiting }

func readSpec(path string) (*spec, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &spec{}
	if err := json.Unmarshal(data, &s.AttachPlan); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	s.hash = wholefile.Hash(data)
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
	return wholefile.ReplaceJSON(filepath.Join(dir, status.System+".json"), status)
}
