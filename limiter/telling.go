package limiter

import (
	"time"
)

// Telling is what this instance has to tell the central state of one client's bucket, and asks of it.
type Telling struct {
	Client   string  // names the client for all instances, in letters, digits and ._@+-:/
	Capacity int64   // tokens of a full bucket
	Rate     float64 // tokens per second

	Spent int64 // tokens let through and not told so far
	Asked int64 // requests that wait, each for a token

	// Debt is how long the bucket takes to be full by what this instance knows, without Spent. It
	// counts where the central state has lost the bucket; with Restore, wherever it is the greater.
	Debt    time.Duration
	Restore bool

	// Reset asks for a full bucket, before Spent is taken from it. Resets is how many resets this
	// instance knows of. It counts where the central state has lost the bucket.
	Reset  bool
	Resets int64

	ask     bool // it is told to hear the answer
	tally   *tally
	rates   *rates
	settles int64     // untold tokens that this tells
	alone   int64     // of these, as in tally.alone
	waiters []*waiter // those that Asked
}

// Answer is what the central state says to a Telling.
type Answer struct {
	Debt    time.Duration // until the bucket is full, when the telling was taken, rounded down
	Granted int64         // how many of those that Asked have a token
	Resets  int64         // of the client
}

// Asks is sent to when a request waits: Collect is to be called at once.
func (s *Share) Asks() <-chan struct{} { return s.asks }

// Due is sent to when half of a credit is spent: Collect is to be called soon.
func (s *Share) Due() <-chan struct{} { return s.due }

// Collect appends what is to be told now. Each Telling has to be given to Settle or to Fail. It has
// to be called some 20 times a second at least: what is spent little by little is told by time, once
// half of the time has passed in which the bucket fills, or a minute. While the central state is away
// there is nothing to tell, but a call a second frees the memory of clients that owe nothing.
func (s *Share) Collect(dst []*Telling) []*Telling {
	s.collecting.Lock()
	defer s.collecting.Unlock()
	f, now := s.fleet.Load(), s.limiter.since(time.Now())
	for t := s.changed.Swap(nil); t != nil; {
		next := t.next
		t.noted.Store(false) // from here on, it may be noted again
		if told := s.tell(t, f, now, false); told != nil {
			dst = append(dst, told)
		}
		t = next
	}
	for len(s.agenda) > 0 && s.agenda[0].due <= now {
		t := s.agenda[0]
		if told := s.tell(t, f, now, true); told != nil {
			dst = append(dst, told)
		} else if t.isIdle(now) && t.drop() {
			s.agenda.remove(t)
			s.forget(t)
		}
	}
	s.counts.tellings.Add(int64(len(dst)))
	return dst
}

// The time between two looks at a tally.
const (
	leastLook   = int64(10 * time.Millisecond)
	longestLook = int64(time.Minute)
)

// tell returns what is to be told of the client now, or nil, and plans the next look. Share.collecting
// is held.
func (s *Share) tell(t *tally, f *fleet, now int64, inTime bool) *Telling {
	r, tat := t.view()
	t.planned.Store(false) // before the look: a token after it is noted
	untold := t.untold()
	t.planned.Store(untold > 0)
	soon := now + min(max(int64(r.window)/2, leastLook), longestLook)
	switch {
	case untold == 0:
		soon = now + longestLook
	case t.at > 0 && t.due > now:
		soon = min(t.due, soon)
	}
	s.agenda.put(t, soon)
	if f.away {
		if tat <= r.at(now) { // on return, nothing would be told of these
			t.word.Add(-min(untold, t.alone.Swap(0)))
		}
		return nil
	}
	waiters := t.leave()
	reset, restore, ask := t.reset.Swap(false), t.restore.Swap(false), t.ask.Swap(false)
	isDue := untold >= threshold(f.credit(r.capacity, now)) || inTime || t.weighed.Load()
	if len(waiters) == 0 && !reset && !restore && !ask && !(isDue && untold > 0) {
		return nil
	}
	told := &Telling{
		Client: t.name, Capacity: r.capacity, Rate: r.perSecond,
		Asked: int64(len(waiters)), Restore: restore, Reset: reset, Resets: t.resets.Load(),
		ask: ask, tally: t, rates: r, settles: untold, waiters: waiters,
	}
	t.weigh(told, f.instances, tat, now)
	if told.Debt == 0 && untold+told.Asked == 0 && !reset && !ask { // there is nothing to restore
		return nil
	}
	t.telling.Add(untold)
	t.alone.Add(-told.alone)
	t.brought.Add(told.alone)
	return told
}

