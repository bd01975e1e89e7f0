package ila

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Record says where an identifier is. It is kept under the lease of its server's agent: it goes when that one is gone.
type Record struct {
	Server   string `json:"server"`
	System   string `json:"system"`
	Instance string `json:"instance"`
}

// Registry is the authority on where identifiers are (the NVA).
type Registry interface {
	// known is what the kernel holds of before.
	Start(ctx context.Context, known map[Address]Record, one func(Address, *Record), all func(map[Address]Record), state func(string))
	// Claim is answered by what is told later. fresh: take it from whoever has it.
	Claim(address Address, record Record, fresh bool)
	Release(address Address, record Record)
	// Again brings a claim once more: it is not there any more.
	Again(address Address)
	Close()
}

// etcdRegistry speaks to etcd. Nothing of it blocks the engine: claims wait in a list until etcd has taken them.
type etcdRegistry struct {
	client *clientv3.Client
	prefix string
	lease  int
	grace  time.Duration

	mu     sync.Mutex
	claims map[Address]*claim
	wake   chan struct{}
	reread chan struct{} // a lease that ended may mean a store that began anew
	cancel context.CancelFunc
}

type claim struct {
	record Record
	fresh  bool
	isDone bool
	isGone bool // to be released
}

// openEtcd reads a bundle of certificate, key and authority: who has it may write.
func openEtcd(s *site, bundle string) (Registry, error) {
	data, err := os.ReadFile(bundle)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", bundle, err)
	}
	roots := x509.NewCertPool()
	// The authority is the last of the certificates.
	last := strings.LastIndex(string(data), "-----BEGIN CERTIFICATE-----")
	if last < 0 || !roots.AppendCertsFromPEM(data[last:]) {
		return nil, fmt.Errorf("%s: no authority in it", bundle)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            s.Endpoints,
		DialTimeout:          2 * time.Second,
		DialKeepAliveTime:    2 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
		TLS:                  &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12},
		Logger:               zap.NewNop(),
	})
	if err != nil {
		return nil, err
	}
	return &etcdRegistry{
		client: client, prefix: s.Root + "/systems/", lease: s.LeaseSeconds, grace: time.Duration(s.LeaseSeconds) * time.Second,
		claims: map[Address]*claim{}, wake: make(chan struct{}, 1), reread: make(chan struct{}, 1),
	}, nil
}

// OpenEtcd gives the way to open a site's registry with a bundle.
func OpenEtcd(bundle string) Opener {
	return func(s *site) (Registry, error) { return openEtcd(s, bundle) }
}

func (r *etcdRegistry) key(a Address) string { return r.prefix + a.String() }

func (r *etcdRegistry) Close() {
	if r.cancel != nil {
		r.cancel()
	}
	_ = r.client.Close()
}

func (r *etcdRegistry) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *etcdRegistry) Claim(a Address, record Record, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.claims[a]; old != nil && old.record == record && !old.isGone {
		if old.isDone && !fresh {
			return
		}
		fresh = fresh || old.fresh
	}
	r.claims[a] = &claim{record: record, fresh: fresh}
	r.signal()
}

func (r *etcdRegistry) Again(a Address) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.claims[a]; c != nil && !c.isGone && c.isDone {
		r.claims[a] = &claim{record: c.record}
		r.signal()
	}
}

func (r *etcdRegistry) Release(a Address, record Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims[a] = &claim{record: record, isGone: true}
	r.signal()
}

func (r *etcdRegistry) Start(ctx context.Context, known map[Address]Record, one func(Address, *Record), all func(map[Address]Record), state func(string)) {
	ctx, r.cancel = context.WithCancel(ctx)
	go r.hold(ctx, state)
	go r.follow(ctx, known, one, all)
}

