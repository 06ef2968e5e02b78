// Package member decides what an instance knows of the others, by the beats with which each tells the
// central state that it lives. It does no I/O.
package member

import (
	"time"

	"loadbalancer/limiter"
)

const (
	// Every is the time between two beats.
	Every = time.Second
	// Lapse is for how long after its last beat an instance counts as one that lives. members.lua has
	// it, too.
	Lapse = 3 * time.Second

	// known is for how long after a beat was sent the number of instances counts as known.
	known = 2 * time.Second
)

// Beat is what an instance hears when it tells that it lives.
type Beat struct {
	Instances int64         // that live, this one included
	Epoch     string        // another one if data was lost
	Process   string        // of the central state, another one after a restart or a failover; "": unknown
	Now       time.Duration // of the central clock
	Before    time.Duration // Now of the instance's beat before, as the central state knows it, or None
}

// None is in place of the time of a beat that the central state does not know of.
const None = time.Duration(-1)

// Lease is what an instance knows by its beats so far. The zero value is that of an instance without
// any. It is not safe for concurrent use.
type Lease struct {
	last  Beat
	sent  time.Time // the last beat
	since time.Time // when there is credit
	least int64     // until then, how many instances there are at least
}

// Last returns the central clock at the last beat, 0 without one.
func (l *Lease) Last() time.Duration { return l.last.Now }

// Renew takes what was heard on a beat. It returns what the instance knows of the fleet, and whether
// data may have been lost since the beat before.
//
// The number of instances is a lease: another instance may join right after a beat. It has no credit
// until the leases of all that do not know of it have ended. For that time, those that were there
// before are taken to be there, as they may not have had the time for a beat since data was lost.
func (l *Lease) Renew(b Beat, sent, received time.Time) (f limiter.Fleet, lost bool) {
	first := l.sent.IsZero()
	lost = !first && (b.Epoch != l.last.Epoch || b.Process != l.last.Process || b.Before < l.last.Now)
	passed := b.Now - b.Before // by the central clock, which may have been set
	isSteady := !first && !lost && passed <= Lapse && (passed-sent.Sub(l.sent)).Abs() < time.Second
	if !isSteady {
		l.since, l.least = received.Add(Lapse), l.last.Instances
	}
	if received.Before(l.since) {
		b.Instances = max(b.Instances, l.least)
	}
	l.last, l.sent = b, sent
	return limiter.Fleet{Instances: b.Instances, From: l.since, Until: sent.Add(known)}, lost
}
