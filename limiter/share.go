package limiter

import "time"

// Share is the part of a limiter that holds limits together with the limiters of other instances,
// which tell a central state what they have let through, and hear what the others have. It does no
// I/O: a teller takes from it what there is to tell (Collect), brings that to the central state, and
// brings the answer back (Settle, Fail).
//
// All methods are safe for concurrent use.
type Share struct {
	asks chan struct{}
	due  chan struct{}
}

// Telling is what this instance has to tell the central state of one client's bucket, and asks of it.
type Telling struct {
	Client   string // names the client for all instances: letters, digits and ._@+-:/
	Capacity int64
	Rate     float64 // tokens per second

	Spent int64 // tokens let through and not told so far
	Asked int64 // requests that wait, each for a token

	// Debt is how long the bucket takes to be full by what this instance knows, without Spent. It
	// counts where the central state has lost the bucket. With Restore, it counts wherever it is
	// the greater.
	Debt    time.Duration
	Restore bool

	// Reset asks for a full bucket, before Spent is taken from it. Resets is how many resets this
	// instance knows of; it counts where the central state has lost the bucket.
	Reset  bool
	Resets int64
}

// Answer is what the central state says to a Telling.
type Answer struct {
	Debt    time.Duration // until the bucket is full, at the time of the answer, rounded down
	Granted int64         // of those that Asked, in the order in which they came
	Resets  int64
}

// Fleet is what an instance knows of all.
type Fleet struct {
	Instances int64 // that live, this one included, at least 1

	// Credit is from when and until when this instance may let requests through before it tells. The
	// zero times stand for never.
	From, Until time.Time
}

// Share makes the limits hold over several instances from now on. It must be called before Set and
// before the first request. A request waits at most for the given time for the central state.
func (l *Limiter) Share(wait time.Duration) *Share {
	return &Share{}
}

// SetWait changes how long a request waits at most.
func (s *Share) SetWait(wait time.Duration) {}

// Asks is sent to when a request waits, so that Collect is to be called at once.
func (s *Share) Asks() <-chan struct{} { return s.asks }

// Due is sent to when half of a credit is spent, so that Collect is to be called soon.
func (s *Share) Due() <-chan struct{} { return s.due }

// Collect appends what is to be told now. Each Telling has to be given to Settle or to Fail. It has
// to be called some 50 times a second at least, as what is spent little by little is told by time.
func (s *Share) Collect(dst []*Telling) []*Telling { return dst }

// Settle takes the answer to a telling that was sent at the given time.
func (s *Share) Settle(t *Telling, sent time.Time, a Answer) {}

// Fail says that no answer has come: what was told counts as not told, and the requests that wait go
// on as while the central state is away.
func (s *Share) Fail(t *Telling) {}

// IsAway reports whether the central state counts as away: it did not answer several requests in
// time, and has not come back since.
func (s *Share) IsAway() bool { return false }

// Leave says that the central state is away: from now on the instance lets through its part.
func (s *Share) Leave() {}

// Return says that the central state answers, and who is there. After Leave, everything that has not
// been told is due.
func (s *Share) Return(f Fleet) {}

// Restore has every debt that this instance knows told again, as the central state has lost some.
func (s *Share) Restore() {}
