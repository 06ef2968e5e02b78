package upstream

import (
	"slices"
	"time"

	"loadbalancer/proxy/reason"
)

// Attempt is one attempt of a request, at one backend.
type Attempt struct {
	Backend *Backend
	Reason  reason.Code   // why it failed; reason.None: it has not
	Status  int           // of the backend's response, or 0
	Took    time.Duration // to the failure or, behind a failed attempt, to the response's header
}

// Tried holds the attempts of a request. The zero value is empty. It is not safe for concurrent
// use.
type Tried struct {
	attempts [MaxTried]Attempt
	n        int
	from     int  // the first attempt whose backend may not be picked again
	counted  bool // the request counts towards the retry budget
}

// Len returns the number of attempts.
func (t *Tried) Len() int { return t.n }

// Attempts returns the attempts in order. They are the caller's to change.
func (t *Tried) Attempts() []Attempt { return t.attempts[:t.n] }

// Last returns the last attempt, or nil if there is none.
func (t *Tried) Last() *Attempt {
	if t.n == 0 {
		return nil
	}
	return &t.attempts[t.n-1]
}

// Undo drops the last attempt, which was not begun.
func (t *Tried) Undo() { t.n-- }

// Taken returns the number of attempts in which a backend has taken something of the request.
func (t *Tried) Taken() (n int) {
	for i := range t.attempts[:t.n] {
		if !tookNothing(t.attempts[i].Reason) {
			n++
		}
	}
	return n
}

// Forget lets all backends be picked again, and drops the attempts in which a backend has taken
// nothing.
func (t *Tried) Forget() {
	kept := slices.DeleteFunc(t.attempts[:t.n], func(a Attempt) bool { return tookNothing(a.Reason) })
	t.n = len(kept)
	t.from = t.n
}

// tookNothing reports whether a failure means that the backend was not reached.
func tookNothing(why reason.Code) bool {
	return why == reason.ConnectFailed || why == reason.ConnectTimeout || why == reason.Overloaded
}

func (t *Tried) add(b *Backend) {
	t.attempts[t.n].Backend = b
	t.n++
}

// has reports whether the backend may not be picked again.
func (t *Tried) has(b *Backend) bool { return t.last(b) >= t.from }

// last returns the index of the last attempt at the backend, or -1.
func (t *Tried) last(b *Backend) int {
	for i := t.n - 1; i >= 0; i-- {
		if t.attempts[i].Backend == b {
			return i
		}
	}
	return -1
}
