package limiter

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
)

// Share is the part of a limiter that holds limits together with the limiters of other instances.
// These tell a central state what they have let through, and hear what the others have. A Share does
// no I/O: a teller takes from it what there is to tell (Collect), brings that to the central state,
// and brings the answer back (Settle, Fail).
//
// A bucket of this instance is its view of the client's bucket: the theoretical arrival time that it
// heard last, plus all that it has let through since. It is a lower bound of what the client owes, so
// a rejection is right without asking. A request that the view admits is let through at once as long
// as what is not told stays within the credit of the client, capacity/8 divided by the number of
// instances. Otherwise it waits for one round trip. Hence no window admits more than capacity +
// rate·window + instances·credit, at most 9/8 of the capacity and the refill.
//
// All methods are safe for concurrent use.
type Share struct {
	limiter *Limiter
	wait    atomic.Int64 // the longest wait of a request, in nanoseconds
	fleet   atomic.Pointer[fleet]
	health  health
	tallies *xsync.Map[party, *tally]
	asks    chan struct{}
	due     chan struct{}
	counts  shareCounts

	changed atomic.Pointer[tally] // a stack of those that Collect has to look at

	collecting sync.Mutex // guards agenda, and the fields of tallies that say so
	agenda     agenda
}

// Fleet is what an instance knows of all.
type Fleet struct {
	Instances int64 // that live, this one included, at least 1

	// From and Until say when this instance may let requests through before it tells. Before and
	// after, each request waits. The zero times stand for never.
	From, Until time.Time
}

// fleet is a Fleet prepared for requests. It never changes.
type fleet struct {
	instances   int64
	from, until int64 // when there is credit
	away        bool
	isAssumed   bool // neither Return nor Leave has been called yet
}

// credit returns the tokens that this instance may let through before it tells, of a client with the
// capacity.
func (f *fleet) credit(capacity, now int64) int64 {
	if now < f.from || now >= f.until {
		return 0
	}
	return min(capacity/(8*f.instances), maxUntold)
}

// threshold is how many untold tokens are told at once: a round trip takes its time, and requests go
// on meanwhile with the other half of the credit.
func threshold(credit int64) int64 { return max(1, credit/2) }

// ShareCounters count since the start of the process.
type ShareCounters struct {
	Tellings int64 // that were sent
	Waits    int64 // requests that waited for the central state
	TimedOut int64 // of those, the ones that it did not answer in time
}

type shareCounts struct{ tellings, waits, timedOut atomic.Int64 }

// Share makes the limits hold over several instances from now on. It must be called before Set and
// before the first request. A request waits at most for the given time for the central state. Until
// Return or Leave is called there is no credit, so each request waits.
func (l *Limiter) Share(wait time.Duration) *Share {
	s := &Share{
		limiter: l,
		tallies: xsync.NewMap[party, *tally](),
		asks:    make(chan struct{}, 1),
		due:     make(chan struct{}, 1),
	}
	s.SetWait(wait)
	s.fleet.Store(&fleet{instances: 1, from: math.MaxInt64, isAssumed: true})
	l.share = s
	l.anonymous.Load().share = s
	return s
}

// Assume says how many instances there are, until Return does. It has to be called before Leave.
func (s *Share) Assume(instances int64) {
	f := s.fleet.Load()
	if f.isAssumed {
		s.fleet.CompareAndSwap(f, &fleet{instances: max(1, instances), from: math.MaxInt64, isAssumed: true})
	}
}

// SetWait changes how long a request waits at most.
func (s *Share) SetWait(wait time.Duration) { s.wait.Store(int64(wait)) }

// Wait returns how long a request waits at most.
func (s *Share) Wait() time.Duration { return time.Duration(s.wait.Load()) }

// Counters returns what was counted.
func (s *Share) Counters() ShareCounters {
	return ShareCounters{s.counts.tellings.Load(), s.counts.waits.Load(), s.counts.timedOut.Load()}
}

// IsAway reports whether the central state counts as away: several round trips in a row took longer
// than a request waits, or failed, and it has not come back since.
func (s *Share) IsAway() bool { return s.fleet.Load().away }

