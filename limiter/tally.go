package limiter

import (
	"cmp"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"
)

// party is a client that shares its limit.
type party struct {
	owner *account // of a registered client, or of the range with Terms.Each that it is in
	key   uint64   // of an unregistered client, or of an address in that range
}

// tally is what this instance has let through of a client, and has not told the central state yet.
// There is one for each client that owes something by the view of this instance, and for a minute
// more; of unregistered clients and of addresses in a range with Terms.Each, from when half of the
// bucket is spent.
type tally struct {
	// Requests read and write these, in one line of the cache.

	// word is the number of untold tokens and, times oneTaking, of requests that are about to take
	// one, which is counted already. closed: the tally is dropped.
	word    atomic.Int64
	waiting atomic.Pointer[waiter] // a stack; noWaiter: the tally is dropped
	// The view is the state of one of these. Requests keep them up to date.
	bucket  atomic.Pointer[bucket]
	table   atomic.Pointer[table]
	noted   atomic.Bool  // the tally is in Share.changed
	planned atomic.Bool  // Collect has seen that there is something to tell, and looks again in time
	weighed atomic.Bool  // the view has tokens of other instances in it, which are only assumed
	alone   atomic.Int64 // of the untold tokens not on their way, those that were taken for all instances
	brought atomic.Int64 // of those that are on their way

	party party
	name  string // of the client, for all instances

	next    *tally       // in Share.changed
	telling atomic.Int64 // of the untold tokens, those that are on their way
	resets  atomic.Int64 // of the client, as far as this instance knows
	reset   atomic.Bool  // the central state is to fill the bucket
	ask     atomic.Bool  // the central state is asked, even if there is nothing to tell
	restore atomic.Bool  // the central state may have lost the bucket

	// Share.collecting guards the fields below.
	at        int   // in the agenda, from 1; 0: it is not there
	due       int64 // when Collect looks at the tally at the latest
	idleSince int64 // since when there is nothing to tell, and the bucket is full; 0: there is
}

const (
	// oneTaking is a request in tally.word. Up to 2^15 - 1 may take a token of one client at once.
	oneTaking = 1 << 48
	maxUntold = oneTaking - 1
)

// passage is the result of asking for one of the tokens of the credit.
type passage uint8

const (
	passes  passage = iota
	exceeds         // the credit is spent
	dropped         // the tally is no longer in use
)

// reserve counts a token as untold, unless that would be more than the credit. It is to be taken, or
// not, before took is called.
func (t *tally) reserve(credit int64) passage {
	for {
		w := t.word.Load()
		switch {
		case w < 0:
			return dropped
		case w&maxUntold >= credit:
			return exceeds
		case t.word.CompareAndSwap(w, w+oneTaking+1):
			return passes
		}
	}
}

// took says what has become of a token that was reserved, and returns the number of untold ones.
func (t *tally) took(taken bool) (untold int64) {
	if !taken {
		return t.word.Add(-oneTaking-1) & maxUntold
	}
	return t.word.Add(-oneTaking) & maxUntold
}

// untold returns the tokens that were let through, and are neither told nor on their way. Those that
// are reserved may not be let through. A Settle meanwhile makes it less, never more: that takes what
// it settles out of the word first, which is why telling is read first. Share.collecting is held by
// a caller that acts on it.
func (t *tally) untold() int64 {
	underWay := t.telling.Load()
	w := t.word.Load() &^ closed
	return max(0, w&maxUntold-w/oneTaking-underWay)
}

// isPending reports whether there is something to tell or to ask, be it due or not.
func (t *tally) isPending() bool {
	top := t.waiting.Load()
	return t.untold() > 0 || top != nil && top != noWaiter || t.reset.Load() || t.restore.Load() || t.ask.Load()
}

