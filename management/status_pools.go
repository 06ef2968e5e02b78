package management

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"loadbalancer/management/history"
	"loadbalancer/proxy/upstream"
)

// PoolStatus is how a pool stands.
type PoolStatus struct {
	Pool          string          `json:"pool"`
	TakesRequests bool            `json:"takes_requests"`
	Panic         bool            `json:"panic"` // so few backends are in that some that are out take requests
	Waiting       int64           `json:"waiting"`
	Sticky        bool            `json:"sticky"` // it keeps clients at their backends
	Recent        *history.Recent `json:"recent,omitempty"`
	Backends      []BackendStatus `json:"backends"`
}

// BackendStatus is how a backend stands, beside the others of its pool.
type BackendStatus struct {
	upstream.BackendState
	Why      string          `json:"why,omitempty"`    // the causes in one sentence; "": it is up
	Share    *float64        `json:"share,omitempty"`  // of the attempts in the pool in the last minute; nil: there were none
	DueShare float64         `json:"due_share"`        // by its weight among those that take new requests
	Recent   *history.Recent `json:"recent,omitempty"` // nil: the status has no history
}

// newPoolStatus returns how a pool stands, with the latest points of the history.
func newPoolStatus(p *upstream.Pool, h *history.History, points int) PoolStatus {
	s := PoolStatus{Pool: p.Name(), TakesRequests: p.TakesRequests(), Panic: p.Panics(), Waiting: p.Waiting(), Sticky: p.StickyCookie() != "", Backends: []BackendStatus{}}
	states := p.States()
	lately, attempts, weights := make([]uint64, len(states)), uint64(0), 0.0
	for i := range states {
		b := &states[i]
		lately[i] = h.Lately(s.Pool, b.Backend, b.Requests)
		attempts += lately[i]
		weights += b.EffectiveWeight
	}
	for i := range states {
		b := BackendStatus{BackendState: states[i], Why: why(&states[i])}
		b.LastError = plain(b.LastError)
		for k, cause := range b.Causes {
			b.Causes[k] = plain(cause)
		}
		if attempts > 0 {
			share := part(float64(lately[i]), float64(attempts))
			b.Share = &share
		}
		b.DueShare = part(b.EffectiveWeight, weights)
		if points > 0 {
			b.Recent = h.Recent(s.Pool, b.Backend, points)
		}
		s.Backends = append(s.Backends, b)
	}
	if points > 0 {
		s.Recent = h.Recent(s.Pool, "", points)
	}
	return s
}

// part returns the part of a whole, of which 4 digits count, or 0 of nothing.
func part(of, whole float64) float64 {
	if whole == 0 {
		return 0
	}
	return math.Round(of/whole*1e4) / 1e4
}

// why returns in one sentence why a backend takes no requests, or "".
func why(b *upstream.BackendState) string {
	all := make([]string, 0, len(b.Causes))
	for _, cause := range b.Causes {
		if rest, ok := strings.CutPrefix(cause, "ejected: "); ok && !b.EjectedUntil.IsZero() {
			cause = fmt.Sprintf("ejected for %s: %s", ofSeconds(b.EjectedUntil.Sub(b.Since)), rest)
		}
		all = append(all, plain(cause))
	}
	return strings.Join(all, "; ")
}

// plain returns an error without what the reader of a backend's line knows, and without what may be
// secret.
func plain(text string) string { return dialed.ReplaceAllString(WithoutQueries(text), "") }

// dialed is how the errors of a dial begin. The address is the backend's own.
var dialed = regexp.MustCompile(`dial (tcp|unix)\S*( \S+)?: (connect: )?`)

// ofSeconds returns a time of some seconds as people write it.
func ofSeconds(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d.Round(time.Minute)/time.Minute)
	}
	return fmt.Sprintf("%d h", d.Round(time.Hour)/time.Hour)
}

// query is that of a path or URL in a text: what follows a ? within a word.
var query = regexp.MustCompile(`([^\s?"])\?[^\s"]+`)

// WithoutQueries returns a text with the queries of paths and URLs left out, which may have secrets:
// a path that checks ask for may have one.
func WithoutQueries(text string) string {
	if !strings.Contains(text, "?") {
		return text
	}
	return query.ReplaceAllString(text, "$1?…")
}
