package part

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"flipflap.local/agent/contract"
)

// PortsWith gives the ports that plans want a part at, with what they say to it.
func PortsWith(files Files, hook string) (map[string]json.RawMessage, error) {
	plans, err := filepath.Glob(filepath.Join(filepath.Dir(files.Kinds), "*.json"))
	if err != nil {
		return nil, err
	}
	wanted := map[string]json.RawMessage{}
	for _, file := range plans {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		var plan contract.AttachPlan
		if err == nil {
			err = json.Unmarshal(text, &plan)
		}
		if err != nil {
			return nil, err
		}
		for _, iface := range plan.Interfaces {
			for _, one := range iface.Hooks {
				if one.Type == hook {
					wanted[iface.HostName] = one.Args
				}
			}
		}
	}
	return wanted, nil
}
