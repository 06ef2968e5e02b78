package clients

import (
	"context"
	"errors"
	"sync"
	"time"

	"loadbalancer/limiter"
)

// upTimeout bounds the question whether the store answers, and upAge is how long an answer counts:
// a caller of the metrics must not be able to load the store.
const (
	upTimeout = time.Second
	upAge     = time.Second
)

// up remembers whether the store answered. The zero value has not asked. It is safe for concurrent
// use.
type up struct {
	mu      sync.Mutex // held while the store is asked: others wait for the same answer
	asked   time.Time
	answers bool
}

// Up reports whether the store answers: whether it could read a client now, or could a second ago.
// It waits for PostgreSQL for a second at most. A file and memory answer until they are closed.
// Before Start has returned, none does.
func (s *Service) Up(ctx context.Context) bool {
	return s.started.Load() && s.up.check(ctx, s.usecase.store, time.Now())
}

func (u *up) check(ctx context.Context, store storage, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.asked.IsZero() || now.Sub(u.asked) >= upAge {
		ctx, cancel := context.WithTimeout(ctx, upTimeout)
		defer cancel()
		_, err := store.get(ctx, limiter.ID{Name: "-"}) // any client, also one that does not exist
		u.answers = err == nil || errors.Is(err, errNotFound)
		u.asked = now
	}
	return u.answers
}
