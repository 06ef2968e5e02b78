package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/caddyserver/certmagic"
	rfc8555 "github.com/mholt/acmez/v3/acme"
)

// attempts are the orders that failed, for each domain of an authority. They are kept in the
// storage, so that neither a restart nor another instance asks the authority sooner than is due.
type attempts struct {
	storage   certmagic.Storage
	authority string // its key in the storage
	after     func(failures int, refused, limited bool) time.Duration
}

// attempt is what is known of the orders for a domain since the last that succeeded.
type attempt struct {
	Failures int       `json:"failures"`
	Next     time.Time `json:"next"` // no order before
	Cause    string    `json:"cause"`
	Begun    bool      `json:"begun"` // an order, which may be under way in another process
}

// laterError means that no order was made, or that one failed: the next is due later.
type laterError struct{ attempt }

func (e *laterError) Error() string { return e.Cause }

// pauses are those that certmagic makes after failed orders, by how many failed in a row. The last
// one stays.
var pauses = []time.Duration{
	time.Minute, 2 * time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 10 * time.Minute, 10 * time.Minute,
	20 * time.Minute, 20 * time.Minute, 20 * time.Minute, 20 * time.Minute,
	30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute, 30 * time.Minute,
	time.Hour, time.Hour, time.Hour, 2 * time.Hour, 2 * time.Hour, 3 * time.Hour, 3 * time.Hour, 6 * time.Hour,
}

const (
	// An authority that did not answer has counted nothing, and is asked again sooner.
	firstUnanswered, lastUnanswered = 5 * time.Second, 5 * time.Minute
	// limitedPause is the least after a limit of the authority. Those of Let's Encrypt fill up again
	// within an hour and more.
	limitedPause = time.Hour
)

// pauseAfter is how long to wait after this many failures in a row. refused reports whether the last
// one was an answer of the authority, and limited whether that said that there were too many.
func pauseAfter(failures int, refused, limited bool) time.Duration {
	if !refused {
		d := firstUnanswered
		for range min(failures-1, 10) {
			d *= 2
		}
		return min(d, lastUnanswered)
	}
	d := pauses[min(failures, len(pauses))-1]
	if limited {
		return max(d, limitedPause)
	}
	return d
}

func (a *attempts) key(domain string) string {
	return path.Join("attempts", certmagic.StorageKeys.Safe(a.authority), certmagic.StorageKeys.Safe(domain)+".json")
}

// last returns what is known of a domain.
func (a *attempts) last(ctx context.Context, domain string) (last attempt, err error) {
	text, err := a.storage.Load(ctx, a.key(domain))
	if errors.Is(err, fs.ErrNotExist) {
		return attempt{}, nil
	}
	if err != nil {
		return attempt{}, err
	}
	if json.Unmarshal(text, &last) != nil {
		return attempt{}, nil // it is overwritten by the next failure
	}
	return last, nil
}

// due returns an error while the next order for a domain is not due. locked reports whether this
// process holds the lock of the domain. If it does not, an order that was begun may be under way in
// another process: then due returns nil, and the caller waits for the lock.
func (a *attempts) due(ctx context.Context, domain string, locked bool) error {
	last, err := a.last(ctx, domain)
	if err != nil {
		return err
	}
	if last.Begun && !locked {
		return nil
	}
	if time.Now().Before(last.Next) {
		return &laterError{last}
	}
	return nil
}

// unfinished is the cause of an order whose process has ended, or whose certificate could not be
// stored.
const unfinished = "an order was begun, and its certificate was not stored"

// begin records an order before it is made, and returns what was recorded before, for undo.
func (a *attempts) begin(ctx context.Context, domain string, now time.Time) (before attempt, err error) {
	if before, err = a.last(ctx, domain); err != nil {
		return before, err
	}
	next := now.Add(a.after(before.Failures+1, true, false))
	return before, a.store(ctx, domain, attempt{Failures: before.Failures + 1, Next: next, Cause: unfinished, Begun: true})
}

// undo takes back begin: the order was given up.
func (a *attempts) undo(ctx context.Context, domain string, before attempt) {
	_ = a.store(context.WithoutCancel(ctx), domain, before) // else it delays the next
}

func (a *attempts) store(ctx context.Context, domain string, what attempt) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	return a.storage.Store(ctx, a.key(domain), text)
}

// failed records an order that failed at a time. The error that it returns tells of the next.
func (a *attempts) failed(ctx context.Context, domain string, before attempt, cause error, now time.Time) error {
	last := before
	problem, refused := errors.AsType[rfc8555.Problem](cause)
	limited := refused && (problem.Type == rfc8555.ProblemTypeRateLimited || problem.Status == http.StatusTooManyRequests)
	last.Failures, last.Begun = last.Failures+1, false
	last.Next = now.Add(a.after(last.Failures, refused, limited))
	last.Cause = cause.Error()
	if err := a.store(ctx, domain, last); err != nil {
		return fmt.Errorf("%w; and this failure cannot be stored: %w", cause, err)
	}
	return &laterError{last}
}

// forget forgets what failed: a domain has its certificate.
func (a *attempts) forget(ctx context.Context, domain string) {
	if last, err := a.last(ctx, domain); err == nil && last.Failures > 0 {
		_ = a.storage.Delete(ctx, a.key(domain)) // what stays delays the next order at most
	}
}
