package acme

import (
	"errors"
	"fmt"
	"testing"
	"time"

	rfc8555 "github.com/mholt/acmez/v3/acme"
)

func TestPauseAfter(t *testing.T) {
	for _, c := range []struct {
		failures         int
		refused, limited bool
		want             time.Duration
	}{
		{1, false, false, 5 * time.Second},
		{2, false, false, 10 * time.Second},
		{6, false, false, 160 * time.Second},
		{7, false, false, 5 * time.Minute},
		{1000, false, false, 5 * time.Minute},
		{1, true, false, time.Minute},
		{4, true, false, 5 * time.Minute},
		{25, true, false, 6 * time.Hour},
		{1000, true, false, 6 * time.Hour},
		{1, true, true, time.Hour},
		{25, true, true, 6 * time.Hour},
	} {
		if got := pauseAfter(c.failures, c.refused, c.limited); got != c.want {
			t.Errorf("after %d failures, refused %v, limited %v: %v, not %v", c.failures, c.refused, c.limited, got, c.want)
		}
	}
}

// What failed is kept with its time, for each authority and domain alone, until an order succeeds.
func TestAttempts(t *testing.T) {
	storage := NewFolder(t.TempDir())
	a := attempts{storage: storage, authority: "one", after: pauseAfter}
	now := time.Now()
	limited := fmt.Errorf("order: %w", rfc8555.Problem{Type: rfc8555.ProblemTypeRateLimited, Detail: "too many"})
	for n, cause := range []error{errors.New("no route"), limited} {
		before, err := a.begin(t.Context(), "www.example.test", now)
		if err != nil || a.due(t.Context(), "www.example.test", true) == nil {
			t.Fatalf("an order that is under way: %v", err)
		}
		err = a.failed(t.Context(), "www.example.test", before, cause, now)
		later, ok := errors.AsType[*laterError](err)
		if want := now.Add(pauseAfter(n+1, n == 1, n == 1)); !ok || later.Failures != n+1 || !later.Next.Equal(want) || later.Error() != cause.Error() {
			t.Errorf("%d: %+v, %v", n, later, err)
		}
	}
	restarted := attempts{storage: storage, authority: "one", after: pauseAfter}
	later, ok := errors.AsType[*laterError](restarted.due(t.Context(), "www.example.test", true))
	if !ok || later.Failures != 2 {
		t.Errorf("after a restart: %+v", later)
	}
	other := attempts{storage: storage, authority: "two", after: pauseAfter}
	if err := errors.Join(other.due(t.Context(), "www.example.test", true), restarted.due(t.Context(), "example.test", true)); err != nil {
		t.Errorf("another authority, another domain: %v", err)
	}
	a.forget(t.Context(), "www.example.test")
	if err := restarted.due(t.Context(), "www.example.test", true); err != nil {
		t.Errorf("after a success: %v", err)
	}
}

// An order that was given up is forgotten; one whose process was killed delays the next.
func TestUnfinishedOrder(t *testing.T) {
	a := attempts{storage: NewFolder(t.TempDir()), authority: "one", after: pauseAfter}
	before, err := a.begin(t.Context(), "www.example.test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.due(t.Context(), "www.example.test", false); err != nil {
		t.Errorf("one that may be under way is not waited for: %v", err)
	}
	later, ok := errors.AsType[*laterError](a.due(t.Context(), "www.example.test", true))
	if !ok || later.Failures != 1 || later.Cause != unfinished || time.Until(later.Next) < 50*time.Second {
		t.Errorf("after a kill: %+v", later)
	}
	a.undo(t.Context(), "www.example.test", before)
	if err := a.due(t.Context(), "www.example.test", true); err != nil {
		t.Errorf("after it was given up: %v", err)
	}
}
