package firewall

import (
	"errors"
	"path/filepath"

	"flipflap.local/agent/bpf"
	wall "flipflap.local/agent/firewall"
	"flipflap.local/agent/part"
)

// openWall: its pins are beside the taps', its state where what the agent has to say is.
func openWall(files part.Files, of string) (*wall.Wall, error) {
	return wall.OpenWall(of, filepath.Join(files.Programs, "firewall.bpf.o"), filepath.Join(bpf.PinsOf(files.Bpffs, files.Stack, name), "rules"), stateFolder(files))
}

func stateFolder(files part.Files) string { return filepath.Join(files.Status, name) }

// opened reads a firewall's state once; the caller holds the lock.
func (f *firewalls) opened(of string) (*wall.Wall, error) {
	if w := f.walls[of]; w != nil {
		return w, nil
	}
	w, err := openWall(f.host.Files(), of)
	if err == nil {
		f.walls[of] = w
	}
	return w, err
}

// known is opened for a look, which has several systems in its hands at once.
func (f *firewalls) known(of string) (*wall.Wall, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened(of)
}

// wall gives a firewall with its place, which it keeps; the caller holds the lock.
func (f *firewalls) wall(of string) (*wall.Wall, uint32, error) {
	w, err := f.opened(of)
	if err != nil {
		return nil, 0, err
	}
	if place, has := w.Place(); has {
		return w, place, nil
	}
	place, err := f.freePlace()
	if err != nil {
		return nil, 0, err
	}
	return w, place, w.Settle(place)
}

func (f *firewalls) freePlace() (uint32, error) {
	taken, err := takenPlaces(f.host.Files())
	if err != nil {
		return 0, err
	}
	for place := range f.loaded.Firewalls.MaxEntries() {
		if !taken[place] {
			return place, nil
		}
	}
	return 0, errors.New("there are as many firewalls as a server can have")
}

func takenPlaces(files part.Files) (map[uint32]bool, error) {
	names, err := wall.Walls(stateFolder(files))
	if err != nil {
		return nil, err
	}
	taken := map[uint32]bool{}
	for _, one := range names {
		w, err := openWall(files, one)
		if err != nil {
			return nil, err
		}
		if place, has := w.Place(); has {
			taken[place] = true
		}
	}
	return taken, nil
}