// drop gives the tally up, if there is nothing to tell. One that was given up may have been noted
// since. Share.collecting is held.
func (t *tally) drop() bool {
	if t.word.Load() == closed {
		return true
	}
	if !t.waiting.CompareAndSwap(nil, noWaiter) {
		return false
	}
	if !t.word.CompareAndSwap(0, closed) {
		t.waiting.Store(nil)
		return false
	}
	return true
}

// view returns the rates of the client and its state. Those of a deleted client are the last ones.
func (t *tally) view() (r *rates, tat int64) {
	if b := t.latest(); b != nil {
		return &b.plan.rates, b.state.Load() &^ closed
	}
	in := t.home()
	if state := in.stateOf(t.party.key); state != nil {
		return &in.rates, state.Load() &^ closed
	}
	return &in.rates, full
}

// latest returns the bucket of a registered client, which may have moved without a request: into a
// larger index, or to other terms. The tally would keep the memory of the old one. It returns nil if
// the client has its bucket in a table.
func (t *tally) latest() *bucket {
	b := t.bucket.Load()
	for b != nil && b.state.Load() < 0 {
		next := b.next.Load()
		if next == nil || next.account != t.party.owner { // deleted
			return b
		}
		t.bucket.CompareAndSwap(b, next)
		b = t.bucket.Load()
	}
	return b
}

// home returns the table that the client is in, which may have been replaced without a request.
func (t *tally) home() *table {
	in := t.table.Load()
	for {
		c := in.next.Load()
		if c == nil || c.to.slots[c.to.slot(t.party.key)].Load() == nil { // not moved, or not yet
			return in
		}
		t.table.CompareAndSwap(in, c.to)
		in = t.table.Load()
	}
}

// raise raises the debt in the view to at least that of the floor, unless the client has other rates
// by now.
func (t *tally) raise(r *rates, floor, now int64) {
	if b := t.latest(); b != nil {
		if &b.plan.rates == r {
			raise(&b.state, floor)
		}
	} else if in := t.home(); &in.rates == r {
		in.raise(t.party.key, floor, now)
	}
}

// replace makes the view what was heard. It returns false if the client has other rates by now, or its
// bucket is on its way.
func (t *tally) replace(r *rates, heard int64) bool {
	if b := t.latest(); b != nil {
		return &b.plan.rates == r && (replace(&b.state, heard) || b == t.latest())
	}
	in := t.home()
	if &in.rates != r {
		return false
	}
	state := in.stateOf(t.party.key)
	return state == nil || replace(state, heard)
}

// learn says how often the client was reset. It returns 1 if the tally did not know of so many, and
// -1 if it knows of more.
func (t *tally) learn(resets int64) int {
	for {
		known := t.resets.Load()
		if resets <= known || t.resets.CompareAndSwap(known, resets) {
			return cmp.Compare(resets, known)
		}
	}
}

// open returns the tally of a client, which is the given one unless there is one. The view of the
// client is in the bucket or the table.
func (s *Share) open(fresh *tally, b *bucket, in *table) *tally {
	fresh.bucket.Store(b)
	fresh.table.Store(in)
	t, known := s.tallies.LoadOrStore(fresh.party, fresh)
	if !known {
		s.note(t)
	}
	return t
}

// forget removes a tally, if it was dropped: one that is about to be may turn out to be in use.
func (s *Share) forget(t *tally) {
	s.tallies.Compute(t.party, func(now *tally, known bool) (*tally, xsync.ComputeOp) {
		if known && now == t && t.word.Load() == closed {
			return nil, xsync.DeleteOp
		}
		return now, xsync.CancelOp
	})
}

// note has Collect look at the tally.
func (s *Share) note(t *tally) {
	if t.noted.Load() || t.noted.Swap(true) {
		return
	}
	for {
		first := s.changed.Load()
		t.next = first
		if s.changed.CompareAndSwap(first, t) {
			break
		}
	}
	// A request that joined meanwhile, and found the tally noted, may have signalled before it was here.
	if t.waiting.Load() != nil {
		signal(s.asks)
	}
}
