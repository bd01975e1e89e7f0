package ila

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Load is what benches do to a registry: many systems at once, one again and again, and watching for that one.
type Load struct {
	Config, Bundle, Pins string
	Network              string
	Count                int
	Interval             time.Duration
	Seconds              int
}

// address is past those that containers started by hand get first.
func (l Load) address(n *network, number int) Address {
	return n.address(0x8000_0000 + uint32(number)/0xfffe<<16 | uint32(number%0xfffe+1))
}

func (l Load) network() (*site, *network, error) {
	s, err := readSite(l.Config)
	if err != nil {
		return nil, nil, err
	}
	n := s.networks[l.Network]
	if n == nil {
		return nil, nil, fmt.Errorf("network %q is not of this server", l.Network)
	}
	return s, n, nil
}

// underLease does its work with a registry, a lease, and what is written for each system; the lease goes afterwards.
func (l Load) underLease(ctx context.Context, work func(*network, *etcdRegistry, clientv3.LeaseID, string) error) error {
	s, n, err := l.network()
	if err != nil {
		return err
	}
	opened, err := openEtcd(s, l.Bundle)
	if err != nil {
		return err
	}
	defer opened.Close()
	r := opened.(*etcdRegistry)
	lease, err := r.client.Grant(ctx, 600)
	if err != nil {
		return err
	}
	value, _ := json.Marshal(Record{Server: s.Server, System: "load", Instance: "0"})
	if err := work(n, r, lease.ID, string(value)); err != nil {
		return err
	}
	_, err = r.client.Revoke(context.Background(), lease.ID)
	return err
}

// Fill registers Count systems and holds them until its input ends.
func (l Load) Fill(ctx context.Context, out io.Writer) error {
	return l.underLease(ctx, func(n *network, r *etcdRegistry, lease clientv3.LeaseID, value string) error {
		const batch = 100
		for i := 0; i < l.Count; i += batch {
			var puts []clientv3.Op
			for k := i; k < min(i+batch, l.Count); k++ {
				puts = append(puts, clientv3.OpPut(r.key(l.address(n, k)), value, clientv3.WithLease(lease)))
			}
			if _, err := r.client.Txn(ctx).Then(puts...).Commit(); err != nil {
				return err
			}
		}
		fmt.Fprintln(out, "filled")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return nil
	})
}

// Register registers one system and lets it go, Count times, and prints when it began each, in nanoseconds.
func (l Load) Register(ctx context.Context, out io.Writer) error {
	return l.underLease(ctx, func(n *network, r *etcdRegistry, lease clientv3.LeaseID, value string) error {
		key := r.key(l.address(n, 0))
		for range l.Count {
			fmt.Fprintln(out, time.Now().UnixNano())
			if _, err := r.client.Put(ctx, key, value, clientv3.WithLease(lease)); err != nil {
				return err
			}
			time.Sleep(l.Interval)
			if _, err := r.client.Delete(ctx, key); err != nil {
				return err
			}
			time.Sleep(l.Interval)
		}
		return nil
	})
}

// Watch prints when that system came into this server's map, in nanoseconds, for a while.
func (l Load) Watch(ctx context.Context, out io.Writer) error {
	_, n, err := l.network()
	if err != nil {
		return err
	}
	mappings, err := ebpf.LoadPinnedMap(filepath.Join(l.Pins, "mappings"), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer mappings.Close()
	address := l.address(n, 0)
	was := false
	for end := time.Now().Add(time.Duration(l.Seconds) * time.Second); time.Now().Before(end) && ctx.Err() == nil; {
		var value mappingValue
		is := mappings.Lookup(address, &value) == nil
		if is && !was {
			fmt.Fprintln(out, time.Now().UnixNano())
		}
		was = is
		time.Sleep(200 * time.Microsecond)
	}
	return nil
}
