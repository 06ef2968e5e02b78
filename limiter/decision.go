package limiter

import "time"

// Decision is the answer to one request for a token. It is a plain value.
type Decision struct {
	Allowed    bool          // the request passes
	Exceeded   Exceeded      // the limit that it is beyond, which in shadow mode does not keep it from passing
	Shadow     bool          // the client's limits are not enforced, and so it is not told of them
	Capacity   int64         // tokens that the full bucket holds
	Remaining  int64         // whole tokens left after this request
	RetryAfter time.Duration // 0 if within the limit, else the shortest wait after which a token is there
	Reset      time.Duration // until the bucket holds one whole token more than Remaining; 0 if it is full
	Window     time.Duration // in which an empty bucket becomes full
}

// Exceeded says which limit a request is beyond.
type Exceeded uint8

// The limits that there are.
const (
	Nothing  Exceeded = iota // the request is within the limits
	Rate                     // the bucket held no token
	InFlight                 // Terms.MaxInFlight requests were under way; RetryAfter is untilOneEnds
)

// untilOneEnds is the wait told to a client with too many requests under way. When one ends nobody
// knows; it is the shortest that Retry-After can tell.
const untilOneEnds = time.Second

// exceed says that the request is beyond a limit. It passes all the same in shadow mode.
func (d *Decision) exceed(limit Exceeded) {
	d.Exceeded = limit
	d.Allowed = d.Shadow
}
