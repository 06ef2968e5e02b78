package clients

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"loadbalancer/clients/rest"
	"loadbalancer/clients/store"
	"loadbalancer/limiter"
)

// failing is a store in memory that fails while failure is set: before it has written, or after.
type failing struct {
	*store.Memory
	failure error
	after   bool
}

func (f *failing) Write(ctx context.Context, decide func(store.Tx) error) (store.Changes, error) {
	if f.failure != nil && !f.after {
		return store.Changes{}, f.failure
	}
	changes, err := f.Memory.Write(ctx, decide)
	if err == nil && f.failure != nil {
		return store.Changes{}, f.failure
	}
	return changes, err
}

func addressID(prefix string) limiter.ID { return limiter.ID{Prefix: netip.MustParsePrefix(prefix)} }

func keysAreRead() bool { return true }

func testLimiter() *limiter.Limiter { return limiter.New(limiter.DefaultConfig()) }

// testUsecase returns a usecase over a store, which enforces in the limiter.
func testUsecase(s localStore, lim *limiter.Limiter) *usecase {
	u := &usecase{limiter: lim}
	u.use(&local{localStore: s, enforcer: newEnforcer(lim, zerolog.Nop())})
	return u
}

func testDraft(prefix string, capacity int64) draft {
	return draft{id: addressID(prefix), own: limiter.Terms{Limit: limiter.Limit{Capacity: capacity, RatePerSecond: 1}}}
}

func TestStoreFailureLeavesTheLimiter(t *testing.T) {
	const secret = "FATAL: relation clients of db.internal is broken"
	s, lim, log := &failing{Memory: store.OpenMemory(store.Bounds{})}, testLimiter(), &bytes.Buffer{}
	u := testUsecase(s, lim)
	base, stop := serve(t, (&controller{usecase: u, log: zerolog.New(log), readsKeys: keysAreRead}).register, true)
	defer stop()
	a := &api{t: t, base: base, limiter: lim}
	standard := limiter.DefaultConfig().Default.Capacity
	a.create("10.0.0.1", 7)

	s.failure = errors.New(secret)
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/", `{"ip_address":"10.0.0.2","capacity":8,"rate_per_second":1}`},
		{"PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`},
		{"PATCH", "/10.0.0.1", `{"capacity":8}`},
		{"DELETE", "/10.0.0.1", ""},
		{"POST", "/", `{"name":"acme","api_key":"the key of acme","capacity":8,"rate_per_second":1}`},
		{"PUT", "/acme", `{"api_key":"the key of acme","capacity":8,"rate_per_second":1}`},
		{"DELETE", "/acme", ""},
	} {
		log.Reset()
		got := a.call(http.StatusServiceUnavailable, c.method, c.path, c.body)
		if strings.Contains(got.body, "db.internal") || !strings.Contains(got.body, "try again later") || got.header.Get("Retry-After") != "1" {
			t.Errorf("%s tells the caller %v %s", c.method, got.header, got.body)
		}
		if !strings.Contains(log.String(), secret) || !strings.Contains(log.String(), c.method) {
			t.Errorf("%s logs %q", c.method, log)
		}
		a.limited("10.0.0.1", 7)
		a.limited("10.0.0.2", standard)
		a.limitedByKey("the key of acme", standard)
	}
	s.failure = nil
	a.call(http.StatusOK, "PUT", "/10.0.0.1", `{"capacity":8,"rate_per_second":1}`)
	a.limited("10.0.0.1", 8)
}

// TestUnknownOutcome has a store that writes, and goes away before it says so.
func TestUnknownOutcome(t *testing.T) {
	s := &failing{Memory: store.OpenMemory(store.Bounds{}), failure: store.ErrUnknown, after: true}
	_, err := testUsecase(s, testLimiter()).create(t.Context(), call{}, testDraft("10.0.0.1/32", 7))
	f, ok := errors.AsType[*rest.Fault](err)
	if !ok || f.Code != rest.Unavailable || f.Members["outcome"] != "unknown" || f.RetryAfter == 0 {
		t.Errorf("the caller is told %+v", err)
	}
}

func TestWritesAreEnforcedInOrder(t *testing.T) {
	s, lim := store.OpenMemory(store.Bounds{}), testLimiter()
	u := testUsecase(s, lim)
	id := addressID("10.0.0.1/32")
	var wg sync.WaitGroup
	for caller := range 8 {
		wg.Go(func() {
			for i := range 200 {
				d := testDraft("10.0.0.1/32", int64(1+caller*200+i))
				var err error
				switch i % 3 {
				case 0:
					_, err = u.create(t.Context(), call{}, d)
				case 1:
					_, _, err = u.change(t.Context(), call{}, id, false, func(*store.Client) (draft, error) { return d, nil })
				case 2:
					err = u.remove(t.Context(), call{}, id)
				}
				if f, ok := errors.AsType[*rest.Fault](err); ok && f.Code == rest.Unavailable {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if c, err := s.Client(id); err == nil {
		(&api{t: t, limiter: lim}).limited("10.0.0.1", c.Own.Capacity)
	} else if lim.Registered() != 0 {
		t.Errorf("the limiter has %d clients, the store none", lim.Registered())
	}
}
