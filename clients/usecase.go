package clients

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"loadbalancer/limiter"
)

// storeTimeout bounds one call of the store, so that a store which has gone silent holds up nobody for long.
const storeTimeout = 3 * time.Second

var (
	errNotFound = errors.New("no such client")
	errExists   = errors.New("client exists")
)

// storage keeps the clients. Its writes are durable when they return. It has one method for each statement that
// the calls of the API need.
type storage interface {
	// get fails with errNotFound.
	get(ctx context.Context, id netip.Prefix) (client, error)
	// scan calls visit for the clients behind after, in the order of compareIDs; the zero Prefix is before all.
	// It ends after limit clients (0 means no limit) or with the first error of visit, which it returns.
	scan(ctx context.Context, after netip.Prefix, limit int, visit func(client) error) error
	// insert fails with errExists.
	insert(ctx context.Context, c client) error
	// update changes the limit and the updatedAt of a client and returns what is then stored. It fails with
	// errNotFound.
	update(ctx context.Context, c client) (client, error)
	// remove fails with errNotFound.
	remove(ctx context.Context, id netip.Prefix) error
	close() error
}

// usecase holds the rules: what a limit may be, and that a write reaches the store first and the limiter second.
// It is safe for concurrent use.
type usecase struct {
	store   storage
	limiter *limiter.Limiter
	locks   stripedLocks
}

// load hands every stored client to the limiter, one at a time, and returns their number.
func (u *usecase) load(ctx context.Context) (int, error) {
	count := 0
	err := u.store.scan(ctx, netip.Prefix{}, 0, func(c client) error {
		if f := checkLimit(c.limit); f != nil {
			return fmt.Errorf("client %s: %w", formatID(c.id), f)
		}
		u.limiter.Set(c.id, c.limit)
		count++
		return nil
	})
	return count, err
}

func (u *usecase) create(ctx context.Context, id netip.Prefix, limit limiter.Limit) (client, error) {
	if f := checkLimit(limit); f != nil {
		return client{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer u.locks.lock(id)()

	now := timestamp()
	c := client{id: id, limit: limit, createdAt: now, updatedAt: now}
	if err := u.store.insert(ctx, c); err != nil {
		u.settle(ctx, id, err)
		return client{}, storeFault(id, err)
	}
	u.limiter.Set(id, limit)
	return c, nil
}

func (u *usecase) change(ctx context.Context, id netip.Prefix, limit limiter.Limit) (client, error) {
	if f := checkLimit(limit); f != nil {
		return client{}, f
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	defer u.locks.lock(id)()

	c, err := u.store.update(ctx, client{id: id, limit: limit, updatedAt: timestamp()})
	if err != nil {
		u.settle(ctx, id, err)
		return client{}, storeFault(id, err)
	}
	u.limiter.Set(id, limit)
	return c, nil
}

func (u *usecase) remove(ctx context.Context, id netip.Prefix) error {
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
func (u *usecase) settle(ctx context.Context, id netip.Prefix, err error) {
	switch {
	case errors.Is(err, errNotFound):
		u.limiter.Delete(id)
	case errors.Is(err, errExists):
		if c, err := u.store.get(ctx, id); err == nil && checkLimit(c.limit) == nil {
			u.limiter.Set(id, c.limit)
		}
	}
}

func (u *usecase) get(ctx context.Context, id netip.Prefix) (client, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c, err := u.store.get(ctx, id)
	if err != nil {
		return client{}, storeFault(id, err)
	}
	return c, nil
}

// list returns at most limit clients behind after, and whether there are more.
func (u *usecase) list(ctx context.Context, after netip.Prefix, limit int) (page []client, more bool, err error) {
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

func checkLimit(limit limiter.Limit) *fault {
	field, allowed, ok := limit.Check()
	if ok {
		return nil
	}
	value := fmt.Sprint(limit.Capacity)
	if field == fieldRate {
		value = fmt.Sprint(limit.RatePerSecond)
	}
	return wrongValue(field, value, allowed)
}

func storeFault(id netip.Prefix, err error) *fault {
	switch {
	case errors.Is(err, errNotFound):
		return &fault{code: notFound, message: fmt.Sprintf("there is no client %s", formatID(id))}
	case errors.Is(err, errExists):
		return &fault{code: exists, field: fieldID,
			message: fmt.Sprintf("the client %s exists already; PUT changes it", formatID(id))}
	default:
		// A write that was cut off may have reached the store all the same. Repeating it settles that.
		return &fault{code: unavailable, cause: err,
			message: "the store of the clients does not work at the moment; limits stay as they are, try again later"}
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
func (l stripedLocks) lock(id netip.Prefix) (unlock func()) {
	stripe := &l.stripes[maphash.Comparable(l.seed, id)%uint64(len(l.stripes))]
	stripe.Lock()
	return stripe.Unlock
}
