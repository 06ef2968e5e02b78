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

// storeTimeout bounds one call of the store, so that a store that does not respond cannot block the
// API for long.
const storeTimeout = 3 * time.Second

var (
	errNotFound = errors.New("no such client")
	errExists   = errors.New("client exists")
	errKeyTaken = errors.New("another client has the API key")
)

// storage stores the clients. Its writes are durable when they return. It has one method for each
// operation that the API needs.
type storage interface {
	// get returns errNotFound if there is no such client.
	get(ctx context.Context, id limiter.ID) (client, error)
	// scan calls visit for the clients behind after, in order: addresses and ranges before names,
	// IPv4 before IPv6, by address, a shorter prefix first; names bytewise. The zero ID is before
	// all clients. It ends after limit clients (0 means no limit) or at the first error of visit,
	// which it returns.
	scan(ctx context.Context, after limiter.ID, limit int, visit func(client) error) error
	// insert returns errExists if the client exists, else errKeyTaken if another has its key.
	insert(ctx context.Context, c client) error
	// update replaces the key, the terms and updatedAt of a client and returns the stored client.
	// The zero key keeps the stored one. It returns errNotFound if there is no such client, else
	// errKeyTaken if another has the key.
	update(ctx context.Context, c client) (client, error)
	// remove returns errNotFound if there is no such client.
	remove(ctx context.Context, id limiter.ID) error
	close() error
}

// usecase enforces the rules: terms are valid, and a write updates the store first and the limiter
// second. It is safe for concurrent use.
type usecase struct {
	store   storage
	limiter *limiter.Limiter
	locks   stripedLocks
}

// loaded counts the clients in the store.
type loaded struct {
	all   int
	named int // those with an API key
}

// load adds every stored client to the limiter, one at a time.
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

// create registers a client. A client with a name must have a key.
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

// change replaces the terms of a client, and its key unless the new key is zero.
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

// settle makes the limiter agree with the store after a write failed because the client exists or
// does not: an earlier write may have reached the store and not the limiter. The caller holds the
// lock of the client.
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

// usage returns the usage of a client. Like reset it needs only the limiter, and works while the
// store is unavailable.
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

// limited returns at most the given number of clients that were rejected recently.
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
	case errors.Is(err, errKeyTaken):
		// The message does not name the client: the caller may have guessed the key.
		return &rest.Fault{Code: rest.Exists, Field: fieldKey,
			Message: "another client has this api_key already; each needs one of its own"}
	default:
		// An interrupted write may have reached the store all the same. Repeating it resolves that.
		return &rest.Fault{Code: rest.Unavailable, Cause: err,
			Message: "the store of the clients does not work at the moment; limits stay as they are, try again later"}
	}
}

func timestamp() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// stripedLocks serializes the writes to one client; writes to different clients seldom wait for
// each other. The zero value is not ready for use: see newStripedLocks.
type stripedLocks struct {
	seed    maphash.Seed
	stripes *[256]sync.Mutex
}

func newStripedLocks() stripedLocks {
	return stripedLocks{seed: maphash.MakeSeed(), stripes: new([256]sync.Mutex)}
}

// lock locks the stripe of a client and returns the function that unlocks it.
func (l stripedLocks) lock(id limiter.ID) (unlock func()) {
	stripe := &l.stripes[maphash.Comparable(l.seed, id)%uint64(len(l.stripes))]
	stripe.Lock()
	return stripe.Unlock
}
