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
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// memory is a storage that can fail and that notices writes to one client which overlap.
type memory struct {
	mu       sync.Mutex
	clients  map[netip.Prefix]client
	writing  map[netip.Prefix]bool
	overlaps int
	failure  error
}

func newMemory() *memory {
	return &memory{clients: map[netip.Prefix]client{}, writing: map[netip.Prefix]bool{}}
}

func testLimiter() *limiter.Limiter { return limiter.New(limiter.DefaultConfig()) }

// write changes the map in the middle of a stretch in which others may run.
func (m *memory) write(id netip.Prefix, change func(found bool) error) error {
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

func (m *memory) insert(_ context.Context, c client) error {
	return m.write(c.id, func(found bool) error {
		if found {
			return errExists
		}
		m.clients[c.id] = c
		return nil
	})
}

func (m *memory) update(_ context.Context, c client) (client, error) {
	err := m.write(c.id, func(found bool) error {
		if !found {
			return errNotFound
		}
		c.createdAt = m.clients[c.id].createdAt
		m.clients[c.id] = c
		return nil
	})
	return c, err
}

func (m *memory) remove(_ context.Context, id netip.Prefix) error {
	return m.write(id, func(found bool) error {
		if !found {
			return errNotFound
		}
		delete(m.clients, id)
		return nil
	})
}

func (m *memory) get(_ context.Context, id netip.Prefix) (client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, found := m.clients[id]; found || m.failure != nil {
		return c, m.failure
	}
	return client{}, errNotFound
}

func (m *memory) scan(_ context.Context, _ netip.Prefix, _ int, visit func(client) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range slices.SortedFunc(maps.Values(m.clients), func(a, b client) int {
		return cmp.Compare(a.id.String(), b.id.String())
	}) {
		if err := visit(c); err != nil {
			return err
		}
	}
	return m.failure
}

func (m *memory) close() error { return nil }

func TestStoreFailureLeavesTheLimiter(t *testing.T) {
	store, lim, log := newMemory(), testLimiter(), &bytes.Buffer{}
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	base, stop := serve(t, (&controller{usecase: u, log: zerolog.New(log)}).register, true)
	defer stop()
	a := &api{t: t, base: base, limiter: lim, spec: loadSpecification(t)}
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
	}
	store.failure = nil
	a.call(http.StatusOK, "PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`)
	a.limited("10.0.0.1", 8)
}

// TestRepetitionSettles has writes reach the store whose answer got lost: the
// limiter does not know of them until the call is repeated.
func TestRepetitionSettles(t *testing.T) {
	store, lim := newMemory(), testLimiter()
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	id := netip.MustParsePrefix("10.0.0.1/32")
	limit := limiter.Limit{Capacity: 7, RatePerSecond: 1}
	capacity := func() int64 { return lim.Take(lim.Identify(id.Addr()), time.Now()).Capacity }

	store.clients[id] = client{id: id, limit: limit}
	if _, err := u.create(t.Context(), id, limit); err == nil || capacity() != 7 {
		t.Errorf("after the second POST: %v, capacity %d, want the one that is stored", err, capacity())
	}
	delete(store.clients, id)
	if err := u.remove(t.Context(), id); err == nil || capacity() != limiter.DefaultConfig().Default.Capacity {
		t.Errorf("after the second DELETE: %v, capacity %d, want the default", err, capacity())
	}
}

func TestWritesToOneClientAreOrdered(t *testing.T) {
	store, lim := newMemory(), testLimiter()
	u := &usecase{store: store, limiter: lim, locks: newStripedLocks()}
	id := netip.MustParsePrefix("10.0.0.1/32")
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 200 {
				limit := limiter.Limit{Capacity: int64(1 + caller*200 + i), RatePerSecond: 1}
				var err error
				switch i % 3 {
				case 0:
					_, err = u.create(t.Context(), id, limit)
				case 1:
					_, err = u.change(t.Context(), id, limit)
				case 2:
					err = u.remove(t.Context(), id)
				}
				if f, ok := errors.AsType[*fault](err); ok && f.code == unavailable {
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
		(&api{t: t, limiter: lim}).limited("10.0.0.1", c.limit.Capacity)
	}
}
