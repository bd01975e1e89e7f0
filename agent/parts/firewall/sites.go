package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"flipflap.local/agent/contract"
	wall "flipflap.local/agent/firewall"
	"flipflap.local/agent/wholefile"
	"github.com/cilium/ebpf"
)

// site is a firewall's file as it is on the server.
type site struct {
	contract.FirewallSite
	hash string // of its bytes
	file string
}

func readSites(folder string) ([]site, error) {
	files, err := filepath.Glob(filepath.Join(folder, "firewall-*.json"))
	if err != nil {
		return nil, err
	}
	var sites []site
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		one := site{file: file}
		if err == nil {
			err = json.Unmarshal(text, &one.FirewallSite)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		one.hash = wholefile.Hash(text)
		sites = append(sites, one)
	}
	return sites, nil
}

// beside is a file of the same firewall's.
func (s site) beside(ending string) string { return strings.TrimSuffix(s.file, "json") + ending }

// ruled gives the hash of the rules that are to be in force; their text, too, where an experiment has rules of its own in their place.
func (s site) ruled() (hash string, instead []byte, err error) {
	text, err := os.ReadFile(s.beside("experiment"))
	if errors.Is(err, os.ErrNotExist) {
		return s.Rules, nil, nil
	}
	return wholefile.Hash(text), text, err
}

// Converge puts rules in force, and says of each firewall whether they are.
func (f *firewalls) Converge(context.Context) error {
	sites, err := readSites(f.host.Files().Kinds)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dropLost()
	wanted := map[string]bool{}
	var failed []error
	for _, one := range sites {
		wanted[one.Name] = true
		err := f.settle(one)
		status := contract.FirewallStatus{Name: one.Name, SiteHash: one.hash}
		if w := f.walls[one.Name]; w != nil {
			status.Rules, _ = w.InForce()
		}
		if err != nil {
			status.Error = err.Error()
			failed = append(failed, fmt.Errorf("%s: %w", one.Name, err))
		}
		failed = append(failed, wholefile.ReplaceJSON(f.statusFile(one.Name), status))
	}
	return errors.Join(append(failed, f.forgetOthers(wanted))...)
}

func (f *firewalls) statusFile(of string) string {
	return filepath.Join(stateFolder(f.host.Files()), of+".json")
}

// settle makes a firewall what its file says; the caller holds the lock.
func (f *firewalls) settle(one site) error {
	p, err := f.plane()
	if err != nil {
		return err
	}
	w, place, err := f.wall(one.Name)
	if err != nil {
		return err
	}
	networks, err := w.Networks(one.Networks)
	if err != nil {
		return err
	}
	// Whose addresses are whose before the rules that ask for it.
	if err := p.settleEnds(place, one.Ends, networks); err != nil {
		return err
	}
	rules, instead, err := one.ruled()
	if err != nil {
		return err
	}
	if !w.IsInForce(rules, networks) || !p.judges(place) {
		text := instead
		if text == nil {
			if text, err = os.ReadFile(one.beside(one.Rules + ".rules")); err != nil {
				return err
			}
			if wholefile.Hash(text) != one.Rules {
				return errors.New("the file of its rules is not whole")
			}
		}
		if err := w.Change(string(text), networks, func(program *ebpf.Program) error { return p.Firewalls.Put(place, program) }); err != nil {
			return err
		}
	}
	return f.followLog(w)
}

// forgetOthers takes away what no file wants any more, and no interface asks; the caller holds the lock.
func (f *firewalls) forgetOthers(wanted map[string]bool) error {
	names, err := wall.Walls(stateFolder(f.host.Files()))
	others := slices.DeleteFunc(names, func(one string) bool { return wanted[one] })
	if err != nil || len(others) == 0 {
		return err
	}
	asked, err := hooked(f.host.Files())
	if err != nil {
		return err
	}
	for _, one := range asked {
		wanted[one.Firewall] = true // without rules it is closed
	}
	for _, one := range others {
		if wanted[one] {
			continue
		}
		p, err := f.plane()
		if err != nil {
			return err
		}
		w, place, err := f.wall(one)
		if err != nil {
			return err
		}
		if err := p.settleEnds(place, nil, nil); err != nil {
			return err
		}
		if err := p.Firewalls.Delete(place); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		if err := errors.Join(os.RemoveAll(f.statusFile(one)), w.Remove()); err != nil {
			return err
		}
		delete(f.walls, one)
		f.forgetLog(one)
	}
	return nil
}
