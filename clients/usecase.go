package clients

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

// storeTimeout bounds one call of the store, so that a store which has gone silent holds up nobody for long.
const storeTimeout = 3 * time.Second

var (
	errNotFound = errors.New("no such client")
	errExists   = errors.New("client exists")
	errKeyTaken = errors.New("another client has the API key")
)

// storage keeps the clients. Its writes are durable when they return. It has one method for each statement that
// the calls of the API need.
type storage interface {
	// get fails with errNotFound.
	get(ctx context.Context, id limiter.ID) (client, error)
	// scan calls visit for the clients behind after: addresses and ranges first, IPv4 before IPv6, then by address,
	// then the shorter prefix; then names, bytewise. The zero ID is before all. It ends after limit clients (0 means
	// no limit) or with the first error of visit, which it returns.
	scan(ctx context.Context, after limiter.ID, limit int, visit func(client) error) error
	// insert fails with errExists, or else with errKeyTaken.
	insert(ctx context.Context, c client) error
	// update changes the key, the terms and the updatedAt of a client and returns what is then stored. The zero key
	// leaves the one that is stored. It fails with errNotFound, or else with errKeyTaken.
	update(ctx context.Context, c client) (client, error)
	// remove fails with errNotFound.
	remove(ctx context.Context, id limiter.ID) error
	close() error
}

// usecase holds the rules: what terms may be, and that a write reaches the store first and the limiter second.
// It is safe for concurrent use.
type usecase struct {
	store   storage
	limiter *limiter.Limiter
	locks   stripedLocks
}

// loaded counts the clients that the store held.
type loaded struct {
	all   int
	named int // of them, those with an API key
}

// load hands every stored client to the limiter, one at a time.
func (u *usecase) load(ctx context.Context) (n loaded, err error) {
	err = u.store.scan(ctx, limiter.ID{}, 0, func(c client) error {
		if f := checkTerms(c.Terms); f != nil {
			return fmt.Errorf("client %s: %w", c.ID, f)
		}
		u.limiter.Set(c.Registration)
		n.all++
		if c.ID.Name != "" {
			n.named++
		}
		return nil
	})
	return n, err
}

// readsKeys reports whether requests are looked into for API keys.
func (u *usecase) readsKeys() bool { return u.limiter.KeyHeader() != "" }

// create registers a client, which has a key if it has a name.
func (u *usecase) create(ctx context.Context, r limiter.Registration) (client, error) {
	if f := checkTerms(r.Terms); f != nil {
		return client{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer u.locks.lock(r.ID)()

	now := timestamp()
	c := client{Registration: r, createdAt: now, updatedAt: now}
	if err := u.store.insert(ctx, c); err != nil {
		u.settle(ctx, r.ID, err)
		return client{}, storeFault(r.ID, err)
	}
	u.limiter.Set(c.Registration)
	return c, nil
}

// change replaces the terms of a client, and its key unless the new one is zero.
func (u *usecase) change(ctx context.Context, r limiter.Registration) (client, error) {
	if f := checkTerms(r.Terms); f != nil {
		return client{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer u.locks.lock(r.ID)()

	c, err := u.store.update(ctx, client{Registration: r, updatedAt: timestamp()})
	if err != nil {
		u.settle(ctx, r.ID, err)
		return client{}, storeFault(r.ID, err)
	}
	u.limiter.Set(c.Registration)
	return c, nil
}

func (u *usecase) remove(ctx context.Context, id limiter.ID) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer u.locks.lock(id)()

	if err := u.store.remove(ctx, id); err != nil {
		u.settle(ctx, id, err)
		return storeFault(id, err)
	}
	u.limiter.Delete(id)
	return nil
}

// settle brings the limiter in line with a store that had a client, or had it no
// more, against what the call expected: an earlier write may have reached the store
// and not the limiter. The caller holds the lock of the client.
func (u *usecase) settle(ctx context.Context, id limiter.ID, err error) {
	switch {
	case errors.Is(err, errNotFound):
		u.limiter.Delete(id)
	case errors.Is(err, errExists):
		if c, err := u.store.get(ctx, id); err == nil && checkTerms(c.Terms) == nil {
			u.limiter.Set(c.Registration)
		}
	}
}

func (u *usecase) get(ctx context.Context, id limiter.ID) (client, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c, err := u.store.get(ctx, id)
	if err != nil {
		return client{}, storeFault(id, err)
	}
	return c, nil
}

// list returns at most limit clients behind after, and whether there are more.
func (u *usecase) list(ctx context.Context, after limiter.ID, limit int) (page []client, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = u.store.scan(ctx, after, limit+1, func(c client) error {
		page = append(page, c)
		return nil
	})
	if err != nil {
		return nil, false, storeFault(after, err)
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

// usage returns what a client has done. It asks the limiter alone, and so does reset: both work while the store
// does not.
func (u *usecase) usage(id limiter.ID) (limiter.Usage, error) {
	usage, ok := u.limiter.Usage(id)
	if !ok {
		return limiter.Usage{}, storeFault(id, errNotFound)
	}
	return usage, nil
}

func (u *usecase) reset(id limiter.ID) error {
	if !u.limiter.Reset(id) {
		return storeFault(id, errNotFound)
	}
	return nil
}

// limited returns at most so many of the clients that were rejected of late.
func (u *usecase) limited(most int) []limiter.Limited { return u.limiter.Limited(most) }

func checkTerms(t limiter.Terms) *rest.Fault {
	field, allowed, ok := t.Check()
	if ok {
		return nil
	}
	var value any
	switch field {
	case fieldCapacity:
		value = t.Capacity
	case fieldRate:
		value = t.RatePerSecond
	case fieldMaxInFlight:
		value = t.MaxInFlight
	case fieldTrial + "." + fieldCapacity:
		value = t.Trial.Capacity
	case fieldTrial + "." + fieldRate:
		value = t.Trial.RatePerSecond
	default:
		panic("BUG: terms have no field " + field)
	}
	return rest.Wrong(field, fmt.Sprint(value), allowed)
}

func storeFault(id limiter.ID, err error) *rest.Fault {
	switch {
	case errors.Is(err, errNotFound):
		return &rest.Fault{Code: rest.NotFound, Message: fmt.Sprintf("there is no client %s", id)}
	case errors.Is(err, errExists):
		return &rest.Fault{Code: rest.Exists, Field: identityField(id),
			Message: fmt.Sprintf("the client %s exists already; PUT changes it", id)}
	case errors.Is(err, errKeyTaken): // whose it is stays untold: the caller may just have guessed it
		return &rest.Fault{Code: rest.Exists, Field: fieldKey,
			Message: "another client has this api_key already; each needs one of its own"}
	default:
		// A write that was cut off may have reached the store all the same. Repeating it settles that.
		return &rest.Fault{Code: rest.Unavailable, Cause: err,
			Message: "the store of the clients does not work at the moment; limits stay as they are, try again later"}
	}
}

func timestamp() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// stripedLocks orders the writes to one client; writes to others seldom wait. The zero value is not ready: see
// newStripedLocks.
type stripedLocks struct {
	seed    maphash.Seed
	stripes *[256]sync.Mutex
}

func newStripedLocks() stripedLocks {
	return stripedLocks{seed: maphash.MakeSeed(), stripes: new([256]sync.Mutex)}
}

// lock returns the unlock.
func (l stripedLocks) lock(id limiter.ID) (unlock func()) {
	stripe := &l.stripes[maphash.Comparable(l.seed, id)%uint64(len(l.stripes))]
	stripe.Lock()
	return stripe.Unlock
}
