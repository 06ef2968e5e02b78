package shared

import (
	"time"

	"loadbalancer/limiter"
)

const (
	// beatEvery is the time between two signs of life.
	beatEvery = time.Second
	// lapse is how long after its last sign an instance counts as one that lives. members.lua has it,
	// too.
	lapse = 3 * time.Second
	// known is for how long after a sign was sent the number of instances counts as known.
	known = 2 * time.Second
)

// heartbeat is what an instance hears on its sign of life.
type heartbeat struct {
	instances   int64
	epoch       string        // another one if data was lost
	process     string        // of the server, another one after a restart or a failover; "": unknown
	now, before time.Duration // of the server's clock at this sign, and at the one before; none
	resets      []string      // the clients that were reset since then
}

const none = time.Duration(-1)

// lease is what an instance knows by its signs of life so far. The zero value is that of an instance
// that has given none.
type lease struct {
	last  heartbeat
	sent  time.Time // the last sign
	since time.Time // when all others know of this instance
}

// renew takes what was heard on a sign of life. It returns what there is to know of the fleet, and
// whether data was lost since the sign before.
//
// The number of instances is a lease: another one may join right after a sign, and counts on those
// that do not know of it to have no credit from the end of theirs on. So this instance has credit only
// once the leases of all that did not know of it have ended.
func (l *lease) renew(h heartbeat, sent, received time.Time) (f limiter.Fleet, lost bool) {
	first := l.sent.IsZero()
	lost = !first && (h.epoch != l.last.epoch || h.process != l.last.process || h.before < l.last.now)
	passed := h.now - h.before // by the server's clock
	isSteady := !lost && !first && passed <= lapse && (passed-sent.Sub(l.sent)).Abs() < time.Second
	if !isSteady {
		l.since = received.Add(lapse)
	}
	l.last, l.sent = h, sent
	return limiter.Fleet{Instances: h.instances, From: l.since, Until: sent.Add(known)}, lost
}
