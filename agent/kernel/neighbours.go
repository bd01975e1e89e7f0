package kernel

import (
	"bytes"
	"net"
	"sort"
	"sync"

	"github.com/vishvananda/netlink"
)

// IsLearned: told by another program, as BGP's are.
func IsLearned(n netlink.Neigh) bool { return n.Flags&netlink.NTF_EXT_LEARNED != 0 }

// NeighbourLists are what the kernel holds of all devices, each family read once: its answer is never of one device alone, and a look
// at a thousand systems would read a thousand times what a thousand have.
type NeighbourLists struct {
	mu   sync.Mutex
	read map[int]map[int][]netlink.Neigh
}

// FreshNeighbours reads at each call.
var FreshNeighbours *NeighbourLists

// Of a device, in one family: addresses, or unix.AF_BRIDGE for forwarding entries.
func (l *NeighbourLists) Of(device, family int) ([]netlink.Neigh, error) {
	if l == nil {
		return netlink.NeighList(device, family)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if byDevice, ok := l.read[family]; ok {
		return byDevice[device], nil
	}
	listed, err := netlink.NeighList(0, family)
	if err != nil {
		return nil, err
	}
	byDevice := map[int][]netlink.Neigh{}
	for _, n := range listed {
		byDevice[n.LinkIndex] = append(byDevice[n.LinkIndex], n)
	}
	if l.read == nil {
		l.read = map[int]map[int][]netlink.Neigh{}
	}
	l.read[family] = byDevice
	return byDevice[device], nil
}

// With lists a device's neighbours that have the MAC, by their addresses; none of a device that is not there.
func (l *NeighbourLists) With(device int, mac net.HardwareAddr) (map[string]netlink.Neigh, error) {
	found := map[string]netlink.Neigh{}
	if device == 0 {
		return found, nil
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		listed, err := l.Of(device, family)
		if err != nil {
			return nil, err
		}
		for _, n := range listed {
			if bytes.Equal(n.HardwareAddr, mac) {
				found[n.IP.String()] = n
			}
		}
	}
	return found, nil
}

// Permanent gives their addresses in order, but for those that another program has told.
func (l *NeighbourLists) Permanent(device int, mac net.HardwareAddr) ([]string, error) {
	present, err := l.With(device, mac)
	if err != nil {
		return nil, err
	}
	found := []string{}
	for ip, n := range present {
		if !IsLearned(n) && n.State&netlink.NUD_PERMANENT != 0 {
			found = append(found, ip)
		}
	}
	sort.Strings(found)
	return found, nil
}
