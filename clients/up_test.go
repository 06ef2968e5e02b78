package clients

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"loadbalancer/limiter"
)

// askedStore counts how often it is asked for a client.
type askedStore struct {
	storage
	asked int
	err   error
}

func (s *askedStore) get(ctx context.Context, _ limiter.ID) (client, error) {
	s.asked++
	if _, bounded := ctx.Deadline(); !bounded {
		return client{}, errors.New("BUG: the question has no bound")
	}
	return client{}, s.err
}

// TestUpAsksOnceASecond has a store that fails, answers again and has no such client.
func TestUpAsksOnceASecond(t *testing.T) {
	var u up
	start := time.Now()
	store := &askedStore{}
	for _, step := range []struct {
		at    time.Duration
		err   error
		want  bool
		asked int
	}{
		{0, errors.New("no connection"), false, 1},
		{upAge - 1, nil, false, 1},
		{upAge, nil, true, 2},
		{upAge + 1, errNotFound, true, 2},
		{2 * upAge, errNotFound, true, 3},
		{3 * upAge, errClosed, false, 4},
	} {
		store.err = step.err
		if got := u.check(t.Context(), store, start.Add(step.at)); got != step.want || store.asked != step.asked {
			t.Errorf("at %s: %v after %d questions, want %v after %d", step.at, got, store.asked, step.want, step.asked)
		}
	}
}

// TestUpOfStores has stores without a network answer until they are closed.
func TestUpOfStores(t *testing.T) {
	for _, store := range []string{memoryStore, filePrefix + filepath.Join(t.TempDir(), "clients.db")} {
		s, err := Open(t.Context(), Config{Store: store}, testLimiter(), keysAreRead, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		if !s.Up(t.Context()) {
			t.Errorf("%s does not answer", store)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s.up.check(t.Context(), s.usecase.store, time.Now().Add(upAge)) {
			t.Errorf("%s answers when it is closed", store)
		}
	}
}