// Instances returns how many instances there are, as far as this one knows, at least 1.
func (s *Share) Instances() int64 { return s.fleet.Load().instances }

// Leave says that the central state is away. From now on no request waits, and this instance lets
// through its part of each limit: a request counts as if all other instances had let one through,
// too.
func (s *Share) Leave() {
	for {
		f := s.fleet.Load()
		if f.away || s.fleet.CompareAndSwap(f, &fleet{instances: f.instances, away: true}) {
			return
		}
	}
}

// Flush has everything told that is not, as before the process ends. From now on there is no credit,
// until Return is called.
func (s *Share) Flush() {
	for {
		f := s.fleet.Load()
		if f.away || s.fleet.CompareAndSwap(f, &fleet{instances: f.instances}) {
			break
		}
	}
	s.each(func(t *tally) bool { return t.untold() > 0 })
}

// Return says that the central state answers, and which instances there are. What was let through
// meanwhile, and what is more than the credit among more instances, is due.
func (s *Share) Return(f Fleet) {
	next := &fleet{instances: max(1, f.Instances), from: math.MaxInt64}
	if !f.From.IsZero() && !f.Until.IsZero() {
		next.from, next.until = s.limiter.since(f.From), s.limiter.since(f.Until)
	}
	before := s.fleet.Swap(next)
	s.health.recover()
	if before.away || before.isAssumed || before.instances < next.instances {
		s.each((*tally).isPending)
	}
}

// Restore has every debt that this instance knows told again, as the central state has lost some.
func (s *Share) Restore() {
	s.each(func(t *tally) bool {
		t.restore.Store(true)
		return true
	})
}

// Ask has the central state asked for the buckets of some clients, as they are named in tellings: they
// were reset through another instance. Unknown ones are ignored.
func (s *Share) Ask(clients []string) {
	asked := make(map[string]bool, len(clients)) // there may be a thousand, among a million tallies
	for _, name := range clients {
		asked[name] = true
	}
	s.each(func(t *tally) bool {
		if !asked[t.name] {
			return false
		}
		t.ask.Store(true)
		return true
	})
}

// each has Collect look at the tallies that are to be told.
func (s *Share) each(isDue func(*tally) bool) {
	s.tallies.Range(func(_ party, t *tally) bool {
		if isDue(t) {
			s.note(t)
		}
		return true
	})
	signal(s.due)
}

// signal wakes the receiver, unless it has a wake-up that it has not taken yet.
func signal(to chan struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// reset has the central state fill the bucket of a registered client, or of the addresses in a range
// with Terms.Each that this instance knows. Limiter.registering is held.
func (s *Share) reset(id ID, b *bucket) {
	if b.plan.terms.Each {
		s.tallies.Range(func(p party, t *tally) bool {
			if p.owner == b.account {
				s.forgive(t)
			}
			return true
		})
	} else {
		t := s.open(&tally{party: party{b.account, 0}, name: "client:" + id.String()}, b, nil)
		t.bucket.Store(b)
		s.forgive(t)
	}
	signal(s.due)
}

// forgive has the central state fill the bucket of a client, to whom nothing counts that it was let
// through until now. Collect waits no longer than that: requests wait for it.
func (s *Share) forgive(t *tally) {
	s.collecting.Lock()
	defer s.collecting.Unlock()
	t.word.Add(-t.untold())
	t.alone.Store(0)
	t.reset.Store(true)
	s.note(t)
}

// health counts how often in a row the central state was too slow.
type health struct {
	strikes atomic.Int32
	last    atomic.Int64
}

// maxStrikes is how often in a row the central state may be too slow before it counts as away.
const maxStrikes = 3

// strike records that the central state was slower than wait, and reports whether it is away. What is
// late because of the same round trip counts once.
func (h *health) strike(now, wait int64) (away bool) {
	last := h.last.Load()
	if now-last < wait || !h.last.CompareAndSwap(last, now) {
		return false
	}
	return h.strikes.Add(1) >= maxStrikes
}

func (h *health) recover() { h.strikes.Store(0) }

// slow records that a round trip took too long or failed.
func (s *Share) slow() {
	if s.health.strike(s.limiter.since(time.Now()), s.wait.Load()) {
		s.Leave()
	}
}
