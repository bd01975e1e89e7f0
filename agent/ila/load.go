package ila

import (
	"context"
	"encoding/binary"
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

// number is past those that containers started by hand get first.
func (l Load) address(n *network, number int) Address {
	a := Address{Locator: n.sir}
	binary.BigEndian.PutUint32(a.Identifier[:], 1<<29|n.VN)
	binary.BigEndian.PutUint32(a.Identifier[4:], 0x8000_0000+uint32(number)/0xfffe<<16|uint32(number%0xfffe+1))
	return a
}

func (l Load) open() (*site, *network, *etcdRegistry, error) {
	s, err := readSite(l.Config)
	if err != nil {
		return nil, nil, nil, err
	}
	n := s.networks[l.Network]
	if n == nil {
		return nil, nil, nil, fmt.Errorf("network %q is not of this server", l.Network)
	}
	r, err := openEtcd(s, l.Bundle)
	if err != nil {
		return nil, nil, nil, err
	}
	return s, n, r.(*etcdRegistry), nil
}

// Fill registers Count systems and holds them until its input ends.
func (l Load) Fill(ctx context.Context, out io.Writer) error {
	s, n, r, err := l.open()
	if err != nil {
		return err
	}
	defer r.Close()
	lease, err := r.client.Grant(ctx, 600)
	if err != nil {
		return err
	}
	value, _ := json.Marshal(Record{Server: s.Server, System: "load", Instance: "0"})
	const batch = 100
	for i := 0; i < l.Count; i += batch {
		var puts []clientv3.Op
		for k := i; k < min(i+batch, l.Count); k++ {
			puts = append(puts, clientv3.OpPut(r.key(l.address(n, k)), string(value), clientv3.WithLease(lease.ID)))
		}
		if _, err := r.client.Txn(ctx).Then(puts...).Commit(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out, "filled")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_, err = r.client.Revoke(context.Background(), lease.ID)
	return err
}

// Register registers one system and lets it go, Count times, and prints when it began each, in nanoseconds.
func (l Load) Register(ctx context.Context, out io.Writer) error {
	s, n, r, err := l.open()
	if err != nil {
		return err
	}
	defer r.Close()
	lease, err := r.client.Grant(ctx, 600)
	if err != nil {
		return err
	}
	value, _ := json.Marshal(Record{Server: s.Server, System: "load", Instance: "0"})
	key := r.key(l.address(n, 0))
	for range l.Count {
		fmt.Fprintln(out, time.Now().UnixNano())
		if _, err := r.client.Put(ctx, key, string(value), clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
		time.Sleep(l.Interval)
		if _, err := r.client.Delete(ctx, key); err != nil {
			return err
		}
		time.Sleep(l.Interval)
	}
	_, err = r.client.Revoke(ctx, lease.ID)
	return err
}

// Watch prints when that system came into this server's map, in nanoseconds, for a while.
func (l Load) Watch(ctx context.Context, out io.Writer) error {
	s, err := readSite(l.Config)
	if err != nil {
		return err
	}
	n := s.networks[l.Network]
	if n == nil {
		return fmt.Errorf("network %q is not of this server", l.Network)
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
