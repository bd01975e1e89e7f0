package ila

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os"

	"flipflap.local/agent/contract"
)

// Of the contract, as this package calls them.
type (
	Config        = contract.IlaSite
	ServerConfig  = contract.IlaServer
	NetworkConfig = contract.IlaNetworkSite
	Facts         = contract.IlaFacts
	System        = contract.IlaSystem
)

type server struct {
	ServerConfig
	index   uint32
	locator [8]byte
	nextHop netip.Addr
	mac     net.HardwareAddr
}

type network struct {
	NetworkConfig
	sir  [8]byte
	mode Mode
}

// luid is the type of systems' identifiers (components/net/ila.ts), where it stands in their first 32 bits.
const luid = 1 << 29

// address is that of the network's system with a number.
func (n *network) address(number uint32) Address {
	a := Address{Locator: n.sir}
	binary.BigEndian.PutUint32(a.Identifier[:], luid|n.VN)
	binary.BigEndian.PutUint32(a.Identifier[4:], number)
	return a
}

// site is a Config whose texts are read.
type site struct {
	Config
	self     *server
	servers  map[string]*server
	networks map[string]*network
}

func readSite(path string) (*site, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &site{servers: map[string]*server{}, networks: map[string]*network{}}
	if err := json.Unmarshal(data, &s.Config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	taken := map[uint32]bool{}
	for _, c := range s.Servers {
		one := &server{ServerConfig: c, index: indexOf(c.Name, taken)}
		if one.locator, err = parsePrefix(c.Locator); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		if one.nextHop, err = netip.ParseAddr(c.NextHop); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		if c.MAC != "" {
			if one.mac, err = net.ParseMAC(c.MAC); err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
		}
		s.servers[c.Name] = one
	}
	for _, c := range s.Networks {
		one := &network{NetworkConfig: c}
		if one.sir, err = parsePrefix(c.SIR); err != nil {
			return nil, fmt.Errorf("%s: %w", c.Name, err)
		}
		mode, known := modes[c.Csum]
		if !known {
			return nil, fmt.Errorf("%s: csum %q is not known", c.Name, c.Csum)
		}
		one.mode = mode
		s.networks[c.Name] = one
	}
	if s.self = s.servers[s.Server]; s.self == nil {
		return nil, fmt.Errorf("server %s is not among the servers", s.Server)
	}
	return s, nil
}

// indexOf gives a server's place in the map: by its name, so that another server does not move it.
func indexOf(name string, taken map[uint32]bool) uint32 {
	hash := fnv.New32a()
	hash.Write([]byte(name))
	index := hash.Sum32() % serversMost
	for taken[index] {
		index = (index + 1) % serversMost
	}
	taken[index] = true
	return index
}

// networkOf gives the network that a SIR address belongs to; nil where there is none.
func (s *site) networkOf(a Address) *network {
	for _, n := range s.networks {
		if n.sir == a.Locator {
			return n
		}
	}
	return nil
}

// wire gives the address that packets to a system of a server have on the way.
func (s *site) wire(n *network, sir Address, at *server) (Address, Mode) {
	if !n.Translate {
		return sir, noAction
	}
	return onWire(sir, at.locator, n.mode), n.mode
}