// hold keeps a lease, and all claims under it. A new lease claims everything anew, and takes nothing from others.
func (r *etcdRegistry) hold(ctx context.Context, state func(string)) {
	said := ""
	say := func(text string) {
		if text != said {
			said = text
			log.Printf("ila registry: %s", text)
			state(text)
		}
	}
	for ctx.Err() == nil {
		err := r.holdOne(ctx, func() {
			say("connected")
			select {
			case r.reread <- struct{}{}:
			default:
			}
		})
		if ctx.Err() != nil {
			return
		}
		say(fmt.Sprintf("not connected: %v", err))
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (r *etcdRegistry) holdOne(ctx context.Context, connected func()) error {
	grantCtx, cancel := context.WithTimeout(ctx, 2*time.Second)
	granted, err := r.client.Grant(grantCtx, int64(r.lease))
	cancel()
	if err != nil {
		return err
	}
	life, cancel := context.WithCancel(ctx)
	defer cancel()
	alive, err := r.client.KeepAlive(life, granted.ID)
	if err != nil {
		return err
	}
	connected()
	r.mu.Lock()
	for _, c := range r.claims {
		c.isDone = false
	}
	r.mu.Unlock()
	for {
		if err := r.settle(ctx, granted.ID); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, open := <-alive:
			if !open {
				return errors.New("the lease ended")
			}
		case <-r.wake:
		}
	}
}

// settle brings every claim that is not done to etcd.
func (r *etcdRegistry) settle(ctx context.Context, lease clientv3.LeaseID) error {
	type due struct {
		address Address
		claim   *claim
	}
	r.mu.Lock()
	var all []due
	for a, c := range r.claims {
		if !c.isDone {
			all = append(all, due{a, c})
		}
	}
	r.mu.Unlock()
	for _, d := range all {
		if err := r.settleOne(ctx, lease, d.address, d.claim); err != nil {
			return err
		}
		r.mu.Lock()
		d.claim.isDone, d.claim.fresh = true, false
		if d.claim.isGone && r.claims[d.address] == d.claim {
			delete(r.claims, d.address)
		}
		r.mu.Unlock()
	}
	return nil
}

func (r *etcdRegistry) settleOne(ctx context.Context, lease clientv3.LeaseID, a Address, c *claim) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	key := r.key(a)
	value, _ := json.Marshal(c.record)
	if c.isGone {
		_, err := r.client.Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", string(value))).Then(clientv3.OpDelete(key)).Commit()
		return err
	}
	put := clientv3.OpPut(key, string(value), clientv3.WithLease(lease))
	if c.fresh {
		_, err := r.client.Do(ctx, put)
		return err
	}
	answer, err := r.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(put).Else(clientv3.OpGet(key)).Commit()
	if err != nil || answer.Succeeded {
		return err
	}
	for _, kv := range answer.Responses[0].GetResponseRange().Kvs {
		var now Record
		if json.Unmarshal(kv.Value, &now) == nil && now.Server == c.record.Server {
			_, err = r.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision)).Then(put).Commit()
		}
	}
	return err
}

const pageSize = 10_000

// follow reads everything, then what changes. What is missing after a disconnect is forgotten when the others have had
// the time to claim it again: an etcd that lost its data does not stop the traffic.
func (r *etcdRegistry) follow(ctx context.Context, known map[Address]Record, one func(Address, *Record), all func(map[Address]Record)) {
	for ctx.Err() == nil {
		found, revision, err := r.readAll(ctx)
		if err == nil {
			missing := false
			for a := range known {
				if _, is := found[a]; !is {
					missing = true
				}
			}
			if missing {
				select {
				case <-ctx.Done():
					return
				case <-time.After(r.grace):
				}
				found, revision, err = r.readAll(ctx)
			}
		}
		if err == nil {
			known = found
			copied := make(map[Address]Record, len(found))
			for a, record := range found {
				copied[a] = record
			}
			all(copied)
			err = r.watch(ctx, revision+1, known, one)
		}
		if ctx.Err() == nil {
			log.Printf("ila registry: following ended (%v); again", err)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func (r *etcdRegistry) readAll(ctx context.Context) (map[Address]Record, int64, error) {
	found := map[Address]Record{}
	from, revision := r.prefix, int64(0)
	end := clientv3.GetPrefixRangeEnd(r.prefix)
	for {
		pageCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
		options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize)}
		if revision != 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		page, err := r.client.Get(pageCtx, from, options...)
		cancel()
		if err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			revision = page.Header.Revision
		}
		for _, kv := range page.Kvs {
			if a, record, ok := r.parse(string(kv.Key), kv.Value); ok {
				found[a] = record
			}
		}
		if !page.More {
			return found, revision, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (r *etcdRegistry) parse(key string, value []byte) (Address, Record, bool) {
	a, err := ParseAddress(strings.TrimPrefix(key, r.prefix))
	if err != nil {
		return Address{}, Record{}, false
	}
	var record Record
	if value != nil && json.Unmarshal(value, &record) != nil {
		return Address{}, Record{}, false
	}
	return a, record, true
}

// watch ends with the watch, or with a new lease: the client takes a watch up again by itself, also at a store that began
// anew, where the revisions that it waits for are long in coming.
func (r *etcdRegistry) watch(ctx context.Context, from int64, known map[Address]Record, one func(Address, *Record)) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := r.client.Watch(ctx, r.prefix, clientv3.WithPrefix(), clientv3.WithRev(from))
	for {
		var answer clientv3.WatchResponse
		var open bool
		select {
		case <-r.reread:
			return errors.New("there is a new lease")
		case answer, open = <-changes:
			if !open {
				return errors.New("the watch ended")
			}
		}
		if err := answer.Err(); err != nil {
			return err
		}
		for _, e := range answer.Events {
			a, record, ok := r.parse(string(e.Kv.Key), e.Kv.Value)
			if !ok {
				continue
			}
			if e.Type == clientv3.EventTypeDelete {
				delete(known, a)
				one(a, nil)
			} else {
				known[a] = record
				one(a, &record)
			}
		}
	}
}
