package clients

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/clients/rest"
	"loadbalancer/limiter"
)

// fake is a storage that can fail and that notices writes to one client which overlap.
type fake struct {
	mu       sync.Mutex
	clients  map[limiter.ID]client
	writing  map[limiter.ID]bool
	overlaps int
	failure  error
}

func newFake() *fake {
	return &fake{clients: map[limiter.ID]client{}, writing: map[limiter.ID]bool{}}
}

func addressID(prefix string) limiter.ID { return limiter.ID{Prefix: netip.MustParsePrefix(prefix)} }

func registration(prefix string, capacity int64, rate float64) limiter.Registration {
	return limiter.Registration{ID: addressID(prefix), Terms: limiter.Terms{Limit: limiter.Limit{Capacity: capacity, RatePerSecond: rate}}}
}

func keysAreRead() bool { return true }

func testLimiter() *limiter.Limiter { return limiter.New(limiter.DefaultConfig()) }

// write changes the map in the middle of a stretch in which others may run.
func (m *fake) write(id limiter.ID, change func(found bool) error) error {
	step := func(f func()) {
		runtime.Gosched()
		m.mu.Lock()
		defer m.mu.Unlock()
		f()
	}
	step(func() {
		if m.writing[id] {
			m.overlaps++
		}
		m.writing[id] = true
	})
	defer step(func() { m.writing[id] = false })
	err := m.failure
	if err == nil {
		step(func() {
			_, found := m.clients[id]
			err = change(found)
		})
	}
	return err
}

func (m *fake) insert(_ context.Context, c client) error {
	return m.write(c.ID, func(found bool) error {
		if found {
			return errExists
		}
		if m.keyTaken(c) {
			return errKeyTaken
		}
		m.clients[c.ID] = c
		return nil
	})
}

func (m *fake) update(_ context.Context, c client) (client, error) {
	err := m.write(c.ID, func(found bool) error {
		if !found {
			return errNotFound
		}
		if m.keyTaken(c) {
			return errKeyTaken
		}
		c.createdAt = m.clients[c.ID].createdAt
		if c.Key == (limiter.KeyDigest{}) {
			c.Key = m.clients[c.ID].Key
		}
		m.clients[c.ID] = c
		return nil
	})
	return c, err
}

func (m *fake) keyTaken(c client) bool {
	for _, other := range m.clients {
		if other.ID != c.ID && other.Key == c.Key && c.Key != (limiter.KeyDigest{}) {
			return true
		}
	}
	return false
}

func (m *fake) remove(_ context.Context, id limiter.ID) error {
	return m.write(id, func(found bool) error {
		if !found {
			return errNotFound
		}
		delete(m.clients, id)
		return nil
	})
}

func (m *fake) get(_ context.Context, id limiter.ID) (client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, found := m.clients[id]; found || m.failure != nil {
		return c, m.failure
	}
	return client{}, errNotFound
}

func (m *fake) scan(_ context.Context, _ limiter.ID, _ int, visit func(client) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range slices.SortedFunc(maps.Values(m.clients), func(a, b client) int {
		return cmp.Compare(a.ID.String(), b.ID.String())
	}) {
		if err := visit(c); err != nil {
			return err
		}
	}
	return m.failure
}

func (m *fake) close() error { return nil }

func TestStoreFailureLeavesTheLimiter(t *testing.T) {
	store, lim, log := newFake(), testLimiter(), &bytes.Buffer{}
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	base, stop := serve(t, (&controller{usecase: u, log: zerolog.New(log)}).register, true)
	defer stop()
	a := &api{t: t, base: base, limiter: lim}
	standard := limiter.DefaultConfig().Default.Capacity
	a.create("10.0.0.1", 7)

	const secret = "FATAL: relation clients of db.internal is broken"
	store.failure = errors.New(secret)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/", `{"ip_address":"10.0.0.2","capacity":8,"rate_per_second":1}`},
		{"PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`},
		{"DELETE", "/10.0.0.1", ""},
		{"GET", "/10.0.0.1", ""},
		{"GET", "/", ""},
		{"POST", "/", `{"name":"acme","api_key":"the key of acme","capacity":8,"rate_per_second":1}`},
		{"PUT", "/acme", `{"api_key":"the key of acme","capacity":8,"rate_per_second":1}`},
		{"DELETE", "/acme", ""},
	} {
		log.Reset()
		got := a.call(http.StatusServiceUnavailable, c.method, c.path, c.body)
		if strings.Contains(got.body, "db.internal") || !strings.Contains(got.body, "try again later") {
			t.Errorf("%s tells the caller %s", c.method, got.body)
		}
		if !strings.Contains(log.String(), secret) || !strings.Contains(log.String(), c.method) {
			t.Errorf("%s logs %q", c.method, log)
		}
		a.limited("10.0.0.1", 7)
		a.limited("10.0.0.2", standard)
		a.limitedByKey("the key of acme", standard)
	}
	store.failure = nil
	a.call(http.StatusOK, "PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`)
	a.limited("10.0.0.1", 8)
}

// TestRepetitionSettles has writes reach the store but lose their responses: the limiter does not
// know of them until the call is repeated.
func TestRepetitionSettles(t *testing.T) {
	store, lim := newFake(), testLimiter()
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	r := registration("10.0.0.1/32", 7, 1)
	capacity := func() int64 { return admit(lim, "10.0.0.1", "").Capacity }

	store.clients[r.ID] = client{Registration: r}
	if _, err := u.create(t.Context(), r); err == nil || capacity() != 7 {
		t.Errorf("after the second POST: %v, capacity %d, want the one that is stored", err, capacity())
	}
	delete(store.clients, r.ID)
	if err := u.remove(t.Context(), r.ID); err == nil || capacity() != limiter.DefaultConfig().Default.Capacity {
		t.Errorf("after the second DELETE: %v, capacity %d, want the default", err, capacity())
	}
}

func TestRepetitionSettlesNames(t *testing.T) {
	store, lim := newFake(), testLimiter()
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	c := namedClient("acme", "the key of acme")
	capacity := func() int64 { return admit(lim, "192.0.2.1", "the key of acme").Capacity }

	store.clients[c.ID] = c
	if _, err := u.create(t.Context(), c.Registration); err == nil || capacity() != c.Terms.Capacity {
		t.Errorf("after the second POST: %v, capacity %d, want the one that is stored", err, capacity())
	}
	delete(store.clients, c.ID)
	if err := u.remove(t.Context(), c.ID); err == nil || capacity() != limiter.DefaultConfig().Default.Capacity {
		t.Errorf("after the second DELETE: %v, capacity %d, want the default", err, capacity())
	}
}

func TestWritesToOneClientAreOrdered(t *testing.T) {
	store, lim := newFake(), testLimiter()
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	id := addressID("10.0.0.1/32")
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 200 {
				r := registration("10.0.0.1/32", int64(1+caller*200+i), 1)
				var err error
				switch i % 3 {
				case 0:
					_, err = u.create(t.Context(), r)
				case 1:
					_, err = u.change(t.Context(), r)
				case 2:
					err = u.remove(t.Context(), id)
				}
				if f, ok := errors.AsType[*rest.Fault](err); ok && f.Code == rest.Unavailable {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if store.overlaps > 0 {
		t.Errorf("%d writes overlapped", store.overlaps)
	}
	if lim.Registered() != len(store.clients) {
		t.Errorf("the limiter has %d clients, the store %d", lim.Registered(), len(store.clients))
	}
	if c, found := store.clients[id]; found {
		(&api{t: t, limiter: lim}).limited("10.0.0.1", c.Terms.Capacity)
	}
}
