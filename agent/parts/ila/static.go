package ila

import (
	"context"
	"encoding/json"
	"os"
)

// staticRegistry tells what a file says: for servers without etcd, as in the test that boots another kernel.
type staticRegistry struct {
	told map[Address]Record
}

// OpenStatic reads a file of addresses and their servers.
func OpenStatic(path string) Opener {
	return func(*site) (Registry, error) {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		servers := map[string]string{}
		if err := json.Unmarshal(data, &servers); err != nil {
			return nil, err
		}
		r := &staticRegistry{told: map[Address]Record{}}
		for text, server := range servers {
			address, err := ParseAddress(text)
			if err != nil {
				return nil, err
			}
			r.told[address] = Record{Server: server}
		}
		return r, nil
	}
}

// Start does not call back: Configure gives what is told to the kernel.
func (r *staticRegistry) Start(context.Context, map[Address]Record, func(Address, *Record), func(map[Address]Record), func(string)) {
}

func (r *staticRegistry) Claim(Address, Record, bool) {}
func (r *staticRegistry) Release(Address, Record)     {}
func (r *staticRegistry) Again(Address)               {}
func (r *staticRegistry) Close()                      {}
