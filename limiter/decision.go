package limiter

import "time"

// Decision is the answer to one request for a token. It is a plain value.
type Decision struct {
	Allowed    bool          // the request is admitted
	Exceeded   Exceeded      // why the request is rejected; in shadow mode one over a limit is still admitted
	Shadow     bool          // the client's limits are not enforced, and not announced to it
	Capacity   int64         // tokens in a full bucket
	Remaining  int64         // whole tokens left after this request
	RetryAfter time.Duration // 0 if within the limit, else the shortest wait; 1 s for InFlight
	Reset      time.Duration // until the bucket holds Remaining+1 tokens; 0 if it is full
	Window     time.Duration // for an empty bucket to become full
}

// Exceeded is the limit that a request exceeds, or Blocked.
type Exceeded uint8

// The values of Exceeded.
const (
	Nothing  Exceeded = iota // the request is within the limits
	Rate                     // the bucket held no token
	InFlight                 // Terms.MaxInFlight requests were in flight; RetryAfter is one second
	Blocked                  // Terms.Blocked; the other fields of the decision are zero
)

// untilOneEnds is the wait announced to a client with too many concurrent requests. When one will
// end is unknown; this is the shortest wait that Retry-After can express.
const untilOneEnds = time.Second

// exceed records that the request exceeds the limit. In shadow mode it is still admitted.
func (d *Decision) exceed(limit Exceeded) {
	d.Exceeded = limit
	d.Allowed = d.Shadow
}