// weigh fills in what was spent, and what was owed before that, by a view in state tat. Of the tokens
// that were taken for all instances, as long ago, only those count that the bucket still lacks.
func (t *tally) weigh(told *Telling, instances, tat, now int64) {
	r, cost := told.rates, told.rates.token
	if t.weighed.Load() {
		cost = r.weigh(instances)
	}
	told.alone = min(t.alone.Load(), told.settles)
	owed := max(0, tat-r.at(now))
	weigh, known := min(told.alone, (owed+cost-1)/cost), told.settles-told.alone
	told.Spent = known + weigh
	before := tat - weigh*cost - r.ticks(min(known, tat>>r.shift))
	before -= min(t.telling.Load(), max(0, before)/cost) * cost
	told.Debt = r.owed(before, now)
}

// owed returns how long it takes from now until a bucket in state tat is full, rounded down to a
// microsecond.
func (r *rates) owed(tat, now int64) time.Duration {
	if tat <= r.at(now) {
		return 0
	}
	return time.Duration(r.when(tat) - now - 1).Truncate(time.Microsecond)
}

// isIdle reports whether there has been nothing to tell for a minute, and the bucket is full.
// Share.collecting is held.
func (t *tally) isIdle(now int64) bool {
	r, tat := t.view()
	if tat > r.at(now) || t.word.Load()&^closed != 0 || t.telling.Load() != 0 || t.isPending() {
		t.idleSince = 0
		return false
	}
	if t.idleSince == 0 {
		t.idleSince = now
	}
	return now-t.idleSince >= keptFor
}

// mostDebt bounds what is believed: three buckets that take longest to fill.
const mostDebt = 3 * maxRefill * time.Second

// Settle takes the answer to a telling that was sent at the given time.
func (s *Share) Settle(told *Telling, sent time.Time, a Answer) {
	if took := time.Since(sent); int64(took) <= s.wait.Load() {
		s.health.recover()
	} // else those that waited for it will say so, unless it was this process that was late
	t, r := told.tally, told.rates
	t.word.Add(-told.settles)
	t.telling.Add(-told.settles)
	t.brought.Add(-told.alone)
	// Others that are on their way may be in the answer already, or not.
	heard := r.at(s.limiter.since(sent)+int64(min(a.Debt, mostDebt))) + r.ticks(t.untold())
	s.hear(t, r, heard, a.Resets)
	left := a.Granted
	for _, w := range told.waiters { // those that have given up leave their tokens to the others
		if left > 0 && w.tell(granted) {
			left--
		} else {
			w.tell(denied)
		}
	}
}

// hear brings what was heard of a client into its view.
func (s *Share) hear(t *tally, r *rates, heard, resets int64) {
	news := t.learn(resets)
	if news < 0 { // from before a reset of which a later answer told
		return
	}
	// A view with assumptions in it, or from before a reset, may be too high. Assumptions stay until all
	// is told for which they were made: else the instance could take its part once more.
	settled := t.alone.Load()+t.brought.Load() == 0 && t.weighed.Swap(false)
	if (settled || news > 0) && !t.replace(r, max(full, heard)) {
		t.weighed.Store(true)
		t.ask.Store(true)
		s.note(t)
	}
	if now := s.limiter.since(time.Now()); heard > r.at(now) {
		t.raise(r, heard, now)
	}
}

// Fail says that no answer has come: what was told counts as not told, and the requests that wait go
// on as while the central state is away.
func (s *Share) Fail(told *Telling) {
	s.slow()
	t := told.tally
	t.telling.Add(-told.settles)
	t.alone.Add(told.alone)
	t.brought.Add(-told.alone)
	if told.Reset {
		t.reset.Store(true)
	}
	if told.Restore {
		t.restore.Store(true)
	}
	if told.ask {
		t.ask.Store(true)
	}
	for _, w := range told.waiters {
		w.tell(unanswered)
	}
	s.note(t)
}
